"""Answers lost behind a proxy, as a function of how often: the tests do it twice, ``make soak`` often."""

import threading

from sparkml_lifecycle.lake import Lake
from tests.lake.points import Point, point
from tests.storage.conftest import post, s3_options


def lost_answers(urls, uri, rounds):
    """Commits whose answer is cut off after another process has compacted the table: each row is there once."""
    direct, front = urls
    here = Lake(uri, s3_options(front)).table(Point)
    elsewhere = Lake(uri, s3_options(direct)).table(Point)
    here.append([point("first")])
    wanted = ["first"]
    for number in range(rounds):
        elsewhere.append([point(f"other {number}")])
        post(f"{front}/_cut")
        thread = threading.Thread(target=here.append, args=([point(f"cut {number}")],))
        thread.start()
        while f"cut {number}" not in elsewhere.to_arrow()["key"].to_pylist():
            pass
        assert elsewhere.compact() > 1
        assert thread.is_alive()
        post(f"{front}/_go")
        thread.join()
        wanted += [f"other {number}", f"cut {number}"]
        fresh = Lake(uri, s3_options(direct)).table(Point)
        assert sorted(fresh.to_arrow()["key"].to_pylist()) == sorted(wanted)
