"""The only code that writes or reads a model directory.

A directory is written beside its place and renamed into it, so that half a model never exists. A read model is a
:class:`PyFuncModel`: one ``predict`` for every framework.
"""

import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sparkml_lifecycle import environment, flavors
from sparkml_lifecycle.errors import (
    AlreadyExists,
    ConsentRequired,
    FormatError,
    InvalidInput,
    LifecycleError,
    MissingLibrary,
    ScoringError,
    StorageError,
    did_you_mean,
)
from sparkml_lifecycle.flavors.base import Flavor, Saved, SaveOptions
from sparkml_lifecycle.model import answers, batch, digest, manifest
from sparkml_lifecycle.model.manifest import Manifest
from sparkml_lifecycle.model.signature import Column, Signature, Tensor, infer_signature
from sparkml_lifecycle.settings import Settings

EXAMPLE_FILE = "input_example.json"
_EXAMPLE_ROWS = 20


@dataclass(frozen=True)
class Description:
    """What a caller says about a model beside the model itself.

    Attributes
    ----------
    flavor : str, optional
        The flavor's name; found by the model's type where it is not given.
    signature : Signature, optional
        Inferred from ``input_example`` and the model's answers to it where it is not given.
    input_example : DataFrame, Arrow table, array, dict or list, optional
        A few rows; at most 20 are kept.
    requirements : sequence of str, optional
        Replaces the inferred requirement lines.
    code_paths : sequence of path
        Python files or packages to ship under ``code/``; they run only with consent.
    metadata : mapping
        Anything a person wants to keep in ``MLmodel``.
    run_id, artifact_path : str, optional
        The run that logs the model.
    allow_code : bool, optional
        Consent to a pickle; ``SPARKML_ALLOW_CODE`` where it is None.
    options : mapping
        The flavor's own options.
    """

    flavor: str | None = None
    signature: Signature | None = None
    input_example: Any = None
    requirements: Sequence[str] | None = None
    code_paths: Sequence[str | Path] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    artifact_path: str | None = None
    allow_code: bool | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def consent(self) -> bool:
        """Whether code may be saved and run."""
        return Settings.load().allow_code if self.allow_code is None else self.allow_code


# -- writing -------------------------------------------------------------------------------------------------------------


