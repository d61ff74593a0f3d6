"""A big file goes up and comes down through little memory: it is streamed."""

import json
import subprocess
import sys

import pytest

from tests.storage.conftest import Place

_MIB = 1024**2
_ALLOWED = 128 * _MIB
_TRANSFER = """
import json, resource, sys
from sparkml_lifecycle.storage import open_storage
place = json.load(sys.stdin)
storage = open_storage(place["uri"], place["options"])
storage.write_bytes("small", b"the libraries are loaded and connected")
storage.read_bytes("small")
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
storage.upload(place["source"], "big")
storage.download("big", place["target"])
print(peak() - before)
storage.delete("big")
"""


# a server in memory that reads all of an object for each request sets the smaller size
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "size"), [("local", 1024 * _MIB), ("s3", 256 * _MIB), ("azure", 256 * _MIB), ("gcs", 160 * _MIB)]
)
def test_a_big_file_needs_little_memory(kind, size, tmp_path, request):
    place = Place(str(tmp_path / "store")) if kind == "local" else request.getfixturevalue(kind)
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.truncate(size)
        file.seek(size // 2)
        file.write(b"in the middle")
    said = {"uri": f"{place.uri}/big-files", "options": place.options, "source": str(source), "target": str(target)}
    done = subprocess.run(
        [sys.executable, "-c", _TRANSFER], input=json.dumps(said), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < _ALLOWED
    assert target.stat().st_size == size
    with target.open("rb") as file:
        file.seek(size // 2)
        assert file.read(13) == b"in the middle"
    target.unlink()
