"""The Spark session, in one place: Delta, this interpreter in the workers, UTC, Unix sockets, quiet."""

import importlib.util
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sparkml_lifecycle.errors import MissingLibrary

_OLDEST_JAVA = 17
_INSTALL_JAVA = "install a JRE (Debian, Ubuntu: apt-get install openjdk-17-jre-headless; macOS: brew install openjdk@17) or set JAVA_HOME."
# A Unix socket's path holds about 100 characters, and Spark adds some 40 to the directory's
_LONGEST_SOCKET_DIRECTORY = 64
_LOG_FILE = Path(__file__).with_name("log4j2.properties")
_DELTA_EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"


def get_spark(
    app_name: str = "sparkml",
    master: str | None = None,
    conf: Mapping[str, str] | None = None,
    *,
    is_program: bool = False,
) -> Any:
    """A Spark session with Delta; the active one if there is one.

    The first session on a machine downloads Delta's jars (some 15 seconds); later ones take them from there.

    Parameters
    ----------
    app_name : str
    master : str, optional
        Spark's master URL; ``local[*]`` where it is not given. Under ``spark-submit`` its own master and ``--conf`` count.
    conf : mapping, optional
        Settings that win over those of :func:`settings`.
    is_program : bool
        Whether the session is a program's of its own, in whose main thread this is called: then Ctrl-C is a KeyboardInterrupt
        and nothing else, for the program to report.

    Returns
    -------
    pyspark.sql.SparkSession

    Raises
    ------
    MissingLibrary
        If Java, pyspark, delta-spark or (under ``spark-submit``) Delta's jars are missing, with the line that helps.
    """
    check_installed()
    from pyspark.errors import PySparkRuntimeError
    from pyspark.sql import SparkSession

    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    if is_program:
        logging.getLogger().addFilter(_not_by_py4j)
        logging.getLogger("py4j").setLevel(logging.CRITICAL + 1)
    try:
        session = (
            _submitted(app_name, conf or {}) if is_submitted() else _own(app_name, master or "local[*]", conf or {})
        )
    except PySparkRuntimeError as error:
        if "JAVA_GATEWAY_EXITED" not in str(error):
            raise
        raise MissingLibrary(
            f"Spark's Java process did not start (Java {java_version() or 'unknown'}): {_INSTALL_JAVA}"
        ) from error
    session.sparkContext.setLogLevel("ERROR")
    _quiet_query_loggers()
    if is_program:
        _raise_on_interrupt()
    return session


def _quiet_query_loggers() -> None:
    """Each AnalysisException is also printed with its Java stack, as JSON, before anybody can catch it; its message says it all."""
    from pyspark.logger import PySparkLogger

    for name in ("DataFrameQueryContextLogger", "SQLQueryContextLogger"):
        PySparkLogger.getLogger(name).setLevel(logging.CRITICAL + 1)


def _raise_on_interrupt() -> None:
    # pyspark's own handler first asks the JVM to cancel, which under spark-submit the same Ctrl-C has ended: the answer
    # is an error of py4j's in place of the interrupt
    def interrupted(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupted)


def _not_by_py4j(record: logging.LogRecord) -> bool:
    # it logs the call in which an interrupt came, with its traceback, partly through the root logger
    return "py4j" not in record.pathname


def _own(app_name: str, master: str, conf: Mapping[str, str]) -> Any:
    from delta import configure_spark_with_delta_pip
    from pyspark.sql import SparkSession

    local = master.startswith("local")
    _set_environment(local)
    wanted = {**settings(local=local), **conf}
    extra = [package for package in wanted.pop("spark.jars.packages", "").split(",") if package]
    jars = [] if extra else delta_jars()
    if jars:
        wanted["spark.jars"] = ",".join([*filter(None, [wanted.get("spark.jars")]), *jars])
    builder = SparkSession.builder.appName(app_name).master(master)
    for key, value in wanted.items():
        builder = builder.config(key, str(value))
    if jars:
        return builder.getOrCreate()
    session = configure_spark_with_delta_pip(builder, extra_packages=extra).getOrCreate()
    if not extra and "spark.jars" not in wanted:
        _remember_jars(session.sparkContext.getConf().get("spark.jars", ""))
    return session


