"""Jobs to which something happens while they run, each in a process of its own: ``python -m tests.scoring.faults KIND FOLDER ...``.

The model that they score with does what the file ``harm`` in the folder says, once, in the middle of the source.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

ROWS, FILES = 20_000, 8
MOMENTS = ("scoring", "before the commit", "after the commit", "before it is remembered")


# -- the folder ----------------------------------------------------------------------------------------------------------------


def make(folder):
    """A source of 20,000 rows in 8 files, and the model."""
    from sparkml_lifecycle import package
    from sparkml_lifecycle.model.signature import infer_signature
    from sparkml_lifecycle.package import Description

    rows = make_source(folder)
    example = rows.slice(0, 3).to_pandas()
    signature = infer_signature(example, example["value"] * 2)
    package.save(harmful(str(folder)), folder / "model", Description(signature=signature, allow_code=True))


def make_source(folder):
    """The source alone, anew; gives the rows of its last file."""
    import shutil

    import pyarrow as pa
    from deltalake import write_deltalake

    shutil.rmtree(folder / "source", ignore_errors=True)
    per_file = ROWS // FILES
    for start in range(0, ROWS, per_file):
        ids = list(range(start, start + per_file))
        rows = pa.table({"id": pa.array(ids, pa.int64()), "value": pa.array([one / 7 for one in ids])})
        write_deltalake(str(folder / "source"), rows, mode="append")
    return rows


def harmful(folder):
    """A model that answers twice the value, and once does what ``harm`` says."""

    def predict(frame):
        import os
        import resource
        import signal
        import time
        from pathlib import Path

        def parent(pid):
            return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

        if frame["id"].max() >= 10_000:
            try:
                os.rename(f"{folder}/harm", f"{folder}/harmed")
            except FileNotFoundError:
                pass
            else:
                what = Path(f"{folder}/harmed").read_text()
                if what == "kill the worker":
                    os.kill(os.getpid(), signal.SIGKILL)
                if what == "kill the executor":
                    # a worker's parent is Python's daemon, whose parent is the executor's JVM
                    os.kill(parent(os.getppid()), signal.SIGKILL)
                    time.sleep(60)
                if what == "kill the driver":
                    os.kill(int(Path(f"{folder}/driver").read_text()), signal.SIGKILL)
                    time.sleep(60)
                if what == "fill the disk":
                    # the system refuses what goes beyond, as it does on a full disk
                    resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
                if what == "raise":
                    raise RuntimeError("once")
                if what == "wait a little":
                    time.sleep(2)
                if what == "be slow":
                    time.sleep(45)
                    Path(f"{folder}/slept").touch()
                if what == "delete the source":
                    for path in Path(f"{folder}/source").glob("*.parquet"):
                        path.unlink()
        return frame["value"] * 2

    return predict


def wrong_rows(folder):
    """What the target has of the source too much, too little or with another answer; empty where each row is there once."""
    import pyarrow.compute as pc
    from deltalake import DeltaTable

    rows = DeltaTable(str(folder / "target")).to_pyarrow_table(columns=["id", "value", "prediction"])
    ids = sorted(rows["id"].to_pylist())
    right = pc.all(pc.equal(rows["prediction"], pc.multiply(rows["value"], 2.0))).as_py()
    missing, double = set(range(ROWS)) - set(ids), len(ids) - len(set(ids))
    return [
        f"{name}: {found}"
        for name, found in (("missing", len(missing)), ("double", double), ("wrong", not right))
        if found
    ]


def versions(folder):
    """How many commits the target has."""
    return len(list((folder / "target/_delta_log").glob("*.json")))


# -- the processes -------------------------------------------------------------------------------------------------------------


def started(*arguments, wait=True, timeout=300):
    """Start one of the programs below."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.scoring.faults", *map(str, arguments)]
    if not wait:
        return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=timeout, check=False)


def score(spark, folder, engine):
    """The job; gives the report, or what was raised in a line."""
    from sparkml_lifecycle import scoring
    from sparkml_lifecycle.client import LifecycleClient
    from sparkml_lifecycle.scoring import split

    # a task for every few files, though they are small
    split._LEAST_BYTES = 1
    return scoring.score_table(
        spark, str(folder / "model"), str(folder / "source"), str(folder / "target"), engine=engine, allow_code=True,
        client=LifecycleClient(str(folder / "lake")),
    )  # fmt: skip


