"""How well a model does on a Delta table: its rows are read in batches, and sums are kept, never the rows."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparkml_lifecycle import uris
from sparkml_lifecycle.errors import InvalidInput, NotFound, SchemaError, did_you_mean
from sparkml_lifecycle.scoring import by_path, formats

if TYPE_CHECKING:
    from sparkml_lifecycle.client import LifecycleClient
    from sparkml_lifecycle.loaded import PyFuncModel

_METHOD = "predict_proba"


class LabelledTable:
    """A Delta table with a column that is to be predicted.

    Raises
    ------
    NotFound
        If there is no such table.
    SchemaError
        If it has no such column.
    """

    def __init__(self, client: "LifecycleClient", place: str | Path, label: str) -> None:
        import pyarrow as pa
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        storage = client.storage(uris.for_delta(place))
        try:
            table = DeltaTable(storage.delta_uri, storage_options=storage.delta_options())
        except (TableNotFoundError, DeltaError, OSError):
            raise NotFound(f"There is no Delta table at {storage.uri!r} that could be evaluated on.") from None
        self.place, self.label, self.version = storage.uri, label, int(table.version())
        if table.protocol().min_reader_version > 1:
            raise InvalidInput(
                f"The table {self.place!r} has deletion vectors, renamed columns or the like, which its files alone do not show. "
                "Evaluate on a plain copy of it."
            )
        self._schema = pa.schema(table.schema().to_arrow())
        try:
            self._pieces = by_path.pieces_of_table(storage, table, self._schema, "UTC")
        except by_path.CannotDo as error:
            raise InvalidInput(f"The table {self.place!r} cannot be evaluated on: {error}.") from None
        self._columns = self._schema.names
        if label not in self._columns:
            raise SchemaError(
                f"The table {self.place!r} has no column {label!r}. It has: {', '.join(self._columns)}.{did_you_mean(label, self._columns)}"
            )

    def measure(self, model: "PyFuncModel") -> dict[str, float]:
        """The metrics of a model on the rows that have a label.

        ``mae``, ``rmse``, ``r2`` and ``max_error`` of a model that answers quantities; ``accuracy``, and with probabilities of two
        classes ``log_loss`` and ``roc_auc``, of one that answers classes. ``rows`` counts those with a label.
        """
        inputs = [name for name in model.input_names or self._columns if name in self._columns and name != self.label]
        missing = sorted(set(model.input_names or ()) - set(self._columns) - model.optional_names)
        if missing:
            raise SchemaError(f"The table {self.place!r} lacks {', '.join(missing)}, which the model takes.")
        sums: _Values | _Classes | None = None
        for rows in self._batches(inputs):
            label, rows = rows[self.label], rows.drop_columns([self.label])
            answers = _answers(model, rows)
            if sums is None:
                sums = _Values() if _are_numbers(model, rows, answers, label.type) else _Classes(label.type, self)
            sums.add(model, rows, label, answers)
        if sums is None:
            raise InvalidInput(f"The table {self.place!r} has no row with a value in {self.label!r}.")
        return {**sums.metrics(), "rows": float(sums.rows)}

    def _batches(self, inputs: list[str]) -> Iterator[Any]:
        """The rows with a label, read as jobs read them: a query by statistics would take 1.0 for a NaN."""
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = pa.schema([self._schema.field(name) for name in (*inputs, self.label)])
        for piece in self._pieces:
            for rows in formats.read(piece, "parquet", {}, wanted):
                there = rows.filter(pc.is_valid(rows[self.label]))
                if there.num_rows:
                    yield there


class _Values:
    """Sums over labels that are numbers."""

    def __init__(self) -> None:
        self.rows = 0
        self._absolute = self._squared = self._largest = 0.0
        self._mean = self._spread = 0.0

    def add(self, model: "PyFuncModel", rows: Any, label: Any, answers: Any) -> None:
        """Add a batch."""
        import numpy as np

        wanted = label.to_numpy().astype(np.float64)
        error = answers.astype(np.float64) - wanted
        self._absolute += float(np.abs(error).sum())
        self._squared += float(np.square(error).sum())
        # unlike max(), it lets a NaN through
        self._largest = float(np.maximum(self._largest, np.abs(error).max()))
        # the spread of the labels, batch by batch (Chan, Golub and LeVeque, 1979)
        count, mean = len(wanted), float(wanted.mean())
        moved = mean - self._mean
        total = self.rows + count
        self._spread += float(np.square(wanted - mean).sum()) + moved * moved * self.rows * count / total
        self._mean += moved * count / total
        self.rows = total

    def metrics(self) -> dict[str, float]:
        """What they come to."""
        r2 = 1 - self._squared / self._spread if self._spread else math.nan
        squared = self._squared / self.rows
        return {"mae": self._absolute / self.rows, "rmse": math.sqrt(squared), "r2": r2, "max_error": self._largest}


class _Classes:
    """Counts over labels that are classes, and the probabilities of the right ones."""

    def __init__(self, kind: Any, table: LabelledTable) -> None:
        import pyarrow as pa

        known = (pa.types.is_string, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating)
        if not any(fits(kind) for fits in known):
            raise SchemaError(
                f"The labels in {table.label!r} of {table.place!r} are {kind}; classes are texts, numbers or booleans."
            )
        self.rows = self._right = 0
        self._scores: list[Any] = []
        self._labels: list[str] = []
        self._classes: list[str] | None = None

    def add(self, model: "PyFuncModel", rows: Any, label: Any, answers: Any) -> None:
        """Add a batch."""
        wanted = [_spelled(value) for value in label.to_pylist()]
        self._right += sum(_spelled(found) == one for found, one in zip(answers.tolist(), wanted, strict=True))
        self.rows += len(wanted)
        chances = _probabilities(model, rows)
        if chances is not None:
            self._classes = [_spelled(name) for name in chances.column_names]
            self._scores.append(chances)
            self._labels += wanted

    def metrics(self) -> dict[str, float]:
        """What they come to; of probabilities only where every label is one of two classes that the model knows."""
        import numpy as np
        import pyarrow as pa

        found = {"accuracy": self._right / self.rows}
        if self._classes is None or len(self._classes) != 2 or set(self._labels) != set(self._classes):
            return found
        second = pa.concat_tables(self._scores).column(1).to_numpy().astype(np.float64)
        positive = np.array(self._labels) == self._classes[1]
        chance = np.clip(np.where(positive, second, 1 - second), np.finfo(float).eps, 1)
        return {**found, "log_loss": float(-np.log(chance).mean()), "roc_auc": _area(second, positive)}


def _area(score: Any, positive: Any) -> float:
    """The area under the ROC curve, by the ranks of the scores (Mann and Whitney, 1947)."""
    import numpy as np

    _values, places, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    ups, downs = int(positive.sum()), int((~positive).sum())
    return float((ranks[places][positive].sum() - ups * (ups + 1) / 2) / (ups * downs))


def _answers(model: "PyFuncModel", rows: Any) -> Any:
    """One answer for each row: H2O gives the class before its probabilities.

    Raises
    ------
    InvalidInput
        If a row has several numbers for an answer.
    """
    import numpy as np

    given = model.predict(rows)
    if hasattr(given, "columns"):
        return np.asarray(given[given.columns[0]])
    found = np.asarray(given)
    if found.ndim > 1 and found.shape[1] > 1:
        raise InvalidInput(
            f"The model answers {found.shape[1]} numbers for a row, which cannot be held against one label."
        )
    return found.reshape(rows.num_rows)


def _probabilities(model: "PyFuncModel", rows: Any) -> Any:
    """The probability of each class by its name, as an Arrow table; None where the model has none."""
    try:
        return model.predict_columns(rows, predict_fn=_METHOD) if model.has_method(_METHOD) else None
    except InvalidInput:
        # a regression of H2O has the method and no probabilities
        return None


def _are_numbers(model: "PyFuncModel", rows: Any, answers: Any, label: Any) -> bool:
    """Whether a model answers quantities, and no classes."""
    import numpy as np
    import pyarrow as pa

    if not np.issubdtype(answers.dtype, np.floating) or _probabilities(model, rows.slice(0, 1)) is not None:
        return False
    if pa.types.is_floating(label) or pa.types.is_integer(label) or pa.types.is_decimal(label):
        return True
    raise InvalidInput(f"The model answers numbers, and the labels are {label}.")


def _spelled(value: Any) -> str:
    """A class as a text: 1, 1.0 and "1" are one class, as are True and "True"."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