def _submitted(app_name: str, conf: Mapping[str, str]) -> Any:
    from py4j.protocol import Py4JJavaError
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

    SparkContext._ensure_initialized()
    given = SparkConf()
    local = given.get("spark.master", "local[*]").startswith("local")
    _set_environment(local)
    try:
        SparkContext._jvm.Thread.currentThread().getContextClassLoader().loadClass(_DELTA_EXTENSION)
    except Py4JJavaError:
        raise MissingLibrary(
            f"Delta's jars are not on Spark's class path: spark-submit --packages {delta_package()} …"
        ) from None
    builder = SparkSession.builder.appName(app_name)
    for key, value in {**settings(local=local), **conf}.items():
        if key in conf or not given.contains(key):
            builder = builder.config(key, str(value))
    return builder.getOrCreate()


def is_submitted() -> bool:
    """Whether this process runs under ``spark-submit``, which has decided on master, packages and memory."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def _set_environment(local: bool) -> None:
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    if local:
        # on a cluster the interpreter may lie elsewhere; there spark.pyspark.python or the machine's python3 counts
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")


def settings(*, local: bool = True) -> dict[str, str]:
    """The settings that every session of this package has.

    Small Arrow batches and columnar input of 4,096 rows a batch cost half of a UDF's speed; TCP between the JVM and a
    worker costs 40 ms a task; Delta computes a snapshot in 50 tasks where two do.

    Parameters
    ----------
    local : bool
        Whether driver and workers share this machine: then its cores and interpreter count too.
    """
    cores = os.cpu_count() or 2
    wanted = {
        "spark.sql.extensions": _DELTA_EXTENSION,
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.session.timeZone": "UTC",
        "spark.python.unix.domain.socket.enabled": "true",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
        "spark.sql.execution.arrow.pythonUDF.columnarInput.enabled": "false",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={_LOG_FILE.as_uri()} -Duser.timezone=UTC",
        "spark.executor.extraJavaOptions": "-Duser.timezone=UTC",
    }
    if len(tempfile.gettempdir()) > _LONGEST_SOCKET_DIRECTORY:
        wanted["spark.python.unix.domain.socket.dir"] = "/tmp"
    if local:
        wanted |= {
            "spark.pyspark.python": sys.executable,
            "spark.ui.enabled": "false",
            "spark.sql.shuffle.partitions": str(max(cores, 2)),
        }
        if _is_installed():
            wanted["spark.python.daemon.module"] = "sparkml_lifecycle.scoring.daemon"
        if cores <= 16:
            wanted["spark.databricks.delta.snapshotPartitions"] = "2"
    return wanted


def _is_installed() -> bool:
    """Whether any process of this interpreter finds the package, not only one whose ``sys.path`` was changed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        version("sparkml-lifecycle")
    except PackageNotFoundError:
        return False
    return True


def submit_arguments(master: str = "local[*]") -> list[str]:
    """What ``spark-submit`` takes before the script: master, Delta and the settings of :func:`settings`.

    Examples
    --------
    >>> from sparkml_lifecycle.spark import submit_arguments
    >>> ["spark-submit", *submit_arguments(), "jobs/score_batch.py"][:3]  # doctest: +SKIP
    ['spark-submit', '--master', 'local[*]']
    """
    check_installed()
    jars = delta_jars()
    delta = ["--jars", ",".join(jars)] if jars else ["--packages", delta_package()]
    wanted = settings(local=master.startswith("local"))
    return [
        "--master",
        master,
        *delta,
        *(part for key, value in wanted.items() for part in ("--conf", f"{key}={value}")),
    ]


def delta_package() -> str:
    """The Maven coordinate of the Delta jars that fit the installed pyspark."""
    from importlib.metadata import version

    spark = ".".join(version("pyspark").split(".")[:2])
    return f"io.delta:delta-spark_{spark}_2.13:{version('delta-spark')}"


