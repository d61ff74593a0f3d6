"""Table to table: rows a second of scoring jobs beside MLflow, Spark by hand, DuckDB, Polars and the machine's limit.

``make bench-scoring`` prints the table; ``python -m tests.bench.scoring linear xgboost --rows 2000000`` only some of it. The
source is a Delta table of flights with their weather in 64 files. Every way runs in a process of its own that is warmed by
four of the files, three times and again before each run, and the repeats of all are interleaved; each figure is the median
(smallest to largest). All of them write the same columns: an identifier, the answer and the stamps, and as many rows of
them. *At its best* is with Unix sockets, batches of 100,000 rows and without columnar input. The *limit* is two warm bare
processes with pyarrow and the framework's own predict that write with the encodings of ours.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from sparkml_lifecycle.spark import delta_jars, fetch_delta_jars
from tests.bench import scoring_data, scoring_ways
from tests.bench.scoring_ways import JOBS, Way

_MODEL = {"dataframe": "linear", "column": "linear", "tiny": "linear"}
_MARKS = "<!-- bench-scoring -->", "<!-- /bench-scoring -->"


def measured(job, source, folder, repeats, only=None):
    """What each way found, by its name: a list of dictionaries."""
    unmeasured = 1 if job == "tiny" else 0  # a thousand tasks are their own warming up
    names = [name for name in JOBS[job] if only is None or name in only]
    found = {name: [] for name in names}
    work = Path(tempfile.mkdtemp(prefix=f"{job}-", dir=folder))
    ways = {}
    for name in names:
        arguments = ["-m", "tests.bench.scoring_ways", name, job, str(folder), str(source)]
        ways[name] = Way(arguments, work, scoring_ways.peers() if name in scoring_ways.PEERS else sys.executable)
    try:
        for number in range(-unmeasured, repeats):
            for name, way in ways.items():
                print(f"  {job}, {name}, {number + 1} of {repeats}", file=sys.stderr, flush=True)
                target = f"{work}/{number + unmeasured}-{names.index(name)}"
                try:
                    way.begin(target)
                    one = way.end() or {"error": "it ended"}
                except BrokenPipeError:
                    one = {"error": "it did not start"}
                if "error" in one:
                    print(f"  {job}, {name}: {one['error']}", flush=True)
                elif number >= 0:
                    found[name].append(one)
    finally:
        for way in ways.values():
            way.close()
        shutil.rmtree(work, ignore_errors=True)
    for name, runs in found.items():
        wrong = {one["written"] for one in runs if one["written"]} - {one.get("rows", _rows_of(found)) for one in runs}
        if wrong:
            print(f"  {job}, {name} wrote {', '.join(map(str, wrong))} rows, which are not the source's", flush=True)
            runs.clear()
    return found


def _rows_of(found):
    """How many rows our job says that it has scored."""
    return next((one["rows"] for runs in found.values() for one in runs if "engine" in one), None)


def shown(figures, digits=2):
    """The median with the smallest and largest."""
    if not figures:
        return "failed"
    return f"{statistics.median(figures):.{digits}f} ({min(figures):.{digits}f} to {max(figures):.{digits}f})"


def figures_of(job, found, rows, tasks):
    """By way: millions of rows a second, or milliseconds a task."""
    if job == "tiny":
        return {name: [one["seconds"] * 1000 / tasks for one in runs] for name, runs in found.items()}
    return {name: [one.get("rows", rows) / one["seconds"] / 1e6 for one in runs] for name, runs in found.items()}


def row_of(job, figures):
    """A Markdown line: our figure, then each other's with how many times ours is as fast."""
    first, *others = figures
    unit = "ms a task" if job == "tiny" else "M rows/s"
    parts = [f"**{job}** ({unit})", shown(figures[first])]
    for name in others:
        ratio = ""
        if figures[first] and figures[name]:
            mine, theirs = statistics.median(figures[first]), statistics.median(figures[name])
            ratio = f": {theirs / mine if job == 'tiny' else mine / theirs:.2f} times"
        parts.append(f"{name} {shown(figures[name])}{ratio}")
    return "| " + " | ".join([*parts[:2], "<br>".join(parts[2:])]) + " |"


def profile(job, source, folder):
    """Where the seconds of our job go: those of the workers out of one bare process, Spark's is the rest."""
    import time

    from sparkml_lifecycle import package
    from sparkml_lifecycle.scoring import direct, formats
    from sparkml_lifecycle.scoring.failures import Failures
    from sparkml_lifecycle.scoring.output import Output

    spent = dict.fromkeys(("read", "convert", "predict", "write"), 0.0)

    def timed(what, work):
        def wrapped(*given, **named):
            began = time.perf_counter()
            try:
                return work(*given, **named)
            finally:
                spent[what] += time.perf_counter() - began

        return wrapped

    model = package.read(folder / f"ours-{job}", warn=False)
    model.limit_threads(1)
    model.flavor.predict = timed("predict", model.flavor.predict)
    model.evaluation.answer = timed("predict", model.evaluation.answer)
    plan = _plan(job, source, folder, model)
    predicted, failures = timed("convert", direct.predicted), Failures(0)
    out = Path(tempfile.mkdtemp(dir=folder))
    with Output(direct.open_storage(str(out)), plan.target, plan.constant) as output:
        write = timed("write", output.write)
        for path in scoring_data.paths_of(source):
            batches = formats.read(direct.Piece(path.removeprefix("file://"), 1), "parquet", {}, plan.source)
            following = timed("read", lambda batches=batches: next(batches, None))
            while (rows := following()) is not None:
                write(predicted(model, plan, rows, failures), rows.num_rows)
    shutil.rmtree(out)
    spent["convert"] -= spent["predict"]
    return spent


