"""Processes that tests start: ``python -m MODULE WHAT …``, which prints ``ready`` first."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def started(module, what, *arguments):
    """A process that does one of the things of a module of tests."""
    command = [sys.executable, "-m", module, what, *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def ended(processes):
    """What each process printed; it must have ended well."""
    said = []
    for process in processes:
        out, error = process.communicate(timeout=600)
        assert process.returncode == 0, error[-3000:]
        said.append(out.split())
    return said
