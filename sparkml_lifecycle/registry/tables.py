"""The table of the registry: each change is a row, so that the state is a fold of it and the history is all of it."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from sparkml_lifecycle.lake import ClaimedRow


class What:
    """What a row of the registry is about."""

    MODEL = "model"
    VERSION = "version"
    STAGE = "stage"
    ALIAS = "alias"
    TAG = "tag"
    DESCRIPTION = "description"
    COMMENT = "comment"
    FIELD = "field"
    REQUEST = "request"
    GATE = "gate"
    ORIGIN = "origin"


@dataclass(frozen=True, kw_only=True)
class RegistryRow(ClaimedRow):
    """One change of a registered model; of a key the row with the largest revision counts, and None as its value deletes.

    Attributes
    ----------
    model_id : str
        Stays when a model is renamed; one that is deleted and made anew has another.
    name : str
        The model's name after the change.
    what : str
        One of :class:`What`.
    version : str
        A whole number as text; empty where the change is the model's.
    key : str
        The alias, the tag's or the field's name, the number of a comment.
    value : str or None
        The model's name, the version's status, the stage, the alias' version, the tag's value …
    before : str or None
        The value that it replaced.
    comment : str or None
    details : str or None
        JSON of what else belongs to the change.
    run_id, source, digest : str or None
        Of a version: its run, its location (relative where it lies in the lake) and the digest of its files.
    via : str
        ``lake``, where ``by`` is a claim, or ``server``.
    """

    TABLE: ClassVar[str] = "registry"
    KEY: ClassVar[tuple[str, ...]] = ("model_id", "version", "what", "key")
    KEEP: ClassVar[Literal["every", "first", "last"]] = "every"
    SORTED_BY: ClassVar[tuple[str, ...]] = ("model_id", "seq")
    # a new process reads all of them before it knows what an alias names
    SMALL_FILES: ClassVar[int] = 20

    model_id: str
    name: str
    what: str
    version: str = ""
    key: str = ""
    value: str | None = None
    before: str | None = None
    comment: str | None = None
    details: str | None = None
    run_id: str | None = None
    source: str | None = None
    digest: str | None = None
    via: str = "lake"
