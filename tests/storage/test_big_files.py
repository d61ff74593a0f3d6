"""A file larger than the memory a process may use goes up and comes down: it is streamed."""

import json
import subprocess
import sys

import pytest

from tests.storage.conftest import Place

_GIB = 1024**3
_ROOM = 700 * 1024**2
_TRANSFER = """
import json, resource, sys
from sparkml_lifecycle.storage import open_storage
place = json.load(sys.stdin)
storage = open_storage(place["uri"], place["options"])
storage.write_bytes("small", b"the libraries are loaded and connected")
storage.read_bytes("small")
# what is loaded now, and so much more
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + place["room"],) * 2)
storage.upload(place["source"], "big")
print(storage.stat("big").size)
storage.download("big", place["target"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["local", "s3"])
def test_a_file_larger_than_memory_goes_up_and_comes_down(kind, tmp_path, request):
    place = Place(str(tmp_path / "store")) if kind == "local" else request.getfixturevalue("s3")
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.truncate(_GIB)
        file.seek(_GIB // 2)
        file.write(b"in the middle")
    said = {
        "uri": f"{place.uri}/big-files",
        "options": place.options,
        "source": str(source),
        "target": str(target),
        "room": _ROOM,
    }
    done = subprocess.run(
        [sys.executable, "-c", _TRANSFER], input=json.dumps(said), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, str(_GIB)), done.stderr
    assert target.stat().st_size == _GIB
    with target.open("rb") as file:
        file.seek(_GIB // 2)
        assert file.read(13) == b"in the middle"
