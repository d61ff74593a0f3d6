"""Which process runs a job, so that a later one on the same machine can tell that it has died without a word."""

import os
import socket
from pathlib import Path

TAG = "sparkml.process"


def this() -> str:
    """This process as ``host pid start``; ``start`` tells it from a later one of the same number, where the system says so."""
    return f"{socket.gethostname()} {os.getpid()} {_start(os.getpid())}"


def is_dead(process: str) -> bool:
    """Whether a process of this machine, as :func:`this` named it, has ended; False for one of another machine."""
    host, _, rest = process.partition(" ")
    pid, _, start = rest.partition(" ")
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        # it lives, and is another user's
        pass
    return bool(start) and start != _start(int(pid))


def _start(pid: int) -> str:
    """Clock ticks from the machine's start to the process's; empty where there is no ``/proc``."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
