"""What comes before a model: the transformers of a scikit-learn pipeline, seen column by column.

Each column that a known transformer gives depends on one column of the input alone. Of a column of categories, all that the
transformers can ever give is a short table, which they make themselves: a row for each category, one for an unknown
category and one for a missing value. Of a column of numbers it is a rising function, and here a few operations one after the
other, which give the very numbers of the transformers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from sparkml_lifecycle.evaluators.trees.answers import Unknown
from sparkml_lifecycle.evaluators.verification import is_number, unseen

Transform = Callable[[pa.Table], Any]
Step = tuple[np.ufunc, float]
_MOST_OUTPUTS, _AT_ONCE = 100_000, 1 << 22  # columns; numbers of a matrix that is made to look at


@dataclass(frozen=True)
class Trace:
    """Where a column of the transformers' output comes from.

    Attributes
    ----------
    column : int
        The position of the input's column.
    levels : tuple, optional
        The categories that an encoder knows.
    steps : tuple of (numpy.ufunc, float)
        What is done to a number that is there.
    """

    column: int
    levels: tuple[Any, ...] | None = None
    steps: tuple[Step, ...] = ()

    def image(self, values: np.ndarray) -> np.ndarray:
        """What becomes of float64 numbers, to the last bit."""
        for number, (operation, by) in enumerate(self.steps):
            values = operation(values, by, out=values if number else None)
        return values

    def line(self) -> tuple[float, float]:
        """Slope and shift of what is done, about."""
        slope, shift = 1.0, 0.0
        for operation, by in self.steps:
            if operation in (np.add, np.subtract):
                shift = float(operation(shift, by))
            else:
                slope, shift = float(operation(slope, by)), float(operation(shift, by))
        return slope, shift

    def bound(self, most: float) -> float:
        """Up to which size, either way, nothing that is made of a number is larger than ``most``."""
        lines = [replace(self, steps=self.steps[:count]).line() for count in range(len(self.steps) + 1)]
        return max(min((most - abs(shift)) / slope for slope, shift in lines), 0.0)


@dataclass(frozen=True)
class Prefix:
    """The transformers of a pipeline.

    Attributes
    ----------
    traces : sequence of Trace
        One for each column that they give.
    levels : mapping of int to pyarrow.Array
        The categories of input columns, by position.
    tables : mapping of int to sparse float64 matrix, (categories + 2, outputs)
        What they give for each category, for an unknown one and for a missing value; nothing in the rows that they refuse.
    refused : mapping of int to frozenset of str
        Which of ``missing``, ``unknown`` and ``infinite`` an input column refuses.
    missing : mapping of int to float64 array, (outputs,)
        What they give for a missing number.
    given : callable
        From a table of the input's columns to their output: a matrix, which may be sparse.
    schema : pyarrow.Schema
    outputs : mapping of int to list of int
        The positions of the outputs that come from each column of the input.
    kinds : sequence of pyarrow.DataType
        The types of the input's columns.
    """

    traces: Sequence[Trace]
    levels: Mapping[int, pa.Array]
    tables: Mapping[int, Any]
    refused: Mapping[int, frozenset[str]]
    missing: Mapping[int, np.ndarray]
    given: Transform
    schema: pa.Schema
    outputs: Mapping[int, Sequence[int]]
    kinds: Sequence[pa.DataType]

    @property
    def is_sparse(self) -> bool:
        """Whether they give sparse matrices."""
        return hasattr(self.given(made_up(self, [{}])), "toarray")

    def reads(self, schema: pa.Schema) -> bool:
        """Whether the numbers of rows are of the types that were looked at: of narrower ones the transformers compute otherwise."""
        return not any(
            pa.types.is_floating(kind) and kind != self.kinds[i]
            for i, kind in enumerate(schema.types)
            if i in self.missing
        )


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
    if len(traces) > _MOST_OUTPUTS:
        raise Unknown(f"its transformers give more than {_MOST_OUTPUTS:,} columns")
    names, kinds = schema.names, schema.types
    outputs: dict[int, list[int]] = {}
    for position, trace in enumerate(traces):
        outputs.setdefault(trace.column, []).append(position)
    levels: dict[int, pa.Array] = {}
    for column, positions in sorted(outputs.items()):
        name, kind = names[column], kinds[column]
        # those of one encoder are one object
        first, *others = {id(traces[i].levels): traces[i].levels for i in positions}.values()
        if any(other != first for other in others):
            raise Unknown(f"the column {name!r} is encoded in several ways")
        if first is not None:
            try:
                levels[column] = pa.array(list(first), type=plain_type(kind))
            except pa.ArrowException as error:
                raise Unknown(f"the model does not say of which type its column {name!r} is") from error
        elif not is_number(kind):
            raise Unknown(f"the column {name!r} is no number and not encoded")
    prefix = Prefix(traces, levels, {}, {}, {}, transform, schema, outputs, kinds)
    return _probed(prefix, ask)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of a column's values, where they may be in a dictionary."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _plain(prefix: Prefix, column: int) -> Any:
    """A value that the transformers take."""
    kind = prefix.kinds[column]
    if column in prefix.levels:
        return prefix.levels[column][0].as_py()
    return False if pa.types.is_boolean(kind) else 1 if pa.types.is_integer(kind) else 1.0 if is_number(kind) else "?"


def made_up(prefix: Prefix, changes: Sequence[Mapping[int, Any]]) -> pa.Table:
    """A row that the transformers take with each of the changes, which are values by position."""
    own: dict[int, list[tuple[int, Any]]] = {}
    for row, change in enumerate(changes):
        for column, value in change.items():
            own.setdefault(column, []).append((row, value))
    columns = []
    for column, kind in enumerate(map(plain_type, prefix.kinds)):
        usual = pa.scalar(_plain(prefix, column), kind)
        if column not in own:
            columns.append(pa.repeat(usual, len(changes)))
            continue
        values = [usual.as_py()] * len(changes)
        for row, value in own[column]:
            values[row] = value
        columns.append(pa.array(values, kind))
    return pa.table(columns, names=prefix.schema.names)


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
    if trace.steps:
        raise Unknown("a column is scaled before it is encoded")
    there = [value for value in values.tolist() if value is not None and value == value]
    if not there:
        raise Unknown("an encoder knows no category")
    return Trace(trace.column, tuple(there))


def _scaler(does: Callable[[Any], list[tuple[np.ufunc, Any]]]) -> Callable[[Any, list[Trace]], list[Trace]]:
    """A scaler that does these operations, in their order, with a number for each column."""

    def through(step: Any, traces: list[Trace]) -> list[Trace]:
        if getattr(step, "clip", False):
            raise Unknown("a MinMaxScaler clips")
        found = list(traces)
        for operation, by in does(step):
            numbers = np.broadcast_to(np.asarray(by, np.float64), len(traces))
            if operation in (np.multiply, np.divide) and not (numbers > 0).all():
                raise Unknown(f"a {type(step).__name__} has a scale that is not above zero")
            found = [
                trace if trace.levels is not None else replace(trace, steps=(*trace.steps, (operation, number)))
                for trace, number in zip(found, numbers.tolist(), strict=True)
            ]
        return found

    return through


def _centred(center: str, wanted: str) -> Callable[[Any, list[Trace]], list[Trace]]:
    """Less its center, by its scale; either may be left out."""

    def does(step: Any) -> list[tuple[np.ufunc, Any]]:
        # StandardScaler knows the mean even where it is not to be subtracted
        less: list[tuple[np.ufunc, Any]] = [(np.subtract, getattr(step, center))] if getattr(step, wanted) else []
        return less if step.scale_ is None else [*less, (np.divide, step.scale_)]

    return _scaler(does)


_KNOWN: dict[str, Callable[[Any, list[Trace]], list[Trace]]] = {
    "ColumnTransformer": _column_transformer,
    "FunctionTransformer": _function,
    "MaxAbsScaler": _scaler(lambda step: [(np.divide, step.scale_)]),
    "MinMaxScaler": _scaler(lambda step: [(np.multiply, step.scale_), (np.add, step.min_)]),
    "OneHotEncoder": _one_hot,
    "OrdinalEncoder": _ordinal,
    "Pipeline": _pipeline,
    "RobustScaler": _centred("center_", "with_centering"),
    "SimpleImputer": _imputer,
    "StandardScaler": _centred("mean_", "with_mean"),
}


# -- what they give ------------------------------------------------------------------------------------------------------


class _Probe:
    """What the transformers give to a made-up row with changes, and what somebody refuses."""

    def __init__(self, prefix: Prefix, ask: Callable[[pa.Table], Any]) -> None:
        self._prefix, self._ask = prefix, ask

    def known(self, changes: Sequence[Mapping[int, Any]]) -> Any:
        """A sparse matrix of the outputs.

        Raises
        ------
        Exception
            If one of the changes is refused.
        """
        from scipy import sparse

        at_once = max(_AT_ONCE // max(len(self._prefix.traces), 1), 1)
        parts = [self._given(changes[start : start + at_once]) for start in range(0, len(changes), at_once)]
        return sparse.vstack(parts).tocsr() if parts else sparse.csr_matrix((0, len(self._prefix.traces)))

    def taken(self, changes: Sequence[Mapping[int, Any]]) -> list[Any]:
        """Of each change the row of the outputs, as a sparse matrix; None where it is refused."""
        return self._halved(changes, self._given)

    def absent(self, columns: Sequence[int]) -> list[Any]:
        """The same for rows in which one column is missing."""
        changes = [{column: None} for column in columns]
        made = self._halved(changes, self._made)
        odd = [i for i, row in enumerate(made) if row is not None and np.isnan(row.data).any()]
        # who refuses NaN in one column refuses it in all
        if odd and self.taken([changes[odd[0]]])[0] is None:
            for i in odd:
                made[i] = None
        rest = [i for i, row in enumerate(made) if row is not None]
        for i, row in zip(rest, self.taken([changes[i] for i in rest]), strict=True):
            made[i] = row
        return made

    def _made(self, changes: Sequence[Mapping[int, Any]]) -> Any:
        from scipy import sparse

        return sparse.csr_matrix(self._prefix.given(made_up(self._prefix, changes)), dtype=np.float64)

    def _given(self, changes: Sequence[Mapping[int, Any]]) -> Any:
        self._ask(made_up(self._prefix, changes))
        return self._made(changes)

    def _halved(self, changes: Sequence[Mapping[int, Any]], call: Callable[..., Any]) -> list[Any]:
        if not changes:
            return []
        try:
            rows = call(changes)
            return [rows[i] for i in range(len(changes))]
        except Exception:  # whatever it raises, such a row is the framework's
            half = len(changes) // 2
            return [None] if not half else self._halved(changes[:half], call) + self._halved(changes[half:], call)


def _probed(prefix: Prefix, ask: Callable[[pa.Table], Any]) -> Prefix:
    """With what the transformers make of each category, and what they or the model refuse. Infinities are always left to them."""
    from scipy import sparse

    columns = sorted(prefix.outputs)
    try:
        ask(made_up(prefix, [{}]))
    except Exception as error:
        raise Unknown(f"it does not take a row that is made up ({type(error).__name__})") from error
    probe = _Probe(prefix, ask)
    encoded = [column for column in columns if column in prefix.levels]
    values = {column: prefix.levels[column].to_pylist() for column in encoded}
    absent = dict(zip(columns, probe.absent(columns), strict=True))
    strange = dict(zip(encoded, probe.taken([{c: unseen(values[c])} for c in encoded]), strict=True))
    try:
        known = probe.known([{column: value} for column in encoded for value in values[column]])
    except Exception as error:
        raise Unknown(f"it refuses a category that it knows ({type(error).__name__})") from error
    tables: dict[int, Any] = {}
    missing: dict[int, np.ndarray] = {}
    refused: dict[int, frozenset[str]] = {}
    nothing, at = sparse.csr_matrix((1, len(prefix.traces))), 0
    for column in columns:
        outputs, ends = prefix.outputs[column], [strange.get(column), absent[column]]
        if column in prefix.levels:
            rows = [known[at : at + len(values[column])], *(nothing if row is None else row for row in ends)]
            at += len(values[column])
            tables[column] = sparse.vstack(rows).tocsc()[:, outputs]
        else:
            row = ends[1]
            missing[column] = np.full(len(outputs), np.nan) if row is None else row.toarray()[0, outputs]
        found = zip(("unknown", "missing"), ends, strict=True)
        refused[column] = frozenset({"infinite", *(name for name, row in found if row is None)})
    return replace(prefix, tables=tables, refused=refused, missing=missing)