def save(model: Any, path: str | Path, description: Description) -> Manifest:
    """Write ``model`` as a new directory at ``path``.

    Raises
    ------
    AlreadyExists
        If something is there that is not an empty directory.
    ConsentRequired
        If the model can only be pickled and nobody agreed to that.
    InvalidInput
        If no flavor saves such a model, or the example does not go through it.
    StorageError
        If the disk refuses; nothing is left behind.
    """
    target = Path(path)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise AlreadyExists(f"{str(target)!r} is there already. Choose another path or remove it first.")
    flavor = flavors.by_name(description.flavor) if description.flavor else flavors.flavor_of(model)
    beside = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.saving"
    try:
        beside.mkdir(parents=True)
        written = _write(model, flavor, beside, description)
        if target.exists():
            target.rmdir()
        os.rename(beside, target)
    except LifecycleError:
        raise
    except OSError as error:
        raise StorageError(
            f"The model cannot be saved at {str(target)!r}: {error.strerror or error}. Nothing was left there."
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return written


def _write(model: Any, flavor: Flavor, directory: Path, description: Description) -> Manifest:
    if isinstance(model, (str, Path)) and flavor.name == manifest.PYTHON_FUNCTION and not description.consent:
        raise ConsentRequired(
            f"A model from a source file runs its code, also for the trial at saving: agree with allow_code=True ({str(model)!r})."
        )
    saved = flavor.save(model, directory, SaveOptions(description.consent, description.options))
    has_code = _write_code(saved, directory, description)
    needed = environment.requirements_of(model, flavor.packages)
    for name, text in environment.environment_files(description.requirements or needed).items():
        (directory / name).write_text(text)
    found = _manifest(flavor, saved, description, has_code, flavor.tuning(model))
    manifest.write(found, directory)
    sample = _write_example(description.input_example, directory)
    found = replace(found, signature=_complete_signature(found, directory, description, sample))
    manifest.write(found, directory)
    return found


def _manifest(
    flavor: Flavor, saved: Saved, description: Description, has_code: bool, tuning: Mapping[str, Any]
) -> Manifest:
    python_function = {
        "loader_module": flavor.loader_module,
        "python_version": sys.version.split()[0],
        "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
        **saved.pyfunc,
        **({"code": "code"} if has_code else {}),
    }
    native = (
        {}
        if flavor.name == manifest.PYTHON_FUNCTION
        else {flavor.name: {**saved.conf, "code": "code" if has_code else None}}
    )
    ours: dict[str, Any] = {"flavor": flavor.name, "versions": _versions(flavor.packages)}
    if saved.runs_code or description.code_paths:
        ours["runs_code"] = True
    if tuning:
        ours["tuning"] = dict(tuning)
    others: dict[str, Any] = {
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        "model_uuid": uuid.uuid4().hex,
        "metadata": dict(description.metadata) or None,
    }
    others |= {
        key: value
        for key, value in (("run_id", description.run_id), ("artifact_path", description.artifact_path))
        if value
    }
    return Manifest({manifest.PYTHON_FUNCTION: python_function, **native}, None, ours, others)


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _write_code(saved: Saved, directory: Path, description: Description) -> bool:
    shipped: Mapping[str, bytes] = getattr(saved, "code", {})
    if not shipped and not description.code_paths:
        return False
    code = directory / "code"
    code.mkdir()
    for name, content in shipped.items():
        (code / name).write_bytes(content)
    for source in map(Path, description.code_paths):
        if not source.exists():
            raise InvalidInput(f"code_paths names {str(source)!r}, which does not exist.")
        if source.is_dir():
            shutil.copytree(source, code / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, code / source.name)
    return True


def _write_example(example: Any, directory: Path) -> Any:
    """Keep a few rows of the example as MLflow does, and give them back as a table."""
    if example is None:
        return None
    if type(example).__module__.startswith("pyspark."):
        example = example.limit(_EXAMPLE_ROWS).toPandas()
    if type(example).__module__.startswith("numpy"):
        rows = example[:_EXAMPLE_ROWS]
        (directory / EXAMPLE_FILE).write_text(json.dumps({"inputs": rows.tolist()}))
        return rows
    if isinstance(example, Mapping) and all(
        not isinstance(v, (list, tuple)) and not hasattr(v, "__len__") for v in example.values()
    ):
        example = [dict(example)]
    if not hasattr(example, "iloc"):
        example = batch.as_table(example, None).slice(0, _EXAMPLE_ROWS).to_pandas()
    rows = example.iloc[:_EXAMPLE_ROWS]
    split = json.loads(
        rows.to_frame().to_json(orient="split", date_format="iso")
        if rows.ndim == 1
        else rows.to_json(orient="split", date_format="iso", default_handler=str)
    )
    (directory / EXAMPLE_FILE).write_text(json.dumps({"columns": split["columns"], "data": split["data"]}))
    return rows


def _complete_signature(found: Manifest, directory: Path, description: Description, sample: Any) -> Signature | None:
    """The given signature, or one of the example; with outputs by asking the saved model itself, which also shows that it loads."""
    if sample is None:
        return description.signature
    wanted = description.signature or infer_signature(
        description.input_example if _is_schema_rich(description.input_example) else sample
    )
    loaded = read(
        directory,
        allow_code=True,
        found=replace(found, signature=Signature(wanted.inputs, None, wanted.params)),
        warn=False,
    )
    try:
        outputs = answers.to_columns(loaded.predict(sample), len(sample))
    except LifecycleError as error:
        raise InvalidInput(f"The model does not answer its own input example: {error}") from error
    if wanted.outputs:
        return wanted
    described = infer_signature(None, outputs).outputs
    if described and len(described) == 1 and isinstance(described[0], Column) and described[0].name == "prediction":
        described = (replace(described[0], name=None),)
    return Signature(wanted.inputs, described, wanted.params)


def _is_schema_rich(example: Any) -> bool:
    """Whether the example itself says more about its types than the rows kept of it."""
    return type(example).__module__.partition(".")[0] in ("pandas", "pyarrow", "pyspark", "numpy")


# -- reading -------------------------------------------------------------------------------------------------------------


def read(
    directory: str | Path, *, allow_code: bool | None = None, found: Manifest | None = None, warn: bool = True
) -> "PyFuncModel":
    """Load the model of a directory on this machine.

    Raises
    ------
    NotFound, FormatError
        If there is no readable model.
    MissingLibrary
        If its framework is not installed; the message has the pip line.
    ConsentRequired
        If loading would run code out of the directory.
    """
    directory = Path(directory)
    found = found or manifest.read(directory)
    consent = Settings.load().allow_code if allow_code is None else allow_code
    flavor = flavor_for(found)
    model = load_native(directory, found, flavor, consent)
    if warn:
        environment.warn_about_versions(found.ours.get("versions") or {}, directory.name)
    return PyFuncModel(model, flavor, found, directory)


def flavor_for(found: Manifest) -> Flavor:
    """The flavor that reads the ``python_function`` of a manifest."""
    loader = found.python_function.get("loader_module")
    if not loader:
        raise FormatError(
            f"The model has no python_function flavor, so it cannot predict. Its flavors: {', '.join(found.flavors)}."
        )
    flavor = flavors.by_loader(str(loader))
    if flavor is None:
        known = [name for entry in flavors.FLAVORS.values() for name in entry.loaders]
        raise FormatError(
            f"The model is loaded by {loader!r}, which no flavor here reads. Known: {', '.join(known)}.{did_you_mean(str(loader), known)}"
        )
    return flavor


def load_native(directory: Path, found: Manifest, flavor: Flavor, consent: bool) -> Any:
    """The framework's own object, with the code beside it importable."""
    flavors.require(flavor.name)
    _import_code(directory, found, consent)
    entry = {**found.python_function, **found.flavors.get(flavor.name, {}), "tuning": found.ours.get("tuning") or {}}
    try:
        return flavor.load(directory, entry, consent)
    except ModuleNotFoundError as error:
        raise MissingLibrary(
            f"The model needs the module {error.name!r}, which is not installed here: pip install {error.name} (see its requirements.txt)."
        ) from error


def _import_code(directory: Path, found: Manifest, consent: bool) -> None:
    code = found.python_function.get("code")
    if not code or not (folder := directory / str(code)).is_dir():
        return
    if _is_only_our_loader(folder):
        return
    if not consent:
        raise ConsentRequired(
            f"The model brings code of its own ({code}/), which would run here. If you trust where it came from: allow_code=True, or SPARKML_ALLOW_CODE=1."
        )
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _is_only_our_loader(folder: Path) -> bool:
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    if [path.name for path in files] != ["sparkml_h2o_mojo.py"]:
        return False
    from sparkml_lifecycle.flavors import h2o

    return bool(h2o.is_our_loader(files[0].read_bytes()))


class PyFuncModel:
    """A loaded model of any framework with one ``predict``.

    Attributes
    ----------
    manifest : Manifest
        The content of its ``MLmodel``.
    flavor : Flavor
    """

    def __init__(self, model: Any, flavor: Flavor, found: Manifest, directory: Path) -> None:
        self.manifest = found
        self.flavor = flavor
        self._model = model
        self._directory = directory
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
        numpy array, DataFrame or dict of arrays
            Rows with a null that the framework refuses answer NaN or None.

        Raises
        ------
        SchemaError
            If the columns do not fit.
        ScoringError
            If the model raises.
        """
        if self._signature.inputs is None and self._names is None and self.flavor.name == manifest.PYTHON_FUNCTION:
            return self._call(data, self._method(predict_fn), self._signature.with_params(params))
        table, left_out = self._prepare(data)
        method = self._method(predict_fn)
        known = self._signature.with_params(params)
        if left_out is None:
            return self._call(self._to_form(table), method, known)
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
            table = batch.conform(table, self._signature)
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
            inside = self.unwrap()
            model = f"{type(inside).__module__}.{type(inside).__name__}"
            raise ScoringError(
                f"The {self.flavor.name} model {model} (run {self.manifest.run_id or 'none'}) raised {type(error).__name__} in {method}. "
                "Its message is left out because it may quote the data; the traceback above has the line."
            ) from _without_data(error)


def _without_data(error: BaseException) -> BaseException:
    """The same error without its text, which may quote rows."""
    bare = RuntimeError(f"{type(error).__name__} (text left out)")
    return bare.with_traceback(error.__traceback__)


def _probe_row(table: Any, columns: Sequence[Column] | None, directory: Path) -> Any:
    """One harmless row: the input example's first if it fits, else zeros, empty strings and first categories."""
    import pyarrow as pa

    example = directory / EXAMPLE_FILE
    if example.is_file():
        try:
            stored = json.loads(example.read_text())
            import pandas as pd

            row = pd.DataFrame(stored["data"][:1], columns=stored["columns"])
            if columns is not None:
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
    """Answers with nulls as an array (NaN or None) for one column, a dict of arrays for several."""
    arrays = {name: table.column(name).to_pandas().to_numpy() for name in table.column_names}
    if list(arrays) == ["prediction"]:
        return arrays["prediction"]
    if list(arrays) == [str(i) for i in range(len(arrays))]:
        import numpy as np

        return np.column_stack(list(arrays.values()))
    return arrays
