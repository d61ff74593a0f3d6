"""How well a model does on a Delta table: its rows are read in batches, and sums are kept, never the rows."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparkml_lifecycle import uris
from sparkml_lifecycle.errors import InvalidInput, NotFound, SchemaError, did_you_mean

if TYPE_CHECKING:
    from sparkml_lifecycle.client import LifecycleClient
    from sparkml_lifecycle.loaded import PyFuncModel

_METHOD = "predict_proba"


@dataclass(frozen=True)
class Measured:
    """Metrics of a model on a table.

    Attributes
    ----------
    metrics : dict of str to float
        ``mae``, ``rmse``, ``r2`` and ``max_error`` of a model that answers quantities; ``accuracy``, and with probabilities of two
        classes ``log_loss`` and ``roc_auc``, of one that answers classes. ``rows`` counts those with a label.
    version : int
        Of the table.
    """

    metrics: dict[str, float]
    version: int


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
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        storage = client.storage(uris.for_delta(place))
        try:
            self._table = DeltaTable(storage.delta_uri, storage_options=storage.delta_options())
        except (TableNotFoundError, DeltaError, OSError):
            raise NotFound(f"There is no Delta table at {storage.uri!r} that could be evaluated on.") from None
        self.place, self.label, self.version = storage.uri, label, int(self._table.version())
        self._columns = [field.name for field in self._table.schema().fields]
        if label not in self._columns:
            raise SchemaError(
                f"The table {self.place!r} has no column {label!r}. It has: {', '.join(self._columns)}.{did_you_mean(label, self._columns)}"
            )

    def measure(self, model: "PyFuncModel") -> Measured:
        """The metrics of a model on the rows that have a label."""
        inputs = [name for name in model.input_names or self._columns if name in self._columns and name != self.label]
        missing = sorted(set(model.input_names or ()) - set(self._columns) - model.optional_names)
        if missing:
            raise SchemaError(f"The table {self.place!r} lacks {', '.join(missing)}, which the model takes.")
        sums: _Values | _Classes | None = None
        for rows in self._batches(inputs):
            label, rows = rows[self.label], rows.drop_columns([self.label])
            answers = _column(model.predict(rows), len(label))
            if sums is None:
                sums = _Values() if _are_numbers(model, answers, label.type) else _Classes(model.has_method(_METHOD))
            sums.add(model, rows, label, answers)
        if sums is None or not sums.rows:
            raise InvalidInput(f"The table {self.place!r} has no row with a value in {self.label!r}.")
        return Measured({**sums.metrics(), "rows": float(sums.rows)}, self.version)

    def _batches(self, inputs: list[str]) -> Iterator[Any]:
        import pyarrow as pa
        from deltalake import QueryBuilder

        picked = ", ".join('"' + name.replace('"', '""') + '"' for name in [*inputs, self.label])
        label = '"' + self.label.replace('"', '""') + '"'
        found = (
            QueryBuilder().register("rows", self._table).execute(f"select {picked} from rows where {label} is not null")
        )
        plain = {pa.string_view(): pa.string(), pa.large_string(): pa.string()}
        for batch in found:
            rows = pa.table(batch)
            if rows.num_rows:
                yield rows.cast(pa.schema([(field.name, plain.get(field.type, field.type)) for field in rows.schema]))


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
        self._largest = max(self._largest, float(np.abs(error).max()))
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
    """Counts over labels that are classes, and the probability of the second of two."""

    def __init__(self, has_probabilities: bool) -> None:
        self.rows = self._right = 0
        self._has_probabilities = has_probabilities
        self._scores: list[Any] = []
        self._labels: list[Any] = []

    def add(self, model: "PyFuncModel", rows: Any, label: Any, answers: Any) -> None:
        """Add a batch."""
        import numpy as np

        wanted = np.asarray(label.to_pylist())
        self._right += int((answers.astype(wanted.dtype) == wanted).sum())
        self.rows += len(wanted)
        if self._has_probabilities:
            chances = model.predict(rows, predict_fn=_METHOD)
            self._scores.append(np.asarray(chances, dtype=np.float64))
            self._labels.append(wanted)

    def metrics(self) -> dict[str, float]:
        """What they come to."""
        import numpy as np

        found = {"accuracy": self._right / self.rows}
        if not self._scores:
            return found
        scores, labels = np.concatenate(self._scores), np.concatenate(self._labels)
        classes = np.unique(labels)
        if scores.ndim != 2 or scores.shape[1] != 2 or len(classes) != 2:
            return found
        positive = labels == classes[1]
        chance = np.clip(np.where(positive, scores[:, 1], scores[:, 0]), np.finfo(float).eps, 1)
        return {**found, "log_loss": float(-np.log(chance).mean()), "roc_auc": _area(scores[:, 1], positive)}


def _area(score: Any, positive: Any) -> float:
    """The area under the ROC curve, by the ranks of the scores (Mann and Whitney, 1947)."""
    import numpy as np

    _values, places, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    ups, downs = int(positive.sum()), int((~positive).sum())
    return float((ranks[places][positive].sum() - ups * (ups + 1) / 2) / (ups * downs))


def _column(answers: Any, count: int) -> Any:
    """The first of a row's answers: H2O gives the class before its probabilities."""
    import numpy as np

    return np.asarray(answers).reshape(count, -1)[:, 0]


def _are_numbers(model: "PyFuncModel", answers: Any, label: Any) -> bool:
    """Whether a model answers quantities, and no classes."""
    import numpy as np
    import pyarrow as pa

    plain = pa.types.is_floating(label) or pa.types.is_integer(label) or pa.types.is_decimal(label)
    return bool(plain and np.issubdtype(answers.dtype, np.floating) and not model.has_method(_METHOD))
