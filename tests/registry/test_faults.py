"""A registry under kill -9 and several processes: short forms of what ``make soak`` does at length."""

import threading

from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.errors import AlreadyExists
from tests.registry import faults


def test_processes_that_register_at_once_leave_no_gap_and_no_double(tmp_path, source):
    faults.many_registrations(tmp_path / "lake", source, processes=3, each=8)


def test_processes_that_change_one_model_without_a_pause_all_come_through(tmp_path):
    faults.many_tags(tmp_path / "lake", processes=3, each=40)


def test_a_version_is_whole_or_not_there_after_a_kill(tmp_path, source):
    faults.killed_registrations(tmp_path / "lake", source, rounds=3)


def test_two_people_who_move_a_stage_are_both_told_in_one_order(tmp_path, source):
    faults.two_people(tmp_path / "lake", source, rounds=6)


def test_threads_of_one_client_share_a_name(client, source):
    found, taken = [], []

    def work():
        for _ in range(5):
            found.append(client.register_model(source, "churn").version)

    def create():
        try:
            client.create_registered_model("other")
        except AlreadyExists:
            taken.append(1)

    threads = [threading.Thread(target=work) for _ in range(3)] + [threading.Thread(target=create) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, found)) == list(range(1, 16))
    assert len(taken) == 2


def test_a_lake_that_was_copied_has_its_own_versions(client, source, tmp_path):
    import shutil

    from tests.registry.models import log_mean

    log_mean(client, 2.0, registered_model_name="churn")
    client.close()
    shutil.copytree(client.tracking_uri, tmp_path / "copy")
    copy = LifecycleClient(tmp_path / "copy")
    assert copy.get_model_version("churn", 1).source.startswith(f"{tmp_path}/copy/")
    copy.verify_model_version("churn", 1)
    copy.delete_registered_model("churn")
    assert client.get_model_version("churn", 1).version == "1"
