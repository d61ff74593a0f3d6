"""A loaded model of any framework: one ``predict``, whatever it was saved with."""

import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sparkml_lifecycle import environment
from sparkml_lifecycle.errors import FormatError, InvalidInput, LifecycleError, ScoringError, did_you_mean
from sparkml_lifecycle.evaluators.choice import Candidate, Choice
from sparkml_lifecycle.evaluators.evaluation import Evaluation
from sparkml_lifecycle.flavors.base import Flavor
from sparkml_lifecycle.model import answers, batch, digest, manifest, types
from sparkml_lifecycle.model.form import Form, levels_of, unseen_rows
from sparkml_lifecycle.model.manifest import Manifest
from sparkml_lifecycle.model.pieces import assemble
from sparkml_lifecycle.model.signature import Column, Signature, Tensor
from sparkml_lifecycle.model_code import ModelCode
from sparkml_lifecycle.nulls import NullRule, rows_one_by_one


class PyFuncModel:
    """A loaded model of any framework with one ``predict``.

    Attributes
    ----------
    manifest : Manifest
        The content of its ``MLmodel``.
    flavor : Flavor
    evaluation : Evaluation
        What scores it in place of its framework.
    registered : tuple of str or None
        The name and version of the registered model that it was loaded as, by a ``models:/`` URI.

    Notes
    -----
    A row's answer never depends on which other rows share its batch: :mod:`sparkml_lifecycle.model.form` says how.
    """

    def __init__(
        self,
        model: Any,
        flavor: Flavor,
        found: Manifest,
        directory: Path,
        code: ModelCode | None = None,
        *,
        hide_errors: bool = False,
        evaluator: str = "auto",
        known_digest: str | None = None,
    ) -> None:
        self.manifest = found
        self.flavor = flavor
        self._model = model
        self._directory = directory
        self._code = code or ModelCode(None)
        self._hide_errors = hide_errors
        self._digest = known_digest
        self._signature = found.signature or Signature()
        self._names = self._signature.names or flavor.feature_names(model)
        self._methods = [name for name in flavor.methods if flavor.has(model, name)]
        self._default = self._default_method()
        self._of_matrix = flavor.of_matrix(model)
        self._form = self._decided_form()
        self._has_refused = False
        self._rule = NullRule(directory, self._known_levels)
        self.evaluation = Evaluation(self._candidate, evaluator)
        self.registered: tuple[str, str] | None = None

    def __repr__(self) -> str:
        registered = f"models:/{'/'.join(self.registered)}, " if self.registered else ""
        return f"PyFuncModel({registered}flavor={self.flavor.name!r}, run_id={self.manifest.run_id!r}, inputs={self._names})"

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
    def optional_names(self) -> frozenset[str]:
        """Those of the input columns that data may lack."""
        return frozenset(str(column.name) for column in self._signature.columns or () if not column.required)

    @property
    def default_method(self) -> str:
        """The framework's method that :meth:`predict` calls."""
        return self._default

    @property
    def digest(self) -> str:
        """The content digest of its directory."""
        if self._digest is None:
            self._digest = digest.digest(self._directory)
        return self._digest

    @property
    def differing_versions(self) -> list[str]:
        """Packages that decide the answers and have another version here than when the model was saved."""
        return environment.differing(self.manifest.ours.get("versions") or {})

    def unwrap(self) -> Any:
        """The framework's own object, or the user's own for ``python_function``."""
        return self._model.unwrap() if hasattr(self._model, "unwrap") else self._model

    def unwrap_python_model(self) -> Any:
        """MLflow's name for :meth:`unwrap` of a ``python_function``."""
        return self.unwrap()

    def limit_threads(self, threads: int) -> None:
        """Hold the model's own thread pool to ``threads``."""
        for model in self._copies():
            self.flavor.limit_threads(model, threads)
        self.evaluation.limit_threads(threads)

    @property
    def evaluator(self) -> Choice:
        """What scores the model: its framework, or an evaluator that was verified against it; with the reason.

        Raises
        ------
        InvalidInput
            If the model was loaded with ``evaluator="fast"`` and there is none.
        """
        return self.evaluation.choice

    def _candidate(self) -> Candidate:
        levels = {
            name: levels_of(column) for name, column in self._form.columns.items() if column.categories is not None
        }
        return Candidate(
            self._model,
            self.flavor.name,
            self._input_schema(),
            levels,
            self._methods,
            self._native,
            self._transformed,
            self._one_thread,
            lambda given, method: self.flavor.named(self._model, given, method),
            environment.versions_of(self.flavor.packages),
            self._form.spelling.unseen != "refused",
            self.manifest.ours.get("evaluator") or {},
            lambda: self.digest,
        )

    def _copies(self) -> list[Any]:
        """The model, and its shallow copy that takes matrices."""
        return [model for model in (self._model, self._of_matrix) if model is not None]

    @contextmanager
    def _one_thread(self) -> Iterator[None]:
        with ExitStack() as stack:
            for model in self._copies():
                stack.enter_context(self.flavor.one_thread(model))
            yield

    def _input_schema(self) -> Any:
        """The types of its columns; doubles, texts or those of their categories, where only names are known."""
        import pyarrow as pa

        columns = self._signature.columns
        if columns:
            return pa.schema([(str(c.name or i), c.type) for i, c in enumerate(columns)])
        if self._names is None:
            return None
        texts = self.flavor.texts(self._model)
        known = {name: column.type for name, column in self._form.columns.items() if column.categories is not None}
        return pa.schema(
            [(name, known.get(name, pa.string() if name in texts else pa.float64())) for name in self._names]
        )

    def _native(self, table: Any, method: str) -> Any:
        """What the framework answers to columns that conform."""
        pieces = [(rows, self._ask(made, method, {})) for rows, made in self._form.calls(table)]
        return pieces[0][1] if pieces[0][0] is None else assemble(pieces, table.num_rows)

    def _transformed(self, table: Any) -> Any:
        """What the steps of a pipeline before the last one give, a matrix, which may be sparse."""
        pieces = []
        for rows, made in self._form.calls(table):
            given = self._model[:-1].transform(made) if hasattr(self._model, "steps") else made
            pieces.append((rows, given))
        if pieces[0][0] is None:
            return pieces[0][1]
        parts = [(rows, given.toarray() if hasattr(given, "toarray") else np.asarray(given)) for rows, given in pieces]
        whole = np.empty((table.num_rows, parts[0][1].shape[1]), np.float64)
        for rows, given in parts:
            whole[rows] = given
        return whole

    def _evaluated(self, table: Any, method: str, params: Mapping[str, Any]) -> Any:
        """What the evaluator answers; None where the framework has to."""
        given = None if params else self.evaluation.answer(table, method)
        return None if given is None else self.flavor.named(self._model, given, method)

    # -- predicting ------------------------------------------------------------------------------------------------------

    def predict(self, data: Any, params: Mapping[str, Any] | None = None, *, predict_fn: str | None = None) -> Any:
        """One answer per row, in order, as the framework gives them.

        Parameters
        ----------
        data : pandas.DataFrame, pyarrow.Table, numpy array, dict of columns or list of dicts
            Columns are matched by name and checked against the signature by type; others are ignored. Times in a DataFrame
            keep their unit and zone; those of an Arrow table get what the model was trained on.
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
        method, known = self._method(predict_fn), self._signature.with_params(params)
        if self._signature.inputs is None and self._names is None and self.flavor.name == manifest.PYTHON_FUNCTION:
            return self._call(data, method, known)
        table = self._conformed(data)
        pieces = list(self._pieces(table, method, known, batch.is_pandas(data)))
        if not pieces:
            pieces = [self._template(table, method, known)]
        given = pieces[0][1] if pieces[0][0] is None else assemble(pieces, table.num_rows)
        return given if self.flavor.name == manifest.PYTHON_FUNCTION else _framed(given)

    def predict_columns(
        self, data: Any, params: Mapping[str, Any] | None = None, *, predict_fn: str | None = None
    ) -> Any:
        """:meth:`predict`, with the answers as a ``pyarrow.Table`` of named columns and nulls where a row was left out."""
        method, known = self._method(predict_fn), self._signature.with_params(params)
        outputs = self._outputs(method)
        table = self._conformed(data)
        pieces = [
            (rows, answers.read(given, _count(rows, table), _names_of(outputs)).table)
            for rows, given in self._pieces(table, method, known, batch.is_pandas(data))
        ]
        if not pieces:
            pieces = [(np.array([], dtype=np.int64), self._nothing(table, method, known, outputs))]
        return answers.joined(pieces, table.num_rows)

    def predict_as(
        self, data: Any, wanted: Any, params: Mapping[str, Any] | None = None, *, predict_fn: str | None = None
    ) -> Any:
        """:meth:`predict`, with the answers as one Arrow array of the type ``wanted``; a row that was left out is null."""
        import pyarrow as pa

        method, known = self._method(predict_fn), self._signature.with_params(params)
        outputs = self._outputs(method)
        table = self._conformed(data)
        made, places = [], []
        for rows, given in self._pieces(table, method, known, batch.is_pandas(data)):
            found = answers.to_type(answers.read(given, _count(rows, table), _names_of(outputs)), wanted, outputs)
            if rows is None:
                return found
            made.append(found)
            places.append(rows)
        if not made:
            return pa.nulls(table.num_rows, wanted)
        return pa.concat_arrays(made).take(answers.order_of(places, table.num_rows))

    def has_method(self, name: str) -> bool:
        """Whether the model has a method of that name, such as ``predict_proba``."""
        return name in self._methods

    def check_method(self, predict_fn: str | None) -> None:
        """Raise :class:`InvalidInput` if the model has no such method."""
        self._method(predict_fn)

    def checked_params(self, params: Mapping[str, Any] | None) -> dict[str, Any]:
        """Parameters as the signature knows them; :class:`InvalidInput` for one that it does not."""
        return self._signature.with_params(params) if params else {}

    # -- decided once ----------------------------------------------------------------------------------------------------

    def _default_method(self) -> str:
        """The method that ``MLmodel`` names if the model has it, else the first that it has."""
        named = str(self.manifest.python_function.get("predict_fn") or self.flavor.methods[0])
        if named not in self.flavor.methods:
            raise FormatError(
                f"MLmodel names the method {named!r} in predict_fn; a {self.flavor.name} model predicts with {', '.join(self.flavor.methods)}."
            )
        return named if named in self._methods or not self._methods else self._methods[0]

    def _decided_form(self) -> Form:
        columns = {str(c.name): c for c in self._signature.columns or () if c.name is not None}
        said = {name: tuple(column.categories) for name, column in columns.items() if column.categories}
        spelling, levels = self.flavor.spelling(self._model), self.flavor.categories(self._model, said)
        own = self.flavor.feature_names(self._model)
        for name, (arrow, known) in levels.items():
            columns[name] = replace(columns.get(name, Column(name, types.plain(arrow))), categories=known)
        inputs = self._signature.inputs
        tensor = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None
        kind: Literal["arrow", "numpy", "pandas"] = self.flavor.wants
        labels: dict[str, int] = {}
        if kind == "pandas" and self.flavor.name != manifest.PYTHON_FUNCTION and own is None:
            # names that the model does not know make scikit-learn warn; numbers are no names
            if self._names is None:
                kind = "numpy"
            else:
                whole = all(name.isdecimal() for name in self._names)
                labels = {name: int(name) if whole else i for i, name in enumerate(self._names)}
        has_categories = any(column.categories for column in columns.values())
        nameless = kind == "pandas" and not labels and not has_categories and self._of_matrix is not None
        return Form(kind, columns, tensor, spelling, labels, nameless)

    def _known_levels(self) -> Mapping[str, Any]:
        levels = {name: column.categories[0] for name, column in self._form.columns.items() if column.categories}
        return {**self.flavor.known_values(self._model), **levels}

    def _method(self, predict_fn: str | None) -> str:
        if predict_fn is None or predict_fn == self._default:
            return self._default
        if predict_fn not in self._methods:
            raise InvalidInput(
                f"This {self.flavor.name} model has no {predict_fn!r}. It has: {', '.join(self._methods)}.{did_you_mean(predict_fn, self._methods)}"
            )
        return predict_fn

    def _outputs(self, method: str) -> Sequence[Column | Tensor] | None:
        return self._signature.outputs if method == self._default else None

    # -- one batch -------------------------------------------------------------------------------------------------------

    def _conformed(self, data: Any) -> Any:
        """The signature's columns of ``data``."""
        table = batch.as_table(data, self._names)
        if self._signature.inputs is not None:
            return batch.conform(table, self._signature, in_pandas=batch.is_pandas(data))
        if self._names is None:
            return table
        if len(self._names) == table.num_columns and table.column_names == [str(i) for i in range(table.num_columns)]:
            return table.rename_columns(self._names)
        return batch.conform(table, Signature(tuple(Column(name, batch.UNKNOWN) for name in self._names)))

    def _unasked(self, table: Any, method: str, params: Mapping[str, Any]) -> Any:
        """What scikit-learn gives to a matrix: it looks for NaN itself, and looking twice costs as much as a small model. None once it has refused one."""
        if self._has_refused or not table.num_rows or not self._form.is_block(table):
            return None
        try:
            ((_, matrix),) = self._form.calls(table)
            return self._ask(matrix, method, params)
        except Exception:  # which rows it refuses, or what it says, is found out as for every model
            self._has_refused = True
            return None

    def _left_out(self, table: Any, method: str, params: Mapping[str, Any]) -> np.ndarray | None:
        """A mask of the rows that the model cannot answer, or None if there are none."""
        masks = []
        for name, column in self._form.columns.items():
            if column.categories is not None and self._form.spelling.unseen == "refused" and name in table.column_names:
                masks.append(unseen_rows(table.column(name), column).to_numpy())
        if self._form.kind == "numpy" and table.num_columns == 1 and batch.is_list(table.schema.field(0).type):
            masks.append(table.column(0).is_null().to_numpy())
        refusing = self.flavor.refusing(self._model, self._signature, table.column_names)
        if refusing is not None:
            masks.append(batch.null_rows(table, refusing))
        elif (null := batch.null_rows(table, table.column_names)) is not None:
            ask = self._trial(method, params)
            found = self._rule.refusing(table, method, ask)
            masks.append(rows_one_by_one(table, null, ask) if found is None else batch.null_rows(table, found))
        masks = [mask for mask in masks if mask is not None and mask.any()]
        return np.logical_or.reduce(masks) if masks else None

    def _trial(self, method: str, params: Mapping[str, Any]) -> Callable[[Any], Any]:
        return lambda row: [self._ask(made, method, params) for _, made in self._form.calls(row)]

    def _pieces(
        self, table: Any, method: str, params: Mapping[str, Any], as_given: bool
    ) -> Iterator[tuple[np.ndarray | None, Any]]:
        """What the model gives, call by call, each with the positions of its rows; None for all of them."""
        import pyarrow as pa

        given = self._evaluated(table, method, params)
        given = self._unasked(table, method, params) if given is None else given
        if given is not None:
            yield None, given
            return
        left_out = self._left_out(table, method, params)
        kept = None if left_out is None else np.flatnonzero(~left_out)
        if not (table.num_rows if kept is None else len(kept)):
            return
        remaining = table if kept is None else table.take(pa.array(kept))
        if kept is not None and (given := self._evaluated(remaining, method, params)) is not None:
            yield kept, given
            return
        for rows, made in self._form.calls(remaining, as_given):
            given = self._call(made, method, params)
            yield (rows if kept is None else kept if rows is None else kept[rows]), given

    def _template(self, table: Any, method: str, params: Mapping[str, Any]) -> tuple[np.ndarray, Any]:
        """What the model gives to no rows, or to one that it answers: nothing of it is used but its type."""
        ask = self._trial(method, params)
        try:
            return np.array([], dtype=np.int64), ask(table.slice(0, 0))[0]
        except Exception:  # scikit-learn refuses to predict no rows
            base = self._rule.base(table, method, ask)
        return np.array([-1]), np.empty(1) if base is None else ask(base)[0]

    def _nothing(
        self, table: Any, method: str, params: Mapping[str, Any], outputs: Sequence[Column | Tensor] | None
    ) -> Any:
        """No rows of the columns that the model answers."""
        import pyarrow as pa

        if outputs and not isinstance(outputs[0], Tensor):
            return pa.table({c.name or "prediction": pa.nulls(0, c.type) for c in outputs if isinstance(c, Column)})
        at, given = self._template(table, method, params)
        return answers.to_columns(given, len(at), _names_of(outputs)).slice(0, 0)

    def _ask(self, rows: Any, method: str, params: Mapping[str, Any]) -> Any:
        model = self._of_matrix if self._form.nameless and isinstance(rows, np.ndarray) else self._model
        with self._code.importable():
            return self.flavor.predict(model, rows, method, params)

    def _call(self, rows: Any, method: str, params: Mapping[str, Any]) -> Any:
        try:
            return self._ask(rows, method, params)
        except LifecycleError:
            raise
        except (Exception, SystemExit) as error:
            raised = f"{self._described()} raised {type(error).__name__} in {method}"
            if self._hide_errors:
                at = traceback.extract_tb(error.__traceback__)[-1]
                raise ScoringError(
                    f"{raised} ({Path(at.filename).name}, line {at.lineno}). Its message is left out because it may quote the data."
                ) from _without_data(error)
            raise ScoringError(
                f"{raised}. What it says, which may quote the data, is in this error's __cause__ and stands above it in a traceback."
            ) from error

    def _described(self) -> str:
        """Which model it is, in its owner's words: never the wrapper's class, and the run only if there is one."""
        inside = self.unwrap()
        inside = getattr(inside, "function", inside) if self.flavor.name == manifest.PYTHON_FUNCTION else inside
        if inspect.isroutine(inside):
            named = f"The function {inside.__name__!r}"
        else:
            named = f"The {self.flavor.name} model {type(inside).__module__}.{type(inside).__qualname__}"
        return f"{named} (run {self.manifest.run_id})" if self.manifest.run_id else named


def _framed(given: Any) -> Any:
    """Several named answers as a DataFrame; anything else as it is."""
    if not isinstance(given, Mapping):
        return given
    import pandas as pd

    return pd.DataFrame(
        {name: values.to_pandas() if hasattr(values, "to_pandas") else values for name, values in given.items()}
    )


def _without_data(error: BaseException) -> BaseException:
    """The same error without its text, which may quote rows."""
    bare = RuntimeError(f"{type(error).__name__} (text left out)")
    return bare.with_traceback(error.__traceback__)


def _count(rows: np.ndarray | None, table: Any) -> int:
    return int(table.num_rows) if rows is None else len(rows)


def _names_of(outputs: Sequence[Column | Tensor] | None) -> list[str | None] | None:
    return [item.name for item in outputs] if outputs else None
