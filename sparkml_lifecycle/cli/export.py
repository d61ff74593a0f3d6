"""Runs as a file: one wide table, CSV or Parquet, written beside and renamed, of more runs than memory holds."""

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sparkml_lifecycle.errors import InvalidInput, LifecycleError, NotFound, StorageError

ENDINGS = (".csv", ".parquet")
_KINDS = ("metrics.", "params.", "tags.")


def check_target(target: Path) -> None:
    """Refuse a file that cannot be written, before anything is read.

    Raises
    ------
    InvalidInput
        If its ending is not known or it is a directory.
    NotFound
        If there is no directory to put it into.
    """
    if target.suffix.lower() not in ENDINGS:
        raise InvalidInput(f"Runs are exported to a file that ends with {' or '.join(ENDINGS)}, found {str(target)!r}.")
    if target.is_dir():
        raise InvalidInput(f"{str(target)!r} is a directory; name a file.")
    if not target.parent.is_dir():
        raise NotFound(f"There is no directory {str(target.parent)!r} to write {target.name!r} to.")


def write_table(pages: Iterable[Any], target: Path, in_order: bool) -> int:
    """Write pages of runs, Arrow tables whose columns may differ, as one table; a file that is there is replaced.

    Parameters
    ----------
    pages : iterable of pyarrow.Table
    target : Path
        CSV holds nothing for a missing value, ``""`` for an empty text, and ``nan`` and ``inf`` where a metric is so.
    in_order : bool
        Whether columns keep the order in which they came; else they are sorted within metrics, params and tags.

    Returns
    -------
    int
        How many runs.
    """
    check_target(target)
    try:
        # which columns there are is known after the last page, so the pages wait beside the target
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as beside:
            waiting = _put_aside(pages, Path(beside))
            written = Path(beside) / target.name
            count = _join(waiting, written, in_order)
            os.replace(written, target)
            return count
    except OSError as error:
        if isinstance(error, LifecycleError):
            raise
        raise StorageError(f"Cannot write {str(target)!r}: {error.strerror or error}.") from None


def _put_aside(pages: Iterable[Any], directory: Path) -> list[Path]:
    from pyarrow import feather

    paths: list[Path] = []
    for page in pages:
        paths.append(directory / f"{len(paths)}.arrow")
        feather.write_feather(page, str(paths[-1]), compression="uncompressed")
    return paths


def _join(paths: Sequence[Path], target: Path, in_order: bool) -> int:
    import pyarrow as pa
    from pyarrow import csv, feather, parquet

    pages = [feather.read_table(str(path), memory_map=True) for path in paths]
    schema = _sorted(pa.unify_schemas([page.schema for page in pages]), in_order)
    kind = csv.CSVWriter if target.suffix.lower() == ".csv" else parquet.ParquetWriter
    with kind(str(target), schema) as writer:
        for page in pages:
            columns = [
                page[field.name] if field.name in page.column_names else pa.nulls(len(page), field.type)
                for field in schema
            ]
            writer.write_table(pa.table(columns, schema=schema))
    return sum(map(len, pages))


def _sorted(schema: Any, in_order: bool) -> Any:
    import pyarrow as pa

    def rank(field: Any) -> tuple[int, str]:
        kind = next((i for i, start in enumerate(_KINDS, 1) if field.name.startswith(start)), 0)
        return kind, "" if in_order or not kind else field.name

    return pa.schema(sorted(schema, key=rank))
