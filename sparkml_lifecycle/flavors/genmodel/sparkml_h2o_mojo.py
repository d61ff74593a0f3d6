"""Scores an H2O MOJO in this process: no H2O server, no CSV, no subprocess.

This one file is used by sparkml_lifecycle and, copied into a model directory's ``code/``, by a bare
``mlflow.pyfunc.load_model``; so it imports nothing of sparkml_lifecycle. Beside the model (``model.zip``) lie H2O's own
``h2o-genmodel.jar`` and ``sparkml-scorer.jar``, a loop over the rows. Needs jpype1, numpy, pandas, pyarrow and a JRE.
"""

import hashlib
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jpype
import jpype.nio
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MODEL, GENMODEL, SCORER = "model.zip", "h2o-genmodel.jar", "sparkml-scorer.jar"
_BUFFER = 1 << 19  # doubles in a buffer that Python and Java share: 4 MB
_BOOLEANS = (("False", "True"), ("false", "true"), ("FALSE", "TRUE"), ("0", "1"))
# What H2O reads a missing string of a DataFrame as: None in a column of objects, NaN in one of categories
_MISSING = ("", "nan")

_lock = threading.Lock()
_classes: dict[str, Any] = {}
_forked = False


class ColumnError(ValueError):
    """A column is missing or has a type that the model cannot take."""


class JavaMissing(ImportError):
    """There is no Java here."""


class MojoError(RuntimeError):
    """H2O's genmodel could not read the model or score with it; unlike Java's own exception this one pickles."""


def _after_fork() -> None:
    global _forked
    _forked = _forked or jpype.isJVMStarted()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class MojoScorer:
    """One model, ready to score batches.

    Holds one thread: the JVM's loop, with Python's lock released. Calls from several threads take turns.

    Parameters
    ----------
    directory : path
        Where ``model.zip`` and ``h2o-genmodel.jar`` lie.
    scorer_jar : path, optional
        The small jar, where it is not the one in ``directory``.

    Attributes
    ----------
    features : list of str
        The columns to give, in the model's order; the offset column, if there is one, is last.
    domains : dict
        Levels by categorical column.
    outputs : list of str
        The columns of the answer, named as H2O names them.
    labels : list of str or None
        The levels of the first output where it is a class.
    category, algorithm, version, response : str
        H2O's model category, algorithm and version, and the response column (None for an unsupervised model).

    Raises
    ------
    JavaMissing
        If no Java is found.
    MojoError
        If genmodel cannot read the model.
    RuntimeError
        In a forked child of a process whose JVM runs.
    """

    def __init__(self, directory: str | os.PathLike[str], scorer_jar: str | os.PathLike[str] | None = None) -> None:
        path = Path(directory)
        scorer = _scorer_class(path / GENMODEL, Path(scorer_jar or path / SCORER))
        try:
            self._java = java = scorer(str(path / MODEL))
        except jpype.JException as error:
            raise MojoError(f"H2O's genmodel cannot read {MODEL}: {error}") from None
        self.category, self.algorithm, self.version = str(java.category()), str(java.algorithm()), str(java.version())
        self.response: str | None = _text(java.response())
        self.offset: str | None = _text(java.offset())
        names = _texts(java.features()) or []
        domains = {name: _texts(java.domain(i)) for i, name in enumerate(names)}
        self.features = [*names, *([self.offset] if self.offset else [])]
        self.domains: dict[str, list[str]] = {name: levels for name, levels in domains.items() if levels is not None}
        self._levels = {name: pa.array(levels, pa.string()) for name, levels in self.domains.items()}
        self.outputs = _texts(java.outputs()) or []
        self.labels: list[str] | None = _texts(java.labels(0)) if self.outputs else None
        if java.calibrated():
            self.outputs += [f"cal_{name}" for name in self.outputs[1:]]
        # made once: Java's collector, which runs rarely, decides when an array that was shared with it is freed
        self._in, self._shared_in = _shared(max(_BUFFER, len(self.features)))
        self._out, self._shared_out = _shared(max(_BUFFER, len(self.outputs)))
        self._lock = threading.Lock()

    @property
    def probabilities(self) -> list[str]:
        """The outputs that are probabilities of classes."""
        return self.outputs[1:] if self.labels is not None else []

    def score(self, table: pa.Table) -> dict[str, Any]:
        """What H2O's own ``predict`` answers.

        Parameters
        ----------
        table : pyarrow.Table
            The columns of :attr:`features`, in any order, others beside them. A level that was not seen in training
            counts as missing. A missing value is the level ``""`` or ``"nan"`` where the model knows that level,
            because that is what ``H2OFrame`` makes of missing strings and categories in a pandas DataFrame.

        Returns
        -------
        dict
            By name of :attr:`outputs`: float64 arrays; the labels are an Arrow array of strings.

        Raises
        ------
        ColumnError
            For a missing column, or one whose type the model cannot take.
        MojoError
            If genmodel fails.
        """
        missing = [name for name in self.features if name not in table.column_names]
        if missing:
            raise ColumnError(
                f"The model needs the columns {', '.join(missing)}; found: {', '.join(table.column_names)}."
            )
        if _forked:
            raise _fork_error()
        table = table.select(self.features)
        answers = np.empty((len(self.outputs), table.num_rows))
        step = _BUFFER // max(len(self.features), len(self.outputs), 1) or 1
        for start in range(0, table.num_rows, step):
            rows = table.slice(start, step)
            with self._lock:
                self._score(rows, answers[:, start : start + rows.num_rows])
        named: dict[str, Any] = dict(zip(self.outputs, answers, strict=True))
        if self.labels is not None:
            codes = answers[0]
            known = np.where(np.isnan(codes), 0, codes).astype(np.int32)
            named[self.outputs[0]] = pa.array(self.labels).take(pa.array(known, mask=np.isnan(codes)))
        return named

    def _score(self, table: pa.Table, answers: np.ndarray) -> None:
        rows = table.num_rows
        columns = self._in[: len(self.features) * rows].reshape(len(self.features), rows)
        for name, column in zip(self.features, columns, strict=True):
            levels, at = self._levels.get(name), 0
            for chunk in table.column(name).chunks:
                column[at : at + len(chunk)] = _numbers(chunk, name) if levels is None else _codes(chunk, name, levels)
                at += len(chunk)
        try:
            self._java.score(self._shared_in, self._shared_out, rows)
        except jpype.JException as error:
            raise MojoError(
                f"H2O's genmodel failed to score a {self.algorithm} model: {error.getClass().getName()}"
            ) from None
        answers[:] = self._out[: len(self.outputs) * rows].reshape(len(self.outputs), rows)


