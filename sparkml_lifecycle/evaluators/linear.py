"""Linear models over the columns of a table: a category adds what a table says, a number its weight times what the scalers make of it."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from sparkml_lifecycle.evaluators import verification
from sparkml_lifecycle.evaluators.codes import codes_of
from sparkml_lifecycle.evaluators.pipelines import Prefix, Trace
from sparkml_lifecycle.evaluators.trees.answers import Unknown

_REGRESSORS = (
    "ARDRegression", "BayesianRidge", "ElasticNet", "ElasticNetCV", "HuberRegressor", "Lars", "Lasso", "LassoCV", "LassoLars",
    "LinearRegression", "LinearSVR", "Ridge", "RidgeCV", "SGDRegressor", "TheilSenRegressor",
)  # fmt: skip
_CLASSIFIERS = ("LinearSVC", "LogisticRegression", "LogisticRegressionCV", "RidgeClassifier", "SGDClassifier")
_ROWS = 16_384  # of a block: its columns stay in the cache
_WHOLE = 2**53


def is_linear(model: Any) -> bool:
    """Whether it is a linear model that is known here."""
    return type(model).__module__.startswith("sklearn.") and type(model).__name__ in (*_REGRESSORS, *_CLASSIFIERS)


class LinearScorer:
    """A linear model after known transformers.

    Parameters
    ----------
    model : estimator
        scikit-learn's own, with ``coef_`` and ``intercept_``.
    prefix : Prefix
    """

    name = "linear"
    exact = False

    def __init__(self, model: Any, prefix: Prefix) -> None:
        coefficients = np.asarray(model.coef_, np.float64)
        if coefficients.ndim > 1 and type(model).__name__ in _REGRESSORS:
            raise Unknown("it has several outputs")
        self._weights = np.atleast_2d(coefficients)
        intercept = np.asarray(model.intercept_, np.float64).ravel()
        self._outputs = len(self._weights)
        if self._weights.shape[1] != len(prefix.traces):
            raise Unknown("it has other columns than its transformers give")
        self._intercept = np.broadcast_to(intercept, self._outputs).copy()
        self.levels, self._prefix = prefix.levels, prefix
        self._tables, self._numbers = self._parts()
        self._codes = codes_of(prefix.levels)
        self._width = len(prefix.schema)
        self._methods = _methods(model)
        self.threads = 1

    def _parts(self) -> tuple[dict[int, np.ndarray], dict[int, list[tuple[Trace, np.ndarray, float]]]]:
        """For each column of the input: what a category adds to each output; what is made of a number, its weights and a missing one."""
        tables, numbers = {}, {}
        for column, outputs in sorted(self._prefix.outputs.items()):
            weights = self._weights[:, outputs]
            if column in self._prefix.tables:
                # a row that is refused is never asked for
                tables[column] = np.ascontiguousarray((self._prefix.tables[column] @ weights.T).T)
            else:
                missing = self._prefix.missing[column].tolist()
                traces = [self._prefix.traces[i] for i in outputs]
                numbers[column] = list(zip(traces, weights.T, missing, strict=True))
        return tables, numbers

    @property
    def methods(self) -> list[str]:
        """The framework's methods that it knows."""
        return list(self._methods)

    def has(self, method: str) -> bool:
        """Whether it knows the framework's method."""
        return method in self._methods

    def answer(self, table: pa.Table, method: str) -> Any:
        """What the framework's method answers; None where these rows are left to the framework."""
        sums = self._sums(table)
        return None if sums is None else self._methods[method](sums)

    def magnitude(self, table: pa.Table) -> np.ndarray:
        """(rows,) of the sum of what the columns add, without signs: rounding is as large as these."""
        sums = self._sums(table, absolute=True)
        return np.zeros(table.num_rows) if sums is None else sums.max(axis=0)

    def trial_rows(self, schema: pa.Schema, chance: np.random.Generator, rows: int = 8192) -> pa.Table:
        """Rows of every category and of numbers of every size, missing where that is taken."""
        columns = []
        for column, field in enumerate(schema):
            refused = self._prefix.refused.get(column, frozenset())
            gaps = chance.random(rows) < (0.0 if "missing" in refused else 0.08)
            if column in self.levels:
                columns.append(verification.categories(self.levels[column], field.type, refused, chance, rows))
            elif pa.types.is_boolean(field.type):
                columns.append(pa.array(chance.random(rows) < 0.5, mask=gaps))
            elif pa.types.is_integer(field.type):
                most = min(np.iinfo(field.type.to_pandas_dtype()).max, 10**9)
                columns.append(pa.array(chance.integers(0, most, rows), mask=gaps).cast(field.type))
            elif pa.types.is_floating(field.type):
                numbers = chance.normal(size=rows) * 10.0 ** chance.integers(-6, 7, rows)
                if column in self._numbers:  # and such as it was trained with
                    slope, shift = self._numbers[column][0][0].line()
                    usual = (chance.normal(size=rows) - shift) / slope
                    numbers = np.where(chance.random(rows) < 0.5, usual, numbers)
                columns.append(pa.array(numbers, mask=gaps).cast(field.type, safe=False))
            else:
                columns.append(pa.nulls(rows, field.type))
        return pa.table(columns, schema=schema)

    def _sums(self, table: pa.Table, absolute: bool = False) -> np.ndarray | None:
        if table.num_columns != self._width or not self._prefix.reads(table.schema):
            return None
        out = np.empty((self._outputs, table.num_rows))
        at = 0
        with np.errstate(all="ignore"):  # what overflows is the framework's to tell
            for batch in table.to_batches(max_chunksize=_ROWS):
                if not self._add(batch, out[:, at : at + batch.num_rows], absolute):
                    return None
                at += batch.num_rows
        return out

    def _add(self, batch: pa.RecordBatch, out: np.ndarray, absolute: bool) -> bool:
        """Add up the columns of a block; False where something in it is left to the framework."""
        size = np.abs if absolute else _itself
        out[:] = size(self._intercept)[:, None]
        for column, adds in self._tables.items():
            codes = self._codes[column].of(batch.column(column))
            if codes is None or self._is_refused(column, codes):
                return False
            for output in range(self._outputs):
                # -1 is the last row of the table, as Python counts
                out[output] += size(adds[output])[codes]
        for column, parts in self._numbers.items():
            values = _floats(batch.column(column))
            if values is None:
                return False
            gaps = None
            if not np.isfinite(values.sum()):
                gaps = np.isnan(values)
                if np.isinf(values).any() or (gaps.any() and "missing" in self._prefix.refused[column]):
                    return False
            for trace, weights, missing in parts:
                images = trace.image(values)
                if gaps is not None:
                    images = np.where(gaps, missing, images)
                for output in range(self._outputs):
                    out[output] += size(images * weights[output])
        # what overflows is refused, or not, by the framework
        return absolute or bool(np.isfinite(out.sum()))

    def _is_refused(self, column: int, codes: np.ndarray) -> bool:
        refused = self._prefix.refused[column]
        if "missing" in refused and (codes < 0).any():
            return True
        return "unknown" in refused and bool((codes == len(self.levels[column])).any())


def _itself(values: Any) -> Any:
    return values


def _floats(values: pa.Array) -> np.ndarray | None:
    """float64 with NaN for missing; None for whole numbers that it does not hold."""
    if pa.types.is_floating(values.type):
        return values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    found: np.ndarray = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    if values.type.bit_width == 64 and len(found) and np.nanmax(np.abs(found), initial=0.0) >= _WHOLE:
        return None
    return found


def _methods(model: Any) -> Mapping[str, Callable[[np.ndarray], Any]]:
    if type(model).__name__ in _REGRESSORS:
        return {"predict": lambda sums: sums[0]}

    def method(name: str) -> Callable[[np.ndarray], Any]:
        def answer(sums: np.ndarray) -> Any:
            own = copy.copy(model)
            own.decision_function = lambda rows: sums[0] if len(sums) == 1 else np.ascontiguousarray(sums.T)
            return getattr(own, name)(None)

        return answer

    names = ("predict", "predict_proba", "predict_log_proba", "decision_function")
    return {name: method(name) for name in names if hasattr(model, name)}
