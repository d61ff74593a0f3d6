"""Rows of a forked child go through a process of their own: delta-rs panics in a child once its parent has used it.

Runs as ``python -m sparkml_lifecycle.lake.forked``: one line of JSON and an Arrow stream on its standard input.
"""

import importlib
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from sparkml_lifecycle.errors import StorageError
from sparkml_lifecycle.lake.rows import Row, from_arrow, to_arrow
from sparkml_lifecycle.storage import Storage


def append_elsewhere(table: Storage, row_type: type[Row], new: Sequence[Any]) -> None:
    """Append rows from a forked child; some 0.5 s for each call.

    Raises
    ------
    StorageError
        If the other process failed. Its rows may still have been written.
    """
    import pyarrow as pa

    lake = table.uri.rpartition("/")[0]
    header = {
        "lake": lake,
        "options": dict(table.options),
        "module": row_type.__module__,
        "row_type": row_type.__qualname__,
    }
    sink = pa.BufferOutputStream()
    content = to_arrow(row_type, new)
    with pa.ipc.new_stream(sink, content.schema) as stream:
        stream.write_table(content)
    # credentials go by the pipe, never by the command line
    sent = json.dumps(header).encode() + b"\n" + sink.getvalue().to_pybytes()
    done = subprocess.run([sys.executable, "-m", __name__], input=sent, capture_output=True, check=False)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise StorageError(f"Cannot write to the table {table.uri!r} from a forked process: {last[0][:300]}")


def _main() -> None:
    import pyarrow as pa

    from sparkml_lifecycle.lake.lake import Lake

    header = json.loads(sys.stdin.buffer.readline())
    row_type = getattr(importlib.import_module(header["module"]), header["row_type"])
    with pa.ipc.open_stream(sys.stdin.buffer) as stream:
        new = from_arrow(row_type, stream.read_all())
    Lake(header["lake"], header["options"]).table(row_type).append(new)


if __name__ == "__main__":
    _main()
