"""A loaded model: one ``predict`` for every framework."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparkml_lifecycle.errors import InvalidInput, LifecycleError, ScoringError, did_you_mean
from sparkml_lifecycle.flavors.base import Flavor
from sparkml_lifecycle.model import answers, batch, digest, example, manifest
from sparkml_lifecycle.model.manifest import Manifest
from sparkml_lifecycle.model.signature import Column, Signature, Tensor


class PyFuncModel:
    """A loaded model of any framework with one ``predict``.

    Attributes
    ----------
    manifest : Manifest
        The content of its ``MLmodel``.
    flavor : Flavor
    """

    def __init__(
        self, model: Any, flavor: Flavor, found: Manifest, directory: Path, *, hide_errors: bool = False
    ) -> None:
        self.manifest = found
        self.flavor = flavor
        self._model = model
        self._directory = directory
        self._hide_errors = hide_errors
        self._digest: str | None = None
        self._signature = found.signature or Signature()
        self._columns = self._signature.columns if self._signature.names is not None else None
        self._names = self._signature.names or flavor.feature_names(model)
        self._form = (
            "numpy"
            if flavor.wants == "pandas" and self._names is None and flavor.name != manifest.PYTHON_FUNCTION
            else flavor.wants
        )
        self._refuses: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        return f"PyFuncModel(flavor={self.flavor.name!r}, run_id={self.manifest.run_id!r}, inputs={self._names})"

    @property
    def metadata(self) -> Manifest:
        """MLflow's name for :attr:`manifest`."""
        return self.manifest

    @property
    def signature(self) -> Signature | None:
        """Inputs, outputs and parameters, as far as they are known."""
        return self.manifest.signature

    @property
    def input_names(self) -> list[str] | None:
        """The columns it takes, in order; None where they have no names."""
        return self._names

    @property
    def default_method(self) -> str:
        """The framework's method that :meth:`predict` calls."""
        return str(self.manifest.python_function.get("predict_fn") or self.flavor.methods[0])

    @property
    def digest(self) -> str:
        """The content digest of its directory."""
        if self._digest is None:
            self._digest = digest.digest(self._directory)
        return self._digest

    def unwrap(self) -> Any:
        """The framework's own object, or the user's own for ``python_function``."""
        return self._model.unwrap() if hasattr(self._model, "unwrap") else self._model

    def unwrap_python_model(self) -> Any:
        """MLflow's name for :meth:`unwrap` of a ``python_function``."""
        return self.unwrap()

    def limit_threads(self, threads: int) -> None:
        """Hold the model's own thread pool to ``threads``."""
        self.flavor.limit_threads(self._model, threads)

    def predict(self, data: Any, params: Mapping[str, Any] | None = None, *, predict_fn: str | None = None) -> Any:
        """One answer per row, in order, as the framework gives them.

        Parameters
        ----------
        data : pandas.DataFrame, pyarrow.Table, numpy array, dict of columns or list of dicts
            Columns are matched by name and checked against the signature by type; others are ignored.
        params : mapping, optional
            Parameters of the model's signature.
        predict_fn : str, optional
            The framework's method, such as ``predict_proba``.

        Returns
        -------
        numpy array or DataFrame
            A DataFrame where a row has several named answers (H2O, probabilities); of a ``python_function`` what the user's
            code gives. Rows with a null that the framework refuses answer NaN or None. No rows give an empty answer.

        Raises
        ------
        SchemaError
            If the columns do not fit.
        ScoringError
            If the model raises; the model's own error is its cause.
        """
        if self._signature.inputs is None and self._names is None and self.flavor.name == manifest.PYTHON_FUNCTION:
            return self._call(data, self._method(predict_fn), self._signature.with_params(params))
        table, left_out = self._prepare(data)
        method = self._method(predict_fn)
        known = self._signature.with_params(params)
        if table.num_rows == 0 and (self._signature.outputs or self.flavor.name != manifest.PYTHON_FUNCTION):
            return self._empty(method)
        if left_out is None:
            given = self._call(self._to_form(table), method, known)
            return given if self.flavor.name == manifest.PYTHON_FUNCTION else _framed(given)
        return _filled(self.predict_columns(table, params, predict_fn=predict_fn))

    def predict_columns(
        self, data: Any, params: Mapping[str, Any] | None = None, *, predict_fn: str | None = None
    ) -> Any:
        """:meth:`predict`, with the answers as a ``pyarrow.Table`` of named columns and nulls where a row was left out."""
        import pyarrow as pa

        table, left_out = self._prepare(data)
        method = self._method(predict_fn)
        kept = table if left_out is None else table.filter(pa.array(~left_out))
        if kept.num_rows == 0:
            return self._unanswered(table.num_rows, method)
        outputs = self._signature.outputs if method == self.default_method else None
        names = [item.name for item in outputs] if outputs else None
        given = self._call(self._to_form(kept), method, self._signature.with_params(params))
        return answers.spread(answers.to_columns(given, kept.num_rows, names), left_out)

    def _unanswered(self, rows: int, method: str) -> Any:
        import pyarrow as pa

        outputs = self._signature.outputs if method == self.default_method else None
        if not outputs or isinstance(outputs[0], Tensor):
            return pa.table({"prediction": pa.nulls(rows)})
        return pa.table(
            {item.name or "prediction": pa.nulls(rows, item.type) for item in outputs if isinstance(item, Column)}
        )

    def _empty(self, method: str) -> Any:
        outputs = self._signature.outputs if method == self.default_method else None
        if outputs and isinstance(outputs[0], Tensor):
            import numpy as np

            return np.empty((0, *outputs[0].shape[1:]), dtype=outputs[0].dtype)
        return _filled(self._unanswered(0, method))

    def check_method(self, predict_fn: str | None) -> None:
        """Raise :class:`InvalidInput` if the model has no such method."""
        self._method(predict_fn)

    def _method(self, predict_fn: str | None) -> str:
        if predict_fn is None or predict_fn == self.default_method:
            return self.default_method
        if predict_fn not in self.flavor.methods or (
            self.flavor.name in ("sklearn", "xgboost") and not hasattr(self._model, predict_fn)
        ):
            has = [
                name
                for name in self.flavor.methods
                if self.flavor.name not in ("sklearn", "xgboost") or hasattr(self._model, name)
            ]
            raise InvalidInput(
                f"This {self.flavor.name} model has no {predict_fn!r}. It has: {', '.join(has)}.{did_you_mean(predict_fn, has)}"
            )
        return predict_fn

    def _prepare(self, data: Any) -> tuple[Any, Any]:
        """The signature's columns of ``data``, and a mask of the rows that the model cannot answer."""
        table = batch.as_table(data, self._names)
        if self._signature.inputs is not None:
            table = batch.conform(table, self._signature, in_pandas=batch.is_pandas(data))
        elif self._names is not None:
            if len(self._names) == table.num_columns and table.column_names == [
                str(i) for i in range(table.num_columns)
            ]:
                table = table.rename_columns(self._names)
            else:
                table = batch.conform(table, Signature(tuple(Column(name, batch.UNKNOWN) for name in self._names)))
        return table, batch.null_rows(table, self._refusing(table))

    def _to_form(self, table: Any) -> Any:
        if self._form == "arrow":
            return table
        if self._form == "numpy":
            inputs = self._signature.inputs
            return batch.to_numpy(table, inputs[0] if inputs and isinstance(inputs[0], Tensor) else None)
        if getattr(self.flavor, "keeps_integers", False):
            floats = {c.name for c in self._columns or () if c.nullable}
        else:
            floats = set(table.column_names) - set(self._refusing(table))
        return batch.to_pandas(table, self._columns, [str(name) for name in floats])

    def _refusing(self, table: Any) -> tuple[str, ...]:
        """The columns in which this model takes no null: asked of the framework, else found by trying one row."""
        if self._refuses is None:
            answers_missing = self.flavor.answers_missing(self._model)
            if answers_missing is None:
                self._refuses = self._try_nulls(table)
            elif getattr(self.flavor, "keeps_integers", False):
                whole = [
                    c.name for c in self._columns or () if not c.nullable and str(c.type).startswith(("int", "bool"))
                ]
                self._refuses = tuple(str(name) for name in whole)
            else:
                self._refuses = () if answers_missing else tuple(table.column_names)
        return self._refuses

    def _try_nulls(self, table: Any) -> tuple[str, ...]:
        """Ask the model about rows with a null in one column each; independent of what this batch holds."""
        import pyarrow as pa

        refuses = []
        self._refuses = ()
        base = _probe_row(table, self._columns, self._directory)
        for i, name in enumerate(table.column_names):
            if pa.types.is_nested(base.schema.field(i).type):
                refuses.append(name)
                continue
            row = base.set_column(i, base.schema.field(i), pa.nulls(base.num_rows, base.schema.field(i).type))
            try:
                self.flavor.predict(
                    self._model, self._to_form(row), self._method(None), self._signature.with_params(None)
                )
            except Exception:  # any refusal of the probe means: no null here
                refuses.append(name)
        return tuple(refuses)

    def _call(self, rows: Any, method: str, params: Mapping[str, Any]) -> Any:
        try:
            return self.flavor.predict(self._model, rows, method, params)
        except LifecycleError:
            raise
        except Exception as error:
            said = f"{self._described()} raised {type(error).__name__} in {method}."
            if self._hide_errors:
                raise ScoringError(
                    f"{said} Its message is left out because it may quote the data; the traceback above has the line."
                ) from _without_data(error)
            raise ScoringError(f"{said} Its own message stands above, and is this error's __cause__.") from error

    def _described(self) -> str:
        """Which model it is, in its owner's words: never the wrapper's class, and the run only if there is one."""
        inside = self.unwrap()
        inside = getattr(inside, "function", inside) if self.flavor.name == manifest.PYTHON_FUNCTION else inside
        if inspect.isroutine(inside):
            named = f"The function {inside.__name__!r}"
        else:
            named = f"The {self.flavor.name} model {type(inside).__module__}.{type(inside).__qualname__}"
        return f"{named} (run {self.manifest.run_id})" if self.manifest.run_id else named


