"""How far a job is: what workers say is heard, counted once, and costs nothing where nobody listens."""

import socket
import time

import pytest

from sparkml_lifecycle import scoring
from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.scoring import progress
from sparkml_lifecycle.scoring.progress import Meter, Progress, Watch
from tests.scoring import faults


def until(condition):
    """Wait for it."""
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    assert condition()


def test_rows_of_all_tasks_are_counted_and_the_whole_is_estimated_by_bytes():
    shown = []
    with Watch("job", shown.append) as watch:
        watch.begin(1000)
        assert (watch.now().rows, watch.now().total, watch.now().seconds_left) == (0, None, None)
        with Meter(watch.address, 0) as first, Meter(watch.address, 1) as second:
            first.add(30)
            until(lambda: watch.now().rows == 30)
            # nothing is known of the whole before the first file is done
            assert watch.now().total is None
            first.add(20)
            first.done(250)
            second.add(40)
        until(lambda: watch.now().rows == 90)
        assert watch.now().total == 200
        # a task that is tried again counts anew
        with Meter(watch.address, 1) as again:
            again.add(10)
        until(lambda: watch.now().rows == 60)
        until(lambda: shown)
    assert shown[-1].job == "job"


def test_a_datagram_without_the_token_or_of_another_form_is_not_heard():
    with Watch("job", lambda _: None) as watch:
        watch.begin()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            place = (watch.address.host, watch.address.port)
            for said in (b"", b"x", b"[]", b"7", b'["no", 0, 1, 1, 1]', b'["a", 0, "x", 1, 1]', b"\xff" * 1000):
                stranger.sendto(said, place)
        with Meter(watch.address, 0) as meter:
            meter.add(5)
        until(lambda: watch.now().rows == 5)
        assert len(watch._tasks) == 1


def test_nobody_listens_and_nothing_is_sent():
    with Watch("job", None) as watch:
        assert watch.address is None
    with Meter(None, 0) as meter:
        meter.add(5)
        meter.done(1)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (Progress("j", 0, 1.0, None), "j: 0 rows, 0 rows/s"),
        (
            Progress("j", 4_200_000, 2.0, 15_600_000),
            "j: 4,200,000 of about 15,600,000 rows, 2,100,000 rows/s, 5 s left",
        ),
        (Progress("j", 1000, 10.0, 11_000), "j: 1,000 of about 11,000 rows, 100 rows/s, 1 min 40 s left"),
        (Progress("j", 1, 1.0, 7322), "j: 1 of about 7,322 rows, 1 rows/s, 2 h 2 min left"),
    ],
)
def test_it_says_what_a_person_wants_to_know(given, text):
    assert str(given) == text


@pytest.mark.spark
@pytest.mark.parametrize("engine", ["local", "direct", "dataframe", "column"])
def test_each_engine_says_how_far_it_is(spark, tmp_path, monkeypatch, engine):
    monkeypatch.setattr(progress, "_TICK", 0.05)
    faults.make(tmp_path)
    (tmp_path / "harm").write_text("wait a little")
    heard = []
    report = scoring.score_table(
        None if engine == "local" else spark, str(tmp_path / "model"), str(tmp_path / "source"), str(tmp_path / "target"),
        engine="auto" if engine == "local" else engine, allow_code=True, client=LifecycleClient(str(tmp_path / "lake")),
        progress=heard.append,
    )  # fmt: skip
    assert report.rows == faults.ROWS
    counted = [one.rows for one in heard]
    assert counted, "nothing was heard"
    assert 0 < counted[0] <= counted[-1] <= faults.ROWS
