"""The columns of a job's target: what is kept of the source, the prediction and the stamps, whichever engine writes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sparkml_lifecycle.errors import SchemaError, did_you_mean
from sparkml_lifecycle.loaded import PyFuncModel
from sparkml_lifecycle.scoring.conf import JobConf


@dataclass(frozen=True)
class Layout:
    """What each row of the target is made of.

    Attributes
    ----------
    inputs : tuple of str
        The source's columns that the model is given.
    by_position : bool
        Whether the model takes exactly these, in this order; else it takes them as a struct, by name.
    keep : tuple of str
        The source's columns that go into the target.
    prediction : str
        The name of the answers' column.
    result : pyspark.sql.types.DataType
        Its type.
    stamps : mapping
        Names and values of the columns that are the same in all rows.
    predict_fn : str or None
    params : mapping
    error : str or None
        The name of the column with the reasons why rows have no answer; None where an error of the model ends the job.
    max_errors : int
        How many such rows end it all the same.
    """

    inputs: tuple[str, ...]
    by_position: bool
    keep: tuple[str, ...]
    prediction: str
    result: Any
    stamps: Mapping[str, Any]
    predict_fn: str | None
    params: Mapping[str, Any]
    error: str | None = None
    max_errors: int = 0

    @property
    def columns(self) -> list[str]:
        """The target's columns, in their order."""
        return [*self.keep, self.prediction, *self.stamps, *([self.error] if self.error else [])]


def layout_of(columns: Sequence[str], model: PyFuncModel, conf: JobConf, result: Any) -> Layout:
    """The layout of a job over a source with these columns; ``result`` is the answers' type, Spark's or Arrow's.

    Raises
    ------
    SchemaError
        If a name clashes with a column of the source, or one to keep is not there.
    InvalidInput
        If the model has no such method or parameter.
    """
    kept = columns if conf.keep is None else conf.keep
    unknown = [name for name in kept if name not in columns]
    if unknown:
        raise SchemaError(
            f"'keep' names {', '.join(unknown)}, which the source does not have. It has: {', '.join(columns)}."
            f"{did_you_mean(unknown[0], columns)}"
        )
    twice = sorted({name for name in kept if [one.lower() for one in kept].count(name.lower()) > 1})
    if twice:
        raise SchemaError(
            f"The columns to keep are there more than once: {', '.join(twice)}; in a table capitals make no difference."
        )
    prediction = f"{conf.prefix}{conf.output}"
    stamps = {f"{conf.prefix}{name}": value for name, value in _stamps(model).items()}
    error = f"{conf.prefix}error" if conf.on_error == "null" else None
    clash = [name for name in (prediction, *stamps, error) if name and name.lower() in {k.lower() for k in kept}]
    if clash:
        raise SchemaError(
            f"The source has columns named {', '.join(clash)} too. Choose prefix: or leave them out of keep:."
        )
    if prediction.lower() in (name.lower() for name in (*stamps, error or "")):
        raise SchemaError(f"output: {conf.output!r} is the name of another column of the target. Choose another.")
    model.check_method(conf.predict_fn)
    inputs = tuple(name for name in model.input_names or columns if name in columns)
    by_position = model.input_names is not None and not model.optional_names
    return Layout(
        inputs, by_position, tuple(kept), prediction, result, stamps, conf.predict_fn, model.checked_params(conf.params),
        error, conf.max_errors,
    )  # fmt: skip


def check_appends(have: Sequence[str], new: Sequence[str], target: str) -> None:
    """Raise :class:`SchemaError` where a batch with the columns ``new`` would be added to a table with others."""
    missing = [name for name in have if name.lower() not in {one.lower() for one in new}]
    added = [name for name in new if name.lower() not in {one.lower() for one in have}]
    said = [
        *([f"lacks its columns {', '.join(missing)}"] if missing else []),
        *([f"brings {', '.join(added)}, which it has not"] if added else []),
    ]
    if said:
        raise SchemaError(
            f"The batch {' and '.join(said)}: the table at {target!r} was written with other columns. Change keep:, or set "
            "target.merge_schema: true (what is left out is null)."
        )


def _stamps(model: PyFuncModel) -> dict[str, Any]:
    name, version = model.registered or (None, None)
    return {
        "model_name": name,
        "model_version": version,
        "model_run_id": model.manifest.run_id,
        "model_digest": model.digest,
        "scored_at": datetime.now(UTC),
    }
