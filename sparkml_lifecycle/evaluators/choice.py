"""Which evaluator scores a model, and why: the framework's own predict, or a faster one that was verified against it."""

import hashlib
import importlib
import json
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sparkml_lifecycle.errors import InvalidInput
from sparkml_lifecycle.evaluators import compiled, linear, pipelines, verification
from sparkml_lifecycle.evaluators.linear import LinearScorer
from sparkml_lifecycle.evaluators.scorer import TreesScorer
from sparkml_lifecycle.evaluators.trees import derived
from sparkml_lifecycle.evaluators.trees.answers import Found, Unknown

Scorer = TreesScorer | LinearScorer
NATIVE, FAST = "native", "fast"
EVALUATORS = ("auto", FAST, NATIVE)
# flavors whose trees are read, each by the module of its name: (model, number of levels by column, schema) -> Found
_READERS = ("h2o", "lightgbm", "sklearn", "xgboost")


@dataclass(frozen=True)
class Choice:
    """The evaluator of a loaded model.

    Attributes
    ----------
    scorer : TreesScorer or LinearScorer, optional
        None where the framework's own predict is used.
    why : str
        A sentence for the report.
    lasts : bool
        Whether it is as true the next time under the same circumstances; not where a disk was full.
    """

    scorer: Scorer | None
    why: str
    lasts: bool = True

    @property
    def name(self) -> str:
        """``native``, or what replaces it."""
        return NATIVE if self.scorer is None else self.scorer.name

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"


@dataclass(frozen=True)
class Candidate:
    """A loaded model as an evaluator may look at it.

    Attributes
    ----------
    model : object
        The framework's own.
    flavor : str
    schema : pyarrow.Schema, optional
        Its columns; None where they are not known.
    levels : mapping of str to pyarrow.Array
        The categories of categorical columns.
    methods : sequence of str
    native : callable
        (table, method) -> what the framework answers.
    transform : callable
        From a table of columns to what the steps before the last one give: a matrix (rows, outputs), which may be sparse.
    one_thread : callable
        A context in which the framework adds up in one order.
    named : callable
        (answers, method) -> the same, with the names of the flavor.
    versions : mapping of str to str
        Of the packages that decide the answers, as they are here.
    takes_unknown : bool
        Whether a category that is not known has an answer.
    verified : mapping
        What was written down when the model was saved.
    digest : callable
        The model's content digest.
    """

    model: Any
    flavor: str
    schema: pa.Schema | None
    levels: Mapping[str, pa.Array]
    methods: Sequence[str]
    native: Callable[[pa.Table, str], Any]
    transform: Callable[[pa.Table], Any]
    one_thread: Callable[[], AbstractContextManager[Any]]
    named: Callable[[Any, str], Any]
    versions: Mapping[str, str]
    takes_unknown: bool
    verified: Mapping[str, Any]
    digest: Callable[[], str]


def check(evaluator: str) -> str:
    """The name, if it is one.

    Raises
    ------
    InvalidInput
    """
    if evaluator not in EVALUATORS:
        raise InvalidInput(f"evaluator must be 'auto', 'fast' or 'native', found {evaluator!r}.")
    return evaluator


def may_read(flavor: str) -> bool:
    """Whether models of a flavor may have another evaluator here."""
    return flavor in _READERS and compiled.missing() is None


def choose(candidate: Candidate, evaluator: str) -> Choice:
    """The evaluator for ``evaluator``, which is ``auto``, ``fast`` or ``native``.

    Raises
    ------
    InvalidInput
        If ``fast`` is asked for and cannot be had.
    """
    if evaluator == NATIVE:
        return Choice(None, "asked for")
    choice = _found(candidate)
    if evaluator == FAST and choice.scorer is None:
        raise InvalidInput(
            f"evaluator='fast' cannot be had for this model: {choice.why}. With 'auto' the framework itself predicts."
        )
    return choice


def record(candidate: Candidate, choice: Choice) -> dict[str, Any] | None:
    """What is written down beside a saved model: with which CPU, versions and code its evaluator was tried, and how that ended.

    None where another process may find otherwise.
    """
    if not choice.lasts:
        return None
    return {"name": choice.name, "why": choice.why, "tried_with": _circumstances(candidate)}


def _found(candidate: Candidate) -> Choice:
    if candidate.flavor not in _READERS:
        return Choice(None, f"no evaluator reads {candidate.flavor} models")
    if (why := compiled.missing()) is not None:
        return Choice(None, why)
    if candidate.schema is None:
        return Choice(None, "the model does not know its columns")
    known = _known(candidate)
    if known is not None and known["name"] == NATIVE:
        return Choice(None, str(known["why"]))
    try:
        # frameworks warn of the odd rows that they are tried with
        with warnings.catch_warnings(), candidate.one_thread():
            warnings.simplefilter("ignore")
            scorer = scorer_of(candidate)
            if known is not None:
                return Choice(scorer, str(known["why"]))
            choice = _tried(candidate, scorer)
    except Unknown as error:
        return Choice(None, str(error))
    except compiled.Unavailable as error:
        return Choice(None, str(error).rstrip("."), lasts=False)
    except Exception as error:  # a model that another version of its framework made looks otherwise
        return Choice(None, f"it cannot be read or tried ({type(error).__name__}: {str(error)[:120]})", lasts=False)
    _remember(candidate, choice)
    return choice