def _shared(size: int) -> tuple[np.ndarray, Any]:
    array = np.empty(size)
    buffer = jpype.nio.convertToDirectBuffer(array.view(np.uint8))
    return array, buffer.order(jpype.java.nio.ByteOrder.nativeOrder()).asDoubleBuffer()


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _texts(values: Any) -> list[str] | None:
    return None if values is None else [str(value) for value in values]


def _numbers(values: pa.Array, name: str) -> np.ndarray:
    """A numeric column as H2O holds it: doubles, missing is NaN, times are milliseconds since 1970 in UTC."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _numbers(values.dictionary_decode(), name)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        values = values.cast(pa.timestamp("ms", getattr(kind, "tz", None)), safe=False).cast(pa.int64())
    elif pa.types.is_boolean(kind):
        values = values.cast(pa.int8())
    elif not (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind)
    ):
        raise ColumnError(f"The model takes numbers in the column {name!r}, found {kind}.")
    return values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def _codes(values: pa.Array, name: str, levels: pa.Array) -> np.ndarray:
    """A categorical column as H2O holds it: the index of the level; NaN where it is missing or was not in training."""
    if pa.types.is_string_view(values.type):
        values = values.cast(pa.string())
    if _is_text(values.type):
        return _lookup(values, levels)
    if pa.types.is_nested(values.type):
        raise _no_category(values.type, name)
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    codes = _lookup(
        pa.concat_arrays([(texts := _levels_text(values.dictionary, name, levels)), pa.nulls(1, texts.type)]), levels
    )
    return codes[values.indices.cast(pa.int64()).fill_null(len(codes) - 1).to_numpy()]


def _lookup(texts: pa.Array, levels: pa.Array) -> np.ndarray:
    missing = next((level for level in _MISSING if pc.index(levels, level).as_py() >= 0), None)
    if missing is not None:
        texts = texts.fill_null(missing)
    return pc.index_in(texts, value_set=levels.cast(texts.type)).cast(pa.float64()).to_numpy(zero_copy_only=False)


def _levels_text(values: pa.Array, name: str, levels: pa.Array) -> pa.Array:
    """Values as H2O spells them as levels: whole numbers without a point, booleans as in the model's own levels."""
    kind = values.type
    if _is_text(kind):
        return values
    if pa.types.is_boolean(kind):
        known = set(levels.to_pylist())
        no, yes = next((pair for pair in _BOOLEANS if known & set(pair)), _BOOLEANS[0])
        return pc.if_else(values, yes, no)
    if pa.types.is_floating(kind):
        values = pc.if_else(pc.is_nan(values), None, values)
        whole = pc.equal(values, pc.trunc(values))
        return pc.if_else(
            whole,
            pc.if_else(whole, values, None).cast(pa.int64(), safe=False).cast(pa.string()),
            values.cast(pa.string()),
        )
    if pa.types.is_integer(kind) or pa.types.is_null(kind):
        return values.cast(pa.string())
    raise _no_category(kind, name)


