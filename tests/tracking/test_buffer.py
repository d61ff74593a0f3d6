"""Rows on their way to a lake: signals, outages, rows that do not fit, and the ends of processes."""

import signal
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sparkml_lifecycle.entities import Dataset, DatasetInput, Metric
from sparkml_lifecycle.errors import InvalidInput, StorageError
from sparkml_lifecycle.lake import forked
from sparkml_lifecycle.tracking.buffer import Buffer
from sparkml_lifecycle.tracking.tables import MetricRow


class Interrupted(BaseException):
    """What a signal raises in the main thread, as Ctrl-C raises KeyboardInterrupt."""


@pytest.fixture
def interrupting():
    """Raises :class:`Interrupted` in the main thread after some seconds."""

    def interrupt(number, frame):
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_signal_in_the_middle_of_a_flush_loses_nothing(open_lake, interrupting):
    store = open_lake(flush_seconds=3600.0)
    experiment_id = store.experiments.create("e")
    runs, interrupted = [], 0
    for number in range(15):
        run_id = store.create_run(experiment_id).info.run_id
        store.flush()
        store.log_metrics(run_id, [(f"m{i}", float(i)) for i in range(20)])
        store.set_tags(run_id, [("team", "crm")])
        interrupting(0.001 + 0.002 * number)
        try:
            # it may come in either; once the timer has been stopped it comes no more
            try:
                store.flush()
            finally:
                interrupting(0)
        except Interrupted:
            interrupted += 1
        store.update_run(run_id, "FINISHED")
        runs.append(run_id)
    assert interrupted
    elsewhere = open_lake()
    for run_id in runs:
        found = elsewhere.get_run(run_id)
        assert len(found.data.metrics) == 20
        assert found.data.tags["team"] == "crm"
    assert elsewhere.lake.table(MetricRow).to_arrow().num_rows == 20 * len(runs)


def test_after_an_outage_the_value_that_was_set_last_counts(open_lake, tmp_path):
    store = open_lake(flush_seconds=3600.0)
    run_id = store.create_run(store.experiments.create("e")).info.run_id
    store.set_tags(run_id, [("stage", "0")], synchronous=True)
    table, away = tmp_path / "lake" / "tags", tmp_path / "lake" / "away"
    table.rename(away)
    table.write_text("")
    for stage in ("train", "evaluate"):
        with pytest.raises(StorageError, match="kept and tried again"):
            store.set_tags(run_id, [("stage", stage)], synchronous=True)
    with pytest.raises(StorageError, match="kept and tried again"):
        store.update_run(run_id, "FINISHED")
    table.unlink()
    away.rename(table)
    store.set_tags(run_id, [("stage", "done")])
    store.flush()
    found = open_lake().get_run(run_id)
    assert found.data.tags["stage"] == "done"
    # the end of the run was kept, too
    assert found.info.status == "FINISHED"


def test_the_end_of_a_run_is_kept_where_even_the_run_cannot_be_read(open_lake, tmp_path):
    store = open_lake(flush_seconds=3600.0)
    run_id = store.create_run(store.experiments.create("e")).info.run_id
    store.flush()
    table, away = tmp_path / "lake" / "runs", tmp_path / "lake" / "away"
    table.rename(away)
    table.write_text("")
    with pytest.raises(StorageError, match="kept and tried again"):
        store.update_run(run_id, "FAILED")
    table.unlink()
    away.rename(table)
    store.flush()
    assert open_lake().get_run(run_id).info.status == "FAILED"


def test_a_row_that_does_not_fit_is_dropped_alone(open_lake):
    lake = open_lake().lake
    good = MetricRow(
        at=datetime.now(UTC), run_id="0" * 32, key="good", value=1.0, timestamp=0, step=0, model_id=None,
        dataset_name=None, dataset_digest=None,
    )  # fmt: skip
    buffer = Buffer(lake, 3600.0, 1000)
    buffer.add([good, replace(good, key="bad", step=2**70), replace(good, key="other")])
    with pytest.raises(InvalidInput, match=r"dropped\. MetricRow\.step"):
        buffer.flush()
    assert sorted(lake.table(MetricRow).to_arrow()["key"].to_pylist()) == ["good", "other"]
    buffer.flush()
    buffer.close()


def test_what_is_no_text_becomes_one_before_it_is_a_row(store):
    run_id = store.create_run(store.experiments.create("e")).info.run_id
    store.log_batch(run_id, [Metric("m", 1.0, 0, 0, model_id=7, dataset_name=123)])
    large = Dataset("n", "d", "code", '{"delta_table_version": 99999999999999999999}')
    store.log_inputs(run_id, [DatasetInput(large)])
    (point,) = store.metric_history(run_id, "m")
    assert (point.model_id, point.dataset_name) == ("7", "123")
    assert len(store.get_run(run_id).inputs.dataset_inputs) == 1


def test_the_number_of_a_table_names_none_of_a_later_process():
    first, later = forked._Tables(), forked._Tables()
    number = first._keep("a table")
    assert later._keep("another") != number
    with pytest.raises(StorageError, match="opened anew"):
        later.version(number)
