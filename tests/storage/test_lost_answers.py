"""A proxy cuts the connection after the commit; meanwhile the table is compacted: what was committed counts once."""

import threading

from sparkml_lifecycle.client import LifecycleClient
from tests.storage.conftest import post, s3_options
from tests.storage.lost_answers import lost_answers


def test_rows_whose_answer_was_cut_off_are_there_once_though_the_table_was_compacted(s3_urls, tmp_path):
    lost_answers(s3_urls, f"s3://bucket/{tmp_path.name}", rounds=2)


def test_an_experiment_whose_answer_was_cut_off_is_the_one_that_is_there(s3_urls, tmp_path):
    direct, front = s3_urls
    uri = f"s3://bucket/{tmp_path.name}"
    client = LifecycleClient(uri, storage_options=s3_options(front))
    client.create_experiment("before")
    post(f"{front}/_cut")
    made = []
    thread = threading.Thread(target=lambda: made.append(client.create_experiment("cut")))
    thread.start()
    other = LifecycleClient(uri, storage_options=s3_options(direct))
    while other.get_experiment_by_name("cut") is None:
        pass
    other.create_experiment("in between")
    post(f"{front}/_go")
    thread.join()
    assert {one.name: one.experiment_id for one in other.search_experiments()} == {
        "before": "1", "cut": made[0], "in between": "3",
    }  # fmt: skip
