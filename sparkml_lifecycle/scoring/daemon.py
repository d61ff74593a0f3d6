"""Spark's Python daemon without the tracebacks of workers whose rows nobody wants any more.

``.head()`` and ``.show()`` close a worker's socket as soon as they have their rows. Over Unix sockets PySpark 4.2 then prints a
BrokenPipeError for each such worker, though nothing went wrong. On local masters
:func:`~sparkml_lifecycle.spark.get_spark` starts this module in place of ``pyspark.daemon``, once per session; only what
PySpark itself loads before it forks is imported here.
"""

import socket

from pyspark import daemon

_worker = daemon.worker


def worker(sock: socket.socket, authenticated: bool) -> int:
    """PySpark's worker, forked by the daemon; one whose reader is gone ends as after any task that was cut short."""
    try:
        return int(_worker(sock, authenticated))
    except BrokenPipeError:
        return 1


if __name__ == "__main__":
    daemon.worker = worker
    daemon.manager()