def delta_jars() -> list[str]:
    """The Delta jars that an earlier session on this machine has downloaded, as URIs; empty if there was none.

    With them a session need not ask Ivy, which takes a second, prints a hundred lines and may want the network.
    """
    try:
        jars = json.loads(_jar_record().read_text())
    except (OSError, ValueError):
        return []
    there = isinstance(jars, list) and all(Path(urlsplit(str(jar)).path).is_file() for jar in jars)
    return [str(jar) for jar in jars] if there else []


def fetch_delta_jars() -> None:
    """Download Delta's jars where this machine has none yet, in a process of its own, so that Ivy's report is not printed.

    Raises
    ------
    MissingLibrary
        If they cannot be downloaded, with the last lines of what was said.
    """
    if delta_jars():
        return
    program = f"from {__name__} import get_spark; get_spark('fetch', master='local[1]').stop()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-8:])
        raise MissingLibrary(f"Delta's jars ({delta_package()}) cannot be downloaded: {said}")


def _remember_jars(jars: str) -> None:
    found = [jar for jar in jars.split(",") if jar.startswith("file:")]
    if not any("delta-spark" in jar for jar in found):
        return
    record = _jar_record()
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        beside = record.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps(found))
        beside.replace(record)
    except OSError:
        # a read-only home: Ivy is asked again the next time
        return


def _jar_record() -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "sparkml" / f"{delta_package().replace(':', '_')}.json"


def check_installed() -> None:
    """Raise :class:`MissingLibrary` if Java, pyspark or delta-spark is missing; Java's version is not asked for here."""
    if java_command() is None:
        raise MissingLibrary(f"Java {_OLDEST_JAVA} or newer is needed: {_INSTALL_JAVA}")
    for module, distribution in (("pyspark", "pyspark"), ("delta", "delta-spark")):
        if importlib.util.find_spec(module) is None:
            raise MissingLibrary(f"{distribution} is not installed: pip install 'sparkml-lifecycle[spark]'.")


def java_command() -> str | None:
    """The ``java`` that Spark would start: that of ``JAVA_HOME``, else of the path; None if there is none."""
    home = os.environ.get("JAVA_HOME")
    return shutil.which(str(Path(home) / "bin" / "java")) if home else shutil.which("java")


def java_version() -> str | None:
    """Java's version such as ``17.0.15``; None if there is no Java or it does not answer."""
    command = java_command()
    if command is None:
        return None
    try:
        answer = subprocess.run([command, "-version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return next(_versions(answer.stderr + answer.stdout), None)


def java_is_new_enough(version: str) -> bool:
    """Whether Spark runs on this version of Java; ``1.8.0`` is Java 8."""
    parts = [int(part) for part in re.findall(r"\d+", version)]
    major = parts[1] if parts[0] == 1 and len(parts) > 1 else parts[0]
    return major >= _OLDEST_JAVA


def _versions(text: str) -> Iterator[str]:
    return (match.group(1) for match in re.finditer(r'version "([^"]+)"', text))


def delta_reads(df: Any) -> list[tuple[str, int] | None]:
    """Path and version of each Delta table that a DataFrame of classic Spark reads; None for what else it reads."""
    plan = getattr(df, "_jdf", None)
    if plan is None:
        return []
    leaves = plan.queryExecution().analyzed().collectLeaves()
    return [_delta_read(leaves.apply(i)) for i in range(leaves.size())]


def _delta_read(leaf: Any) -> tuple[str, int] | None:
    if leaf.getClass().getSimpleName() != "LogicalRelation":
        return None
    relation = leaf.relation()
    if "location" not in {method.getName() for method in relation.getClass().getMethods()}:
        return None
    location = relation.location()
    if not location.getClass().getName().startswith("org.apache.spark.sql.delta."):
        return None
    return location.path().toString().removeprefix("file:"), int(location.getSnapshot().version())