def driver(folder, engine, moment):
    """A job whose driver is killed at a moment; at none with an empty one."""
    from sparkml_lifecycle.scoring import attempt, files, sink

    (folder / "driver").write_text(str(os.getpid()))

    def die(*given, **named):
        os.kill(os.getpid(), signal.SIGKILL)

    def then_die(work):
        return lambda *given, **named: die(work(*given, **named))

    spark = None
    if engine != "local":
        from sparkml_lifecycle.spark import get_spark

        spark = get_spark("faults", master="local[2]")
    if moment == "before the commit":
        files.commit = sink.write = die
    if moment == "after the commit":
        files.commit, sink.write = then_die(files.commit), then_die(sink.write)
    if moment == "before it is remembered":
        attempt.memory.remember = die
    print(score(spark, folder, "auto" if engine == "local" else engine).rows)


def cluster(folder, master, *faults):
    """Jobs on a cluster, an engine and a harm each; prints what became of them, as JSON."""
    import shutil

    from sparkml_lifecycle.spark import get_spark

    twins = {
        "spark.speculation": "true", "spark.speculation.interval": "100ms", "spark.speculation.quantile": "0.5",
        "spark.speculation.multiplier": "2", "spark.speculation.minTaskRuntime": "2s",
    }  # fmt: skip
    spark = get_spark("faults", master=master, conf={"spark.executor.memory": "1g", "spark.cores.max": "2", **twins})
    # so that workers are warm, and a twin is there because of the harm
    spark.range(0, 4, 1, 4).mapInArrow(lambda batches: batches, "id long").collect()
    for fault in faults:
        engine, harm = fault.split(":")
        for name in ("target", "harmed"):
            shutil.rmtree(folder / name, ignore_errors=True)
        (folder / "harmed").unlink(missing_ok=True)
        (folder / "harm").write_text(harm)
        began = time.monotonic()
        try:
            found = {"rows": score(spark, folder, engine).rows}
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"[:300]}
        is_there = (folder / "target/_delta_log").exists()
        found |= {
            "fault": fault, "seconds": round(time.monotonic() - began, 1), "harmed": (folder / "harmed").exists(), "slept": (folder / "slept").exists(),
            "wrong": wrong_rows(folder) if is_there else ["there is no target"],
        }  # fmt: skip
        print(json.dumps(found), flush=True)


@contextmanager
def standalone(folder, workers=2):
    """The URL of Spark's own master with so many workers."""
    import pyspark

    from sparkml_lifecycle.cli.flights import _free_port

    home = Path(pyspark.__file__).parent
    port = _free_port()
    environment = {
        **os.environ,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_HOME": str(home),
        "PYSPARK_PYTHON": sys.executable,
    }

    def run(name, *arguments, host="127.0.0.1"):
        command = [str(home / "bin/spark-class"), f"org.apache.spark.deploy.{name}", "--host", host, *arguments]
        log = (folder / f"{name}.log").open("a")
        own = {**environment, "SPARK_LOCAL_IP": host}
        return subprocess.Popen(command, env=own, stdout=log, stderr=log, cwd=folder, start_new_session=True)

    # a twin of a task runs on another host; all of 127.0.0.0/8 is this machine
    hosts = [f"127.0.0.{number + 1}" for number in range(workers)]
    url = f"spark://127.0.0.1:{port}"
    running = [run("master.Master", "--port", str(port), "--webui-port", "0")]
    for number in range(workers):
        place = ("--work-dir", str(folder / f"work-{number}"))
        running.append(
            run("worker.Worker", url, "--cores", "1", "--memory", "2g", "--webui-port", "0", *place, host=hosts[number])
        )
    try:
        until = time.monotonic() + 60
        while (folder / "worker.Worker.log").read_text().count("Successfully registered") < workers:
            if time.monotonic() > until:
                raise RuntimeError((folder / "worker.Worker.log").read_text()[-2000:])
            time.sleep(0.2)
        yield url
    finally:
        for one in running:
            os.killpg(one.pid, signal.SIGTERM)
        for one in running:
            one.wait()


if __name__ == "__main__":
    kind, where, *rest = sys.argv[1:]
    {"driver": driver, "cluster": cluster}[kind](Path(where), *rest)