def _no_category(kind: pa.DataType, name: str) -> ColumnError:
    return ColumnError(f"The model takes categories in the column {name!r}, found {kind}.")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _scorer_class(genmodel: Path, scorer: Path) -> Any:
    """The Java class, in a class loader of its own per pair of jars: models of several H2O versions live together."""
    for jar in (genmodel, scorer):
        if not jar.is_file():
            raise FileNotFoundError(f"{jar.name} is not in {str(jar.parent)!r}.")
    with _lock:
        if _forked:
            raise _fork_error()
        _start_jvm()
        digest = ":".join(hashlib.sha256(jar.read_bytes()).hexdigest() for jar in (genmodel, scorer))
        if digest not in _classes:
            urls = jpype.JArray(jpype.JClass("java.net.URL"))(
                [jpype.java.io.File(str(jar.resolve())).toURI().toURL() for jar in (genmodel, scorer)]
            )
            loader = jpype.JClass("java.net.URLClassLoader")(urls, jpype.java.lang.ClassLoader.getPlatformClassLoader())
            _classes[digest] = jpype.JClass("sparkml.BatchScorer", loader=loader)
        return _classes[digest]


def _fork_error() -> RuntimeError:
    return RuntimeError(
        "This process was forked from one in which Java runs, and Java does not survive a fork. "
        "Load H2O models after forking, or start processes with the 'spawn' method."
    )


def _start_jvm() -> None:
    if jpype.isJVMStarted():
        return
    heap = os.environ.get("SPARKML_H2O_HEAP", "2g")
    # -Xrs and interrupt=False leave Ctrl-C to Python
    options = [f"-Xmx{heap}", "-XX:+UseSerialGC", "-Xrs", "-Djava.awt.headless=true"]
    jpype.startJVM(*options, jvmpath=_find_jvm(), classpath=[], convertStrings=False, interrupt=False)


def _find_jvm() -> str:
    """``libjvm`` of JAVA_HOME, of the ``java`` on the PATH, or of a usual place."""
    java = shutil.which("java")
    homes = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    homes += [Path(java).resolve().parent.parent] if java else []
    for home in homes:
        for pattern in (
            "lib/server/libjvm.*",
            "bin/server/jvm.dll",
            "jre/lib/*/server/libjvm.*",
            "lib/*/server/libjvm.*",
        ):
            for found in sorted(home.glob(pattern)):
                if found.suffix in (".so", ".dylib", ".dll"):
                    return str(found)
    try:
        return str(jpype.getDefaultJVMPath())
    except jpype.JVMNotFoundException:
        raise JavaMissing(
            "Scoring an H2O model needs Java, which was not found: install a JRE (Debian, Ubuntu: "
            "apt-get install openjdk-17-jre-headless; macOS: brew install openjdk@17) or point JAVA_HOME at one."
        ) from None


class _PyFunc:
    """What MLflow's ``pyfunc.load_model`` wraps."""

    def __init__(self, scorer: MojoScorer) -> None:
        self.scorer = scorer

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """H2O's own columns as a DataFrame."""
        import pandas as pd

        table = model_input if isinstance(model_input, pa.Table) else _table(model_input, self.scorer.features)
        answers = self.scorer.score(table)
        return pd.DataFrame(
            {name: values.to_pandas() if isinstance(values, pa.Array) else values for name, values in answers.items()}
        )


def _table(rows: Any, features: Sequence[str]) -> pa.Table:
    import pandas as pd

    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows)
    return pa.Table.from_pandas(frame[[name for name in frame.columns if name in features]], preserve_index=False)


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> _PyFunc:
    return _PyFunc(MojoScorer(path))
