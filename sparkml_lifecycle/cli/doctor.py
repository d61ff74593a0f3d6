"""``sparkml doctor``: what this machine has, what is missing, and the line that installs it."""

import re
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer

from sparkml_lifecycle.flavors import FLAVORS

_JAVA = "apt-get install openjdk-17-jre-headless (or any JRE from 17 on)"


def doctor() -> None:
    """Say what is installed and what is missing; exit code 1 if Spark scoring cannot work."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="sparkml doctor", title_justify="left")
    for column in ("part", "found", "to install"):
        table.add_column(column)
    java = java_version()
    missing = java is None or java < 17
    table.add_row("Java", str(java or "missing"), _JAVA if missing else "")
    for name, extra, needed in _parts():
        found = _version(name)
        missing = missing or (found is None and needed)
        table.add_row(name, found or "missing", "" if found else rf"pip install 'sparkml-lifecycle\[{extra}]'")
    jars = sorted(Path.home().glob(".ivy2*/jars/io.delta_delta-spark_*.jar"))
    table.add_row(
        "Delta jars",
        jars[-1].stem.rpartition("-")[2] if jars else "not yet",
        "" if jars else "the first Spark session fetches them",
    )
    Console().print(table)
    if missing:
        raise typer.Exit(1)


def java_version() -> int | None:
    """The major version of the Java on the path, or None."""
    if shutil.which("java") is None:
        return None
    found = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    match = re.search(r'version "(\d+)', found)
    return int(match[1]) if match else None


def _parts() -> list[tuple[str, str, bool]]:
    core = [
        ("pyspark", "spark", True),
        ("delta-spark", "spark", True),
        ("deltalake", "spark", True),
        ("pyarrow", "spark", True),
    ]
    return core + [(entry.distribution, entry.extra, False) for entry in FLAVORS.values()] + [("h2o", "h2o", False)]


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
