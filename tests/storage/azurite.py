"""Azurite, Microsoft's own stand-in for Azure's blob storage, from the npm registry, kept under ``~/.cache/sparkml-tests``."""

import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.storage.hdfs import CACHE, end, free_port

VERSION = "3.37.0"
ACCOUNT = "devstoreaccount1"
# not a secret: every Azurite has this account
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def program() -> Path:
    """Azurite's blob server, fetched if this machine has none."""
    target = CACHE / f"azurite-{VERSION}"
    if not target.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            found = Path(folder) / "azurite"
            found.mkdir()
            command = [
                "npm",
                "install",
                "--no-audit",
                "--no-fund",
                "--no-save",
                "--prefix",
                str(found),
                f"azurite@{VERSION}",
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"Azurite cannot be fetched: {done.stdout[-2000:]}{done.stderr[-2000:]}"
            try:
                found.rename(target)
            except OSError:
                assert target.is_dir(), "somebody else was first, and there is nothing"
    return target / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"


@contextmanager
def server() -> Iterator[str]:
    """A running Azurite, its content in memory; gives its URL and ends its process."""
    port = free_port()
    command = [
        "node", str(program()), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence",
        "--skipApiVersionCheck", "--disableTelemetry", "--silent",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 60
        while True:
            assert process.poll() is None, "Azurite has ended"
            assert time.monotonic() < until, "Azurite does not answer"
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except urllib.error.HTTPError:
                # it answers: a request without credentials is refused
                break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        end(process)
