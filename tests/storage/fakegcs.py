"""fake-gcs-server, built from the Go module proxy and kept under ``~/.cache/sparkml-tests``, with its front (``gcsserver``)."""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.storage.hdfs import CACHE, end, free_port

# v1.54 does not look at the condition of a simple upload
VERSION = "v1.56.1"


def program() -> Path:
    """The server, built if this machine has none."""
    target = CACHE / f"fake-gcs-server-{VERSION}"
    if not target.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            command = ["go", "install", f"github.com/fsouza/fake-gcs-server@{VERSION}"]
            where = {**os.environ, "GOBIN": folder}
            done = subprocess.run(command, env=where, cwd=folder, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"fake-gcs-server cannot be built: {done.stderr[-3000:]}"
            (Path(folder) / "fake-gcs-server").replace(target)
    return target


@contextmanager
def server() -> Iterator[str]:
    """A running server with the bucket ``bucket``, its content in memory; gives its front's URL and ends both processes."""
    port, front = free_port(), free_port()
    url = f"http://127.0.0.1:{front}"
    command = [
        str(program()), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory",
        "-external-url", url, "-public-host", f"127.0.0.1:{front}", "-log-level", "error",
    ]  # fmt: skip
    process = subprocess.Popen(command)
    try:
        translator = subprocess.Popen(
            [sys.executable, "-m", "tests.storage.gcsserver", str(port), str(front)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        try:
            assert translator.stdout is not None
            translator.stdout.readline()
            _make_bucket(url, process)
            yield url
        finally:
            translator.communicate(timeout=30)
    finally:
        end(process)


def _make_bucket(url: str, process: "subprocess.Popen[bytes]") -> None:
    body, headers = json.dumps({"name": "bucket"}).encode(), {"content-type": "application/json"}
    until = time.monotonic() + 60
    while True:
        assert process.poll() is None, "fake-gcs-server has ended"
        assert time.monotonic() < until, "fake-gcs-server does not answer"
        try:
            urllib.request.urlopen(
                urllib.request.Request(f"{url}/storage/v1/b?project=tests", body, headers), timeout=30
            ).close()
            return
        except OSError:
            time.sleep(0.1)
