"""What comes before a model: the transformers of a scikit-learn pipeline, seen column by column.

Each column that a known transformer gives depends on one column of the input alone. Of a column of categories, all that the
transformers can ever give is a short table, which they make themselves: a row for each category, one for an unknown
category and one for a missing value. Of a column of numbers it is a rising function, here also a straight line.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from sparkml_lifecycle.evaluators.trees.answers import Unknown
from sparkml_lifecycle.evaluators.verification import is_number, unseen

Transform = Callable[[pa.Table], Any]


@dataclass(frozen=True)
class Trace:
    """Where a column of the transformers' output comes from.

    Attributes
    ----------
    column : int
        The position of the input's column.
    levels : tuple, optional
        The categories that an encoder knows.
    slope, shift : float
        Of a number that is there: ``slope * x + shift``.
    """

    column: int
    levels: tuple[Any, ...] | None = None
    slope: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class Prefix:
    """The transformers of a pipeline.

    Attributes
    ----------
    traces : sequence of Trace
        One for each column that they give.
    levels : mapping of int to pyarrow.Array
        The categories of input columns, by position.
    tables : mapping of int to float64 array, (categories + 2, outputs)
        What they give for each category, for an unknown one and for a missing value; NaN in the rows that they refuse.
    refused : mapping of int to frozenset of str
        Which of ``missing``, ``unknown`` and ``infinite`` an input column refuses.
    missing : mapping of int to float64 array, (outputs,)
        What they give for a missing number.
    given : callable
        From a table of the input's columns to their output: a matrix, which may be sparse.
    schema : pyarrow.Schema
    """

    traces: Sequence[Trace]
    levels: Mapping[int, pa.Array]
    tables: Mapping[int, np.ndarray]
    refused: Mapping[int, frozenset[str]]
    missing: Mapping[int, np.ndarray]
    given: Transform
    schema: pa.Schema

    def transform(self, table: pa.Table) -> np.ndarray:
        """(rows, outputs) as float64."""
        made = self.given(table)
        return np.asarray(made.toarray() if hasattr(made, "toarray") else made, np.float64)

    @property
    def is_sparse(self) -> bool:
        """Whether they give sparse matrices."""
        return hasattr(self.given(table_of([self.row()], self.schema)), "toarray")

    def outputs_of(self, column: int) -> list[int]:
        """The positions of the outputs that come from a column of the input."""
        return [i for i, trace in enumerate(self.traces) if trace.column == column]

    def row(self) -> dict[str, Any]:
        """A row that the transformers take."""
        return {
            name: _plain(self.levels, i, kind)
            for i, (name, kind) in enumerate(zip(self.schema.names, self.schema.types, strict=True))
        }


def read(steps: Sequence[Any], schema: pa.Schema, transform: Transform, ask: Callable[[pa.Table], Any]) -> Prefix:
    """See through the transformers ``steps``, which come one after the other; ``ask`` raises for rows that the model refuses.

    Raises
    ------
    Unknown
        For a transformer that is not known here.
    """
    traces: list[Trace] = [Trace(i) for i in range(len(schema))]
    for step in steps:
        traces = _through(step, traces)
    levels: dict[int, pa.Array] = {}
    for trace in traces:
        kinds = {t.levels for t in traces if t.column == trace.column}
        if len(kinds) > 1:
            raise Unknown(f"the column {schema.names[trace.column]!r} is encoded in several ways")
        if trace.levels is not None:
            levels[trace.column] = pa.array(list(trace.levels), type=plain_type(schema.types[trace.column]))
        elif not is_number(schema.types[trace.column]):
            raise Unknown(f"the column {schema.names[trace.column]!r} is no number and not encoded")
    prefix = Prefix(traces, levels, {}, {}, {}, transform, schema)
    return _probed(prefix, ask)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of a column's values, where they may be in a dictionary."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _plain(levels: Mapping[int, pa.Array], column: int, kind: pa.DataType) -> Any:
    if column in levels:
        return levels[column][0].as_py()
    return False if pa.types.is_boolean(kind) else 1 if pa.types.is_integer(kind) else 1.0 if is_number(kind) else "?"


# -- through one transformer ---------------------------------------------------------------------------------------------


def _through(step: Any, traces: list[Trace]) -> list[Trace]:
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return traces
    kind = type(step)
    if not kind.__module__.startswith("sklearn.") or kind.__name__ not in _KNOWN:
        raise Unknown(f"the transformer {kind.__name__} is not known")
    return _KNOWN[kind.__name__](step, traces)


def _pipeline(step: Any, traces: list[Trace]) -> list[Trace]:
    for _, inner in step.steps:
        traces = _through(inner, traces)
    return traces


def _column_transformer(step: Any, traces: list[Trace]) -> list[Trace]:
    found: list[Trace] = []
    for name, inner, _ in step.transformers_:
        if isinstance(inner, str) and inner == "drop":
            continue
        chosen = [traces[int(i)] for i in np.atleast_1d(step._transformer_to_input_indices[name])]
        part = _through(inner, chosen) if chosen else []
        place = step.output_indices_[name]
        if (place.start, place.stop) != (len(found), len(found) + len(part)):
            raise Unknown(f"the columns of {name!r} are not where they are looked for")
        found += part
    return found


def _function(step: Any, traces: list[Trace]) -> list[Trace]:
    if step.func is not None:
        raise Unknown("a FunctionTransformer has a function")
    return traces


def _imputer(step: Any, traces: list[Trace]) -> list[Trace]:
    missing = step.missing_values
    is_usual = missing is None or missing != missing
    # a column in which nothing was there has no statistic, and is dropped
    drops = not step.keep_empty_features and any(value is None or value != value for value in step.statistics_.tolist())
    if step.add_indicator or drops or not is_usual:
        raise Unknown("a SimpleImputer adds or drops columns, or replaces a value that is there")
    return traces


def _one_hot(step: Any, traces: list[Trace]) -> list[Trace]:
    found = []
    for trace, values, width in zip(traces, step.categories_, step._n_features_outs, strict=True):
        found += [_encoded(trace, values)] * width
    return found


def _ordinal(step: Any, traces: list[Trace]) -> list[Trace]:
    return [_encoded(trace, values) for trace, values in zip(traces, step.categories_, strict=True)]


def _encoded(trace: Trace, values: np.ndarray) -> Trace:
    if trace.levels is not None:
        raise Unknown("a column is encoded twice")
    there = [value for value in values.tolist() if value is not None and value == value]
    if not there:
        raise Unknown("an encoder knows no category")
    return Trace(trace.column, tuple(there))


def _line(slopes: Callable[[Any], Any], shifts: Callable[[Any], Any]) -> Callable[[Any, list[Trace]], list[Trace]]:
    def through(step: Any, traces: list[Trace]) -> list[Trace]:
        if getattr(step, "clip", False):
            raise Unknown("a MinMaxScaler clips")
        slope = np.broadcast_to(np.asarray(slopes(step), np.float64), len(traces))
        shift = np.broadcast_to(np.asarray(shifts(step), np.float64), len(traces))
        if not (slope > 0).all():
            raise Unknown(f"a {type(step).__name__} has a scale that is not above zero")
        return [
            trace if trace.levels is not None else replace(trace, slope=trace.slope * a, shift=trace.shift * a + b)
            for trace, a, b in zip(traces, slope.tolist(), shift.tolist(), strict=True)
        ]

    return through


def _centred(center: str, wanted: str) -> Callable[[Any, list[Trace]], list[Trace]]:
    """Less its center, by its scale; either may be left out."""

    def slope(step: Any) -> Any:
        return 1.0 if step.scale_ is None else 1.0 / step.scale_

    def shift(step: Any) -> Any:
        # StandardScaler knows the mean even where it is not to be subtracted
        return -getattr(step, center) * slope(step) if getattr(step, wanted) else 0.0

    return _line(slope, shift)


_KNOWN: dict[str, Callable[[Any, list[Trace]], list[Trace]]] = {
    "ColumnTransformer": _column_transformer,
    "FunctionTransformer": _function,
    "MaxAbsScaler": _line(lambda step: 1.0 / step.scale_, lambda step: 0.0),
    "MinMaxScaler": _line(lambda step: step.scale_, lambda step: step.min_),
    "OneHotEncoder": _one_hot,
    "OrdinalEncoder": _ordinal,
    "Pipeline": _pipeline,
    "RobustScaler": _centred("center_", "with_centering"),
    "SimpleImputer": _imputer,
    "StandardScaler": _centred("mean_", "with_mean"),
}


# -- what they give ------------------------------------------------------------------------------------------------------


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table of the schema."""
    return pa.table({f.name: pa.array([row[f.name] for row in rows], plain_type(f.type)) for f in schema}).cast(
        pa.schema([(f.name, plain_type(f.type)) for f in schema])
    )


