"""Brings a model directory to the executors, by its content digest."""

import atexit
import json
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


def ship(
    spark: Any, directory: Path, allow_code: bool, digest: str | None = None, evaluator: str = "auto"
) -> ModelReference:
    """Make a model directory of the driver readable for the workers of a session.

    On a local master workers read the driver's directory. Elsewhere it travels as one archive named by its digest, which
    each executor fetches once; Spark Connect uploads it to the session. ``digest`` is the directory's, where it is known.
    """
    digest = digest or digest_of(directory)
    size = Settings.load().model_cache_size
    if not _is_remote() and is_local(spark):
        return ModelReference(digest, str(directory), False, allow_code, size, evaluator)
    name = f"sparkml-{digest[:32]}"
    source = f"{_archive(directory, name)}#{name}"
    if _is_remote():
        _upload(spark, source, name)
    else:
        spark.sparkContext.addArchive(source)
    return ModelReference(digest, name, True, allow_code, size, evaluator)


def asked_workers(spark: Any, reference: ModelReference) -> tuple[set[str], set[str]]:
    """What the workers of a cluster say: packages of which one has another version than the model was saved with, and the evaluators."""

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from sparkml_lifecycle.scoring.worker import model_of

        for _ in batches:
            model = model_of(reference)
            said = json.dumps([model.differing_versions, str(model.evaluator)])
            yield pa.RecordBatch.from_arrays([pa.array([said], pa.string())], ["said"])

    tasks = int(spark.sparkContext.defaultParallelism)
    rows = spark.range(0, tasks, 1, tasks).mapInArrow(work, "said string").collect()
    said = [json.loads(row["said"]) for row in rows]
    return {one for differs, _ in said for one in differs}, {evaluator for _, evaluator in said}


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