def _plan(job, source, folder, model):
    import pyarrow as pa

    columns = scoring_data.columns_of(job)
    kinds = {name: pa.string() if name in scoring_data.TEXTS else pa.float64() for name in columns}
    stamps = {**dict.fromkeys(scoring_ways.STAMPS[:-1]), "model_digest": model.digest}
    fields = [pa.field(name, pa.string()) for name in stamps]
    from sparkml_lifecycle.scoring.direct import FilePlan

    return FilePlan(
        model=None, inputs=tuple(columns), keep=("flight_id",), source=pa.schema([*kinds.items(), ("flight_id", pa.int64())]),
        target=pa.schema([("flight_id", pa.int64()), ("prediction", pa.float64()), *fields]), place=str(folder),
        prediction="prediction", constant=stamps, predict_fn=None, params={},
    )  # fmt: skip


def growth(folder, sizes, repeats):
    """Print seconds by size, the fixed seconds and the slope, Spark's own seconds for an empty job and the workers' memory."""
    import numpy as np

    scoring_data.make_model(folder, "linear")
    per_file = 250_000
    whole = scoring_data.make_rows(folder, max(sizes), max(1, max(sizes) // per_file))
    medians = []
    for rows in sizes:
        source = scoring_data.part_of(whole, folder, max(1, rows // per_file))
        found = measured("linear", source, folder, repeats, only=["ours"])["ours"]
        seconds = [one["seconds"] for one in found]
        medians.append(statistics.median(seconds))
        print(f"{rows:>13,} rows: {shown(seconds)} s; workers' peak {found[-1]['peak'] / 2**20:,.0f} MB", flush=True)
    slope, fixed = np.polyfit(sizes, medians, 1)
    print(f"fixed {fixed:.2f} s, {1 / slope / 1e6:.2f} M rows a second beyond; an empty job {found[-1]['empty']:.2f} s")


def written_to(path, lines):
    """Put the lines into a file of their own, or between the marks of a file that has them."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    table = "\n".join(lines)
    begin, end = _MARKS
    if begin in text and end in text:
        before, after = text.partition(begin)[0], text.partition(end)[2]
        table = f"{before}{begin}\n{table}\n{end}{after}"
    path.write_text(table if table.endswith("\n") else f"{table}\n", encoding="utf-8")


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="*", default=list(JOBS), help=f"of {', '.join(JOBS)}; all where none is named")
    parser.add_argument("--rows", type=int, default=15_600_000)
    parser.add_argument("--tasks", type=int, default=1000, help="of the job tiny")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keep data and models there, and take what is there")
    parser.add_argument("--only", action="append", help="of the ways only this one; may be repeated")
    parser.add_argument("--profile", action="store_true", help="where the time of our jobs goes")
    parser.add_argument(
        "--growth", action="store_true", help="1 M to 100 M rows of the linear job instead of the table"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[10**6, 10**7, 5 * 10**7, 10**8], help="of --growth")
    parser.add_argument("--write", type=Path, help="a Markdown file; between the two marks of one that has them")
    asked = parser.parse_args()
    if unknown := [job for job in asked.jobs if job not in JOBS]:
        parser.error(f"no such job: {', '.join(unknown)}. There are {', '.join(JOBS)}.")
    folder = (asked.folder or Path(tempfile.mkdtemp(prefix="bench-scoring-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["BENCH_TASKS"] = str(asked.tasks)
    fetch_delta_jars()
    os.environ["BENCH_JARS"] = ",".join(delta_jars())
    try:
        if asked.growth:
            growth(folder, asked.sizes, asked.repeats)
            return
        source = scoring_data.make_rows(folder, asked.rows)
        scoring_data.part_of(source, folder, 4)
        scoring_data.make_carriers(folder)
        lines = ["| job | ours | beside it: ours is so many times as fast |", "|---|---|---|"]
        print("\n".join(lines), flush=True)
        for job in asked.jobs:
            scoring_data.make_model(folder, _MODEL.get(job, job))
            found = measured(job, source, folder, asked.repeats, asked.only)
            lines.append(row_of(job, figures_of(job, found, asked.rows, asked.tasks)))
            print(lines[-1], flush=True)
            if asked.profile and job in scoring_data.MODELS:
                spent = profile(job, source, folder)
                spark = statistics.median(one["seconds"] for one in found["ours"]) - sum(spent.values()) / 2
                print("  " + ", ".join(f"{name} {s:.2f} s" for name, s in {**spent, "Spark (wall)": spark}.items()))
        if asked.write:
            written_to(asked.write, lines)
    finally:
        if asked.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
