"""Brings a model directory to the executors, by its content digest."""

import atexit
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from sparkml_lifecycle.model.digest import digest as digest_of
from sparkml_lifecycle.scoring.worker import ModelReference
from sparkml_lifecycle.settings import Settings

_archives: dict[str, Path] = {}


def ship(spark: Any, directory: Path, allow_code: bool, digest: str | None = None) -> ModelReference:
    """Make a model directory of the driver readable for the workers of a session.

    On a local master workers read the driver's directory. Elsewhere it travels as one archive named by its digest, which
    each executor fetches once; Spark Connect uploads it to the session. ``digest`` is the directory's, where it is known.
    """
    digest = digest or digest_of(directory)
    size = Settings.load().model_cache_size
    if not _is_remote() and is_local(spark):
        return ModelReference(digest, str(directory), False, allow_code, size)
    name = f"sparkml-{digest[:32]}"
    source = f"{_archive(directory, name)}#{name}"
    if _is_remote():
        _upload(spark, source, name)
    else:
        spark.sparkContext.addArchive(source)
    return ModelReference(digest, name, True, allow_code, size)


def differing(spark: Any, reference: ModelReference) -> set[str]:
    """Packages of which some worker of a cluster has another version than the model was saved with."""

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from sparkml_lifecycle.scoring.worker import model_of

        for _ in batches:
            yield pa.RecordBatch.from_arrays(
                [pa.array(model_of(reference).differing_versions, pa.string())], ["differs"]
            )

    tasks = int(spark.sparkContext.defaultParallelism)
    return {row["differs"] for row in spark.range(0, tasks, 1, tasks).mapInArrow(work, "differs string").collect()}


def is_local(spark: Any) -> bool:
    """Whether tasks run in the driver's own process on this machine."""
    master: str = spark.conf.get("spark.master", "")
    return master.startswith("local") and not master.startswith("local-cluster")


def _is_remote() -> bool:
    from pyspark.sql.utils import is_remote

    return bool(is_remote())


def _archive(directory: Path, name: str) -> Path:
    if name not in _archives:
        folder = Path(tempfile.mkdtemp(prefix="sparkml-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        target = folder / f"{name}.zip"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
            for path in sorted(p for p in directory.rglob("*") if p.is_file()):
                archive.write(path, path.relative_to(directory).as_posix())
        _archives[name] = target
    return _archives[name]


_uploaded: set[tuple[str, str]] = set()


def _upload(spark: Any, source: str, name: str) -> None:
    key = (str(getattr(spark, "session_id", id(spark))), name)
    if key not in _uploaded:
        spark.addArtifacts(source, archive=True)
        _uploaded.add(key)