def _without_data(error: BaseException) -> BaseException:
    """The same error without its text, which may quote rows."""
    bare = RuntimeError(f"{type(error).__name__} (text left out)")
    return bare.with_traceback(error.__traceback__)


def _probe_row(table: Any, columns: Sequence[Column] | None, directory: Path) -> Any:
    """One harmless row: the input example's first if it fits, else zeros, empty strings and first categories."""
    import pyarrow as pa

    if columns is not None:
        try:
            row = example.first_row(directory)
            if row is not None:
                return batch.conform(batch.as_table(row, None), Signature(tuple(columns)))
        except (LifecycleError, KeyError, TypeError, ValueError):
            pass  # the example has types that JSON does not hold: the made-up row does
    levels = {column.name: column.categories for column in columns or () if column.categories}
    arrays = []
    for item in table.schema:
        if item.name in levels:
            arrays.append(pa.array([levels[item.name][0]], type=item.type))
        elif pa.types.is_string(item.type):
            arrays.append(pa.array([""], type=item.type))
        elif pa.types.is_integer(item.type) or pa.types.is_floating(item.type) or pa.types.is_boolean(item.type):
            arrays.append(pa.array([0]).cast(item.type))
        else:
            arrays.append(
                pa.array([0], type=pa.int64()).cast(item.type)
                if pa.types.is_temporal(item.type) and item.type != pa.date32()
                else pa.nulls(1, item.type)
            )
    return pa.table(arrays, schema=table.schema)


def _filled(table: Any) -> Any:
    """Answers with nulls as an array (NaN or None) for one column, a DataFrame for several."""
    arrays = {name: table.column(name).to_pandas().to_numpy() for name in table.column_names}
    if list(arrays) == ["prediction"]:
        return arrays["prediction"]
    if list(arrays) == [str(i) for i in range(len(arrays))]:
        import numpy as np

        return np.column_stack(list(arrays.values()))
    return _framed(arrays)


def _framed(given: Any) -> Any:
    """Several named answers as a DataFrame; anything else as it is."""
    if not isinstance(given, Mapping):
        return given
    import pandas as pd

    return pd.DataFrame(
        {name: values.to_pandas() if hasattr(values, "to_pandas") else values for name, values in given.items()}
    )
