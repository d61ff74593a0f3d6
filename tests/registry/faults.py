"""What goes wrong with a registry, as functions of how often: the tests do it a few times, ``make soak`` many.

``python -m tests.registry.faults WHAT LAKE …`` is what the killed and the competing processes run.
"""

import random
import signal
import sys
import time

from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.errors import LifecycleError
from tests import children


def started(what, *arguments):
    """A process that does one of the things below."""
    return children.started("tests.registry.faults", what, *arguments)


def many_registrations(uri, source, processes, each):
    """Processes that register versions of one name at once: every number once, no gap, and each process has its own."""
    given = children.ended([started("register", uri, source, each) for _ in range(processes)])
    numbers = sorted(int(number) for words in given for number in words)
    assert numbers == list(range(1, processes * each + 1))
    found = LifecycleClient(uri).search_model_versions("name = 'churn'", 10**6)
    assert sorted(int(one.version) for one in found) == numbers


def killed_registrations(uri, source, rounds):
    """Processes killed while they register: each version whole or not there, and the next number works, without a hole."""
    acknowledged = 0
    for number in range(rounds):
        process = started("register", uri, source, 10_000)
        # after so many, and somewhere in the next
        first = [process.stdout.readline().strip() for _ in range(number % 3)]
        time.sleep(random.uniform(0.0, 0.1))
        process.send_signal(signal.SIGKILL)
        words = [*first, *process.communicate(timeout=60)[0].split("\n")[:-1]]
        client = LifecycleClient(uri)
        found = (
            sorted(client.search_model_versions("name = 'churn'", 10**6), key=lambda one: int(one.version))
            if _has_model(client)
            else []
        )
        assert [int(one.version) for one in found] == list(range(1, len(found) + 1))
        assert {*words} <= {one.version for one in found}
        assert all(one.tags == {"k": "v"} and one.digest and one.description == "d" for one in found)
        made = client.register_model(source, "churn", {"k": "v"}, "d")
        assert int(made.version) == len(found) + 1
        acknowledged += len(words)
    assert acknowledged


def two_people(uri, source, rounds):
    """Two people move one stage at once: all moves are told in one order, and one version is in Production after each."""
    client = LifecycleClient(uri)
    for _ in range(2):
        client.register_model(source, "churn")
    # who begins alone would be done before the other is there
    begin = time.time() + 2
    children.ended([started("move", uri, version, rounds, begin) for version in (1, 2)])
    moves = [one for one in LifecycleClient(uri).get_model_history("churn") if one.what == "stage"]
    stages: dict[str, str | None] = {}
    asked = 0
    for number, one in enumerate(moves):
        assert one.before == stages.get(one.version), (number, one)
        stages[one.version] = one.after
        # the one that goes is archived in the same commit, and stands before the one that comes
        if one.after == "Production":
            assert list(stages.values()).count("Production") == 1, (number, stages)
            asked += 1
    assert asked > 1
    return asked


def many_tags(uri, processes, each):
    """Processes that change one model without a pause: nobody gives up, and every change is there."""
    client = LifecycleClient(uri)
    client.create_registered_model("churn")
    children.ended([started("tag", uri, number, each) for number in range(processes)])
    tags = LifecycleClient(uri).get_registered_model("churn").tags
    assert tags == client.get_registered_model("churn").tags
    assert tags == {f"{number}-{one}": "v" for number in range(processes) for one in range(each)}
    assert len(client.get_model_history("churn")) == 1 + processes * each


def _has_model(client):
    return bool(client.search_registered_models("name = 'churn'"))


def _register(uri, source, times):
    client = LifecycleClient(uri)
    print("ready", flush=True)
    for _ in range(int(times)):
        print(client.register_model(source, "churn", {"k": "v"}, "d").version, flush=True)


def _tag(uri, number, times):
    client = LifecycleClient(uri)
    print("ready", flush=True)
    for one in range(int(times)):
        client.set_registered_model_tag("churn", f"{number}-{one}", "v")


def _move(uri, version, times, begin):
    client = LifecycleClient(uri)
    client.get_model_version("churn", version)
    print("ready", flush=True)
    time.sleep(max(0.0, float(begin) - time.time()))
    for _ in range(int(times)):
        client.transition_model_version_stage("churn", version, "Production", archive_existing_versions=True)
        # the other's turn; without it each would find itself in Production again and again
        time.sleep(random.uniform(0.0, 0.005))


if __name__ == "__main__":
    try:
        {"register": _register, "move": _move, "tag": _tag}[sys.argv[1]](*sys.argv[2:])
    except LifecycleError as error:
        sys.exit(str(error))