def scorer_of(candidate: Candidate) -> Scorer:
    """What may score a model, not tried yet.

    Raises
    ------
    Unknown
    """
    schema = candidate.schema
    assert schema is not None
    steps, last = _steps(candidate)

    def ask(table: pa.Table) -> Any:
        return candidate.native(table, candidate.methods[0])

    if candidate.flavor == "sklearn" and linear.is_linear(last):
        return LinearScorer(last, pipelines.read(steps, schema, candidate.transform, ask))
    if not steps:
        found = _trees(candidate, last, schema)
    else:
        prefix = pipelines.read(steps, schema, candidate.transform, ask)
        if not type(last).__module__.startswith("sklearn.") and prefix.is_sparse:
            raise Unknown("its transformers give a sparse matrix, whose zeros are missing to the trees")
        given = pa.schema([(str(i), pa.float64()) for i in range(len(prefix.traces))])
        found = derived.before(_trees(candidate, last, given), prefix)
    return TreesScorer(found, _by_position(candidate, found), len(schema), takes_unknown=candidate.takes_unknown)


def _steps(candidate: Candidate) -> tuple[list[Any], Any]:
    """The transformers of a pipeline and its last step."""
    model = candidate.model
    if type(model).__name__ == "Pipeline" and type(model).__module__.startswith("sklearn."):
        return [step for _, step in model.steps[:-1]], model.steps[-1][1]
    return [], model


def _trees(candidate: Candidate, model: Any, schema: pa.Schema) -> Found:
    reader = importlib.import_module(f"sparkml_lifecycle.evaluators.trees.{_reader(candidate)}")
    found: Found = reader.read(model, {n: len(v) for n, v in candidate.levels.items()}, schema)
    return found


def _reader(candidate: Candidate) -> str:
    """The name of what reads its trees: the last step of a pipeline may be of another framework."""
    own = type(_steps(candidate)[1]).__module__.partition(".")[0]
    return own if candidate.flavor == "sklearn" and own in _READERS else candidate.flavor


def _by_position(candidate: Candidate, found: Found) -> dict[int, pa.Array]:
    schema = candidate.schema
    assert schema is not None
    columns = {feature.column for feature in found.ensemble.features}
    if columns and max(columns) >= len(schema):
        raise Unknown("its trees ask for more columns than the model has")
    levels: dict[int, pa.Array] = {}
    for feature in found.ensemble.features:
        if feature.size is not None:
            own = found.levels.get(feature.column)
            name, kind = schema.names[feature.column], pipelines.plain_type(schema.types[feature.column])
            levels[feature.column] = candidate.levels[name] if own is None else pa.array(list(own)).cast(kind)
    return levels


# -- trying --------------------------------------------------------------------------------------------------------------


def _tried(candidate: Candidate, scorer: Scorer) -> Choice:
    methods = [method for method in candidate.methods if scorer.has(method)]
    if not methods:
        return Choice(None, "none of its methods is known")
    assert candidate.schema is not None
    rows = scorer.trial_rows(candidate.schema, np.random.default_rng(0))
    allowed = None if scorer.exact else verification.TOLERANCE * scorer.magnitude(rows)

    def ours(table: pa.Table, method: str) -> Any:
        given = scorer.answer(table, method)
        return None if given is None else candidate.named(given, method)

    if (different := verification.compared(methods, rows, candidate.native, ours, allowed)) is not None:
        return Choice(None, f"it did not pass its trial: {different}")
    theirs = _cpu_seconds(lambda: candidate.native(rows, methods[0]))
    own = _cpu_seconds(lambda: ours(rows, methods[0]))
    if own > theirs:
        return Choice(
            None, f"it is slower here ({own * 1e3:.1f} ms for {rows.num_rows:,} rows instead of {theirs * 1e3:.1f})"
        )
    equal = "equal to the last bit" if scorer.exact else "equal to 1e-12"
    return Choice(scorer, f"{equal} on {rows.num_rows:,} rows of edge cases")


def _cpu_seconds(call: Callable[[], Any]) -> float:
    """The least of three."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        call()
        best = min(best, time.process_time() - began)
    return best


# -- remembering ---------------------------------------------------------------------------------------------------------


@cache
def _code() -> str:
    """A digest of what reads, plans and scores."""
    found = hashlib.sha256()
    own = resources.files(__package__)
    for place in (own, own / "trees"):
        for file in sorted(place.iterdir(), key=lambda one: one.name):
            if file.name.endswith(".py"):
                found.update(file.read_bytes())
    return found.hexdigest()[:16]


def _circumstances(candidate: Candidate) -> dict[str, Any]:
    versions = dict(candidate.versions)
    if (reader := _reader(candidate)) != candidate.flavor:
        with suppress(PackageNotFoundError):
            versions[reader] = version(reader)
    return {"cpu": compiled.cpu(), "versions": dict(sorted(versions.items())), "code": _code()}


def _known(candidate: Candidate) -> Mapping[str, Any] | None:
    """How an earlier trial under the same circumstances ended: at saving, or on this machine."""
    circumstances = _circumstances(candidate)
    if candidate.verified.get("tried_with") == circumstances:
        return candidate.verified
    try:
        known = json.loads(_memory(candidate, circumstances).read_text(encoding="utf-8"))
    except (OSError, ValueError, compiled.Unavailable):
        return None
    return known if isinstance(known, dict) and {"name", "why"} <= set(known) else None


def _remember(candidate: Candidate, choice: Choice) -> None:
    try:
        path = _memory(candidate, _circumstances(candidate))
        path.parent.mkdir(exist_ok=True, mode=0o700)
        beside = path.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps({"name": choice.name, "why": choice.why}), encoding="utf-8")
        os.replace(beside, path)
    except (OSError, compiled.Unavailable):  # it is tried again
        return


def _memory(candidate: Candidate, circumstances: Mapping[str, Any]) -> Path:
    key = hashlib.sha256(json.dumps([candidate.digest(), circumstances], sort_keys=True).encode()).hexdigest()[:32]
    return compiled.directory() / "tried" / f"{key}.json"
