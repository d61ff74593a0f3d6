"""The Spark session, in one place: Delta, this interpreter in the workers, UTC, Unix sockets, quiet."""

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparkml_lifecycle.errors import MissingLibrary

_JAVA = "Java 17 or newer is needed: install a JRE (Debian, Ubuntu: apt-get install openjdk-17-jre-headless) or set JAVA_HOME."
# A Unix socket's path holds about 100 characters, and Spark adds some 40 to the directory's
_LONGEST_SOCKET_DIRECTORY = 64
_LOG_FILE = Path(__file__).with_name("log4j2.properties")


def get_spark(app_name: str = "sparkml", master: str | None = None, conf: Mapping[str, str] | None = None) -> Any:
    """A Spark session with Delta; the active one if there is one.

    Parameters
    ----------
    app_name : str
    master : str, optional
        Spark's master URL. Under ``spark-submit`` its own master counts; else ``local[*]``.
    conf : mapping, optional
        Settings that win over those of :func:`settings`.

    Raises
    ------
    MissingLibrary
        If Java, pyspark or delta-spark is missing, with the line that installs it.
    """
    check_installed()
    from pyspark.sql import SparkSession

    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    builder = SparkSession.builder.appName(app_name)
    if not submitted:
        builder = builder.master(master or "local[*]")
    for key, value in {**settings(local=not submitted and (master or "local").startswith("local")), **(conf or {})}.items():
        builder = builder.config(key, value)
    if not submitted:
        from delta import configure_spark_with_delta_pip

        _set_environment(master)
        builder = configure_spark_with_delta_pip(builder)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def _set_environment(master: str | None) -> None:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    if (master or "local").startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")


def settings(*, local: bool = True) -> dict[str, str]:
    """The settings that every session of this package has.

    Small Arrow batches and a columnar input of 4,096 rows cost half of a UDF's speed; TCP between JVM and worker costs
    40 ms a task; Delta computes a snapshot in 50 tasks where two do.
    """
    cores = os.cpu_count() or 2
    wanted = {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
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
            "spark.default.parallelism": str(max(cores, 2)),
        }
    if local and cores <= 16:
        wanted["spark.databricks.delta.snapshotPartitions"] = "2"
    return wanted


def submit_arguments(master: str = "local[*]") -> list[str]:
    """What ``spark-submit`` needs before the script: master, Delta's package and the settings above."""
    check_installed()
    arguments = ["--master", master, "--packages", delta_package()]
    for key, value in settings(local=master.startswith("local")).items():
        arguments += ["--conf", f"{key}={value}"]
    return arguments


def delta_package() -> str:
    """The Maven coordinate of the Delta jars that fit the installed pyspark."""
    from importlib.metadata import version

    spark = ".".join(version("pyspark").split(".")[:2])
    return f"io.delta:delta-spark_{spark}_2.13:{version('delta-spark')}"


def check_installed() -> None:
    """Raise :class:`MissingLibrary` if Java, pyspark or delta-spark is missing."""
    home = os.environ.get("JAVA_HOME")
    if not (home and (Path(home) / "bin" / "java").exists()) and shutil.which("java") is None:
        raise MissingLibrary(_JAVA)
    for module, distribution in (("pyspark", "pyspark"), ("delta", "delta-spark")):
        if importlib.util.find_spec(module) is None:
            raise MissingLibrary(f"{distribution} is not installed: pip install 'sparkml-lifecycle[spark]'.")
