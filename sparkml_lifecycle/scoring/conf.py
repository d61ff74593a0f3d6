"""The conf file of a batch scoring job, checked when it is read."""

import copy
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from sparkml_lifecycle import uris
from sparkml_lifecycle.errors import ConfigError, InvalidInput, did_you_mean, reason


def _text(value: Any) -> Any:
    """YAML reads an unquoted 2026-11-23 as a date and 7 as a number; a batch's name is its text."""
    return str(value) if isinstance(value, (date, int)) and not isinstance(value, bool) else value


def _texts(values: Any) -> Any:
    """YAML reads an unquoted true as a truth and 7 as a number; an option of Spark's reader is its text."""
    if not isinstance(values, dict):
        return values
    return {
        key: str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int) else value
        for key, value in values.items()
    }


def _null(value: Any) -> Any:
    """YAML reads an unquoted null as nothing."""
    return "null" if value is None else value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


_Some = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
BY_FILE = ("parquet", "csv", "json", "orc")
BY_PATH = ("delta", *BY_FILE)


class Source(_Strict):
    """What is scored.

    Attributes
    ----------
    format : {"delta", "parquet", "csv", "json", "orc", "table", "sql"}
    path : str
        A path or storage URI; for ``table`` the table's name, for ``sql`` the query.
    options : mapping
        Options of Spark's reader.
    """

    path: _Some
    format: Literal["delta", "parquet", "csv", "json", "orc", "table", "sql"] = "delta"
    options: Annotated[dict[str, str], BeforeValidator(_texts)] = Field(default_factory=dict)


class Target(_Strict):
    """Where the predictions go: a Delta table by path.

    Attributes
    ----------
    path : str
    partition_by : list of str
        Columns of the target by whose values its files lie apart. ``append`` takes those of the table where none are given.
    merge_schema : bool
        A job that adds rows may add columns to the table and leave out some that it has, which are null then.
    """

    path: _Some
    partition_by: list[str] = Field(default_factory=list)
    merge_schema: bool = False


class JobConf(_Strict):
    """One batch scoring job; every key of the conf file is an attribute.

    Attributes
    ----------
    model : str
        The model's URI.
    source, target : Source, Target
    job : str
        The job's name, recorded with its run.
    mode : {"incremental", "overwrite", "append"}
        ``incremental`` scores what the source has gained since the job last read it, the first time everything; ``overwrite``
        replaces the target in one commit; ``append`` adds the rows once per ``batch`` name.
    engine : {"auto", "direct", "dataframe", "column"}
        Who reads and writes; ``auto`` takes the fastest that can do the job, and the report says why not a faster one.
    evaluator : {"auto", "fast", "native"}
        What scores the model: ``native`` is its framework; ``fast`` an evaluator that gives the same answers and was tried against
        it; ``auto`` the fast one where there is one, and the report says why not.
    batch : str or None
        The batch's name; needed by ``append``.
    keep : list of str or None
        Source columns to keep beside the prediction; all of them where it is not given.
    where : str or None
        A SQL condition on the source's rows.
    output : str
        The name of the prediction column.
    prefix : str
        Put before the names of the prediction and its stamps, where they clash with the source's.
    result_type : str or None
        The prediction's Spark type; from the model's signature where it is not given.
    predict_fn : str or None
        The framework's method, such as ``predict_proba``.
    on_error : {"fail", "null"}
        What is done where the model raises: ``fail`` commits nothing; ``null`` answers null and writes the reason into a column
        ``error`` (with the prefix). A model that cannot be loaded, columns that do not fit and a wrong number of answers always
        fail.
    max_errors : int
        Rows with an error that ``on_error: null`` puts up with; more stop the job.
    params : mapping
        Parameters of the model's signature.
    redo : bool
        An answer where a job has stopped: score the whole source again in place of what the target holds; with ``append``, write
        the batch again.
    accept : bool
        The other answer: leave what is there and go on with what is new.
    adopt : str or None
        Another job of this target, from whose rows an ``incremental`` job goes on.
    alongside : bool
        Write rows beside another job's rows of the same source.
    replace_all : bool
        ``overwrite`` may erase rows that the job did not write.
    tracking_uri : str or None
        The lake in which the job is recorded.
    allow_code : bool or None
        Consent to code out of the model directory.
    spark : mapping
        Settings of the Spark session.
    """

    model: _Some
    source: Source
    target: Target
    job: Annotated[str, Field(pattern=r"^[\w.-]{1,100}$")] = "default"
    mode: Literal["incremental", "overwrite", "append"] = "incremental"
    engine: Literal["auto", "direct", "dataframe", "column"] = "auto"
    evaluator: Literal["auto", "fast", "native"] = "auto"
    batch: Annotated[str | None, BeforeValidator(_text)] = None
    keep: list[str] | None = None
    where: str | None = None
    output: _Some = "prediction"
    prefix: str = ""
    result_type: str | None = None
    predict_fn: str | None = None
    on_error: Annotated[Literal["fail", "null"], BeforeValidator(_null)] = "fail"
    max_errors: Annotated[int, Field(ge=0)] = 1000
    params: dict[str, Any] = Field(default_factory=dict)
    redo: bool = False
    accept: bool = False
    adopt: str | None = None
    alongside: bool = False
    replace_all: bool = False
    tracking_uri: str | None = None
    allow_code: bool | None = None
    spark: dict[str, str | int | float | bool] = Field(default_factory=dict)


