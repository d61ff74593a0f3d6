"""What other processes do to a lake in the tests: ``python -m tests.tracking.processes WHAT LAKE``."""

import multiprocessing
import os
import sys

import sparkml_lifecycle as ml


def child_logs(number: int) -> str:
    """In a child: a nested run of its own, ended, and one value for the parent's run, not flushed."""
    parent = ml.active_run().info.run_id
    with ml.start_run(run_name=f"child-{number}", nested=True) as run:
        ml.log_params({"number": number})
        ml.log_metric("loss", 1.0 / (number + 1))
    assert ml.get_run(run.info.run_id).data.metrics["loss"] == 1.0 / (number + 1)
    ml.log_metric("children", number, step=number, run_id=parent)
    return run.info.run_id


def pool(method: str) -> None:
    """A pool whose children log; with ``fork`` its parent has used the lake."""
    ml.set_experiment("pool")
    with ml.start_run(run_name="parent") as run:
        ml.log_metric("before", 1.0, synchronous=True)
        ml.search_runs()
        if method == "fork":
            with multiprocessing.get_context("fork").Pool(3) as workers:
                workers.map(child_logs, range(6))
                workers.close()
                workers.join()
        else:
            children = [
                multiprocessing.get_context("spawn").Process(
                    target=spawned, args=(ml.get_tracking_uri(), run.info.run_id, i)
                )
                for i in range(2)
            ]
            for child in children:
                child.start()
            for child in children:
                child.join()
                assert child.exitcode == 0


def spawned(uri: str, run_id: str, number: int) -> None:
    """A spawned child logs to its parent's run and leaves without a flush."""
    ml.set_tracking_uri(uri)
    ml.log_metric("children", number, step=number, run_id=run_id)


def terminated(method: str) -> None:
    """A pool that ends its workers at once, as ``with Pool()`` does: they get a signal and no finalizer runs."""
    ml.set_experiment("pool")
    with ml.start_run(run_name="parent") as run:
        ml.log_metric("before", 1.0, synchronous=True)
        with multiprocessing.get_context(method).Pool(2) as workers:
            workers.starmap(spawned, [(ml.get_tracking_uri(), run.info.run_id, number) for number in range(20)])


def one_of_many(number: int) -> tuple[str, str]:
    """In any child: a run that belongs to what the parent has set; it ends its own alone."""
    with ml.start_run(run_name=f"child-{number}") as run:
        ml.log_metric("number", number)
    ml.end_run()
    return ml.get_tracking_uri(), run.info.experiment_id


def inherited(method: str) -> None:
    """Children of each kind log to the lake and the experiment that their parent has chosen, while a run of its own is active."""
    ml.set_experiment("pool")
    with ml.start_run(run_name="parent") as run:
        ml.log_metric("before", 1.0, synchronous=True)
        if method == "loky":
            from joblib import Parallel, delayed

            found = Parallel(2)(delayed(one_of_many)(number) for number in range(4))
        else:
            with multiprocessing.get_context(method).Pool(2) as workers:
                found = workers.map(one_of_many, range(4))
        assert set(found) == {(ml.get_tracking_uri(), run.info.experiment_id)}
        assert ml.get_run(run.info.run_id).info.status == "RUNNING"


def prefork() -> None:
    """As a pre-forking server: the parent opens the lake, its children serve: they make experiments, log, search and delete."""
    ml.set_experiment("server")
    children = []
    for number in range(2):
        pid = os.fork()
        if pid == 0:
            try:
                ml.set_experiment(f"of child {number}")
                with ml.start_run() as run:
                    ml.log_metric("x", number)
                found = ml.search_runs(filter_string="metrics.x >= 0", output_format="list")
                assert [one.info.run_id for one in found] == [run.info.run_id]
                ml.delete_run(run.info.run_id)
                ml.LifecycleClient().rename_experiment(run.info.experiment_id, f"renamed {number}")
                os._exit(0)
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
                os._exit(1)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0]


def leave() -> None:
    """A forked child that leaves by ``sys.exit`` does not end the run of its parent."""
    ml.start_run()
    ml.log_metric("a", 1.0, synchronous=True)
    if os.fork() == 0:
        ml.log_metric("b", 2.0)
        sys.exit(0)
    os.wait()
    assert ml.active_run().info.status == "RUNNING"


if __name__ == "__main__":
    ml.set_tracking_uri(sys.argv[2])
    what, _, method = sys.argv[1].partition("-")
    {"pool": pool, "terminated": terminated, "inherited": inherited, "prefork": prefork, "leave": leave}[what](
        *[method] * bool(method)
    )