def _probed(prefix: Prefix, ask: Callable[[pa.Table], Any]) -> Prefix:
    """With what the transformers make of each category, and what they or the model refuse. Infinities are always left to them."""
    columns = sorted({trace.column for trace in prefix.traces})
    base = prefix.row()
    try:
        ask(table_of([base], prefix.schema))
    except Exception as error:
        raise Unknown(f"it does not take a row that is made up ({type(error).__name__})") from error

    def given(changes: Sequence[Mapping[str, Any]]) -> list[np.ndarray | None]:
        """What the transformers give to the made-up row with each of the changes; None where somebody refuses it."""
        rows = [{**base, **change} for change in changes]
        try:
            table = table_of(rows, prefix.schema)
            ask(table)
            return list(prefix.transform(table))
        except Exception:  # whatever it raises, such a row is the framework's
            return [None] if len(changes) == 1 else [one for change in changes for one in given([change])]

    name_of = prefix.schema.names
    absent = dict(zip(columns, given([{name_of[c]: None} for c in columns]), strict=True))
    encoded = [column for column in columns if column in prefix.levels]
    values = {column: prefix.levels[column].to_pylist() for column in encoded}
    strange = dict(zip(encoded, given([{name_of[c]: unseen(values[c])} for c in encoded]), strict=True))
    known = given([{name_of[c]: value} for c in encoded for value in values[c]])
    tables: dict[int, np.ndarray] = {}
    missing: dict[int, np.ndarray] = {}
    refused: dict[int, frozenset[str]] = {}
    at = 0
    for column in columns:
        outputs = prefix.outputs_of(column)
        nothing = np.full(len(outputs), np.nan)
        ends = [strange.get(column), absent[column]]
        if column in prefix.levels:
            rows = [*known[at : at + len(values[column])], *ends]
            at += len(values[column])
            if any(row is None for row in rows[:-2]):
                raise Unknown(f"it refuses a category of {name_of[column]!r} that it knows")
            tables[column] = np.vstack([nothing if row is None else row[outputs] for row in rows])
        else:
            missing[column] = nothing if ends[1] is None else ends[1][outputs]
        found = zip(("unknown", "missing"), ends, strict=True)
        refused[column] = frozenset({"infinite", *(name for name, row in found if row is None)})
    return replace(prefix, tables=tables, refused=refused, missing=missing)