def read_conf(path: str | Path, settings: list[str] | None = None) -> JobConf:
    """Read and check a conf file; ``settings`` are ``key=value`` texts that win over it (``source.path=/data``).

    Raises
    ------
    ConfigError
        For a file that cannot be read, an unknown key or a wrong value: the message names key, value and what is allowed.
    """
    return check(read_content(path), str(path), settings or ())


def read_content(path: str | Path) -> dict[str, Any]:
    """The keys and values of a conf file, not checked yet.

    Raises
    ------
    ConfigError
        If the file cannot be read.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"The conf file {str(path)!r} is not UTF-8: byte {error.start} is no character.") from error
    except OSError as error:
        raise ConfigError(f"Cannot read the conf file {str(path)!r}: {reason(error)}.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"The conf file {str(path)!r} is not valid YAML: {reason(error)}.") from error
    if not isinstance(content, dict):
        raise ConfigError(f"The conf file {str(path)!r} must hold keys and values, found {type(content).__name__}.")
    return content


def check(content: dict[str, Any], where: str = "the conf", settings: Sequence[str] = ()) -> JobConf:
    """A checked conf from a dictionary, over which ``settings`` win.

    Raises
    ------
    ConfigError
        As :func:`read_conf`.
    """
    content = copy.deepcopy(content)
    for setting in settings:
        _override(content, setting)
    try:
        conf = JobConf.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"In {where}: " + "; ".join(_explain(problem) for problem in error.errors())) from None
    if conf.mode == "append" and not conf.batch:
        raise ConfigError(
            f"In {where}: mode 'append' needs a batch name, under which its rows are written once: batch: '2026-11-23'."
        )
    if conf.mode != "append" and conf.batch:
        raise ConfigError(f"In {where}: 'batch' belongs to mode 'append'; mode is {conf.mode!r}.")
    for name in ("adopt", "alongside"):
        if getattr(conf, name) and conf.mode != "incremental":
            raise ConfigError(f"In {where}: {name!r} belongs to mode 'incremental'; mode is {conf.mode!r}.")
    if conf.redo and conf.accept:
        raise ConfigError(f"In {where}: 'redo' scores everything again and 'accept' does not; choose one.")
    if conf.replace_all and conf.mode == "append":
        raise ConfigError(
            f"In {where}: 'replace_all' belongs to mode 'overwrite' or redo; mode 'append' replaces nothing."
        )
    if conf.mode == "overwrite" and conf.target.merge_schema:
        raise ConfigError(
            f"In {where}: 'target.merge_schema' belongs to the modes that add rows; 'overwrite' makes the table anew."
        )
    if conf.on_error == "fail" and "max_errors" in conf.model_fields_set:
        raise ConfigError(f"In {where}: 'max_errors' belongs to on_error 'null'; on_error is 'fail'.")
    _check_places(conf, where)
    return conf


def _check_places(conf: JobConf, where: str) -> None:
    try:
        target = uris.real(conf.target.path)
        source = uris.real(conf.source.path) if conf.source.format in BY_PATH else None
    except InvalidInput as error:
        raise ConfigError(f"In {where}: {error}") from None
    if source is None or not (uris.is_within(target, source) or uris.is_within(source, target)):
        return
    lies = (
        "is the source"
        if target == source
        else "lies in the source"
        if len(target) > len(source)
        else "holds the source"
    )
    raise ConfigError(
        f"In {where}: 'target.path' {conf.target.path!r} {lies} ({conf.source.path!r}): the job would write over what it "
        "reads, or a vacuum of one remove the other's files. Choose a directory of its own."
    )


def _override(content: dict[str, Any], setting: str) -> None:
    key, equals, value = setting.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {setting!r}: the form is KEY=VALUE, for example --set model=runs:/<run_id>/model.")
    *parents, last = key.split(".")
    for parent in parents:
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise ConfigError(f"--set {setting!r}: {parent!r} holds a value, not further keys.")
    try:
        content[last] = yaml.safe_load(value) if value else ""
    except yaml.YAMLError as error:
        raise ConfigError(
            f"--set {setting!r}: the value is not valid YAML: {reason(error)}. Quote it: {key}='\"…\"'."
        ) from error


def _explain(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        owner = (
            {"source": Source, "target": Target}.get(str(problem["loc"][0]), JobConf)
            if len(problem["loc"]) > 1
            else JobConf
        )
        known = list(vars(owner)["__pydantic_fields__"])
        return f"unknown key {key!r}. Allowed: {', '.join(known)}.{did_you_mean(str(problem['loc'][-1]), known)}"
    if problem["type"] == "missing":
        return f"the key {key!r} is missing"
    if problem["type"] == "string_too_short":
        return f"{key!r} is empty"
    return f"{key!r} is {problem['input']!r}: {problem['msg'][:1].lower()}{problem['msg'][1:]}"
