"""Score a table with a model: spark-submit jobs/score_batch.py --config conf/score_flights.yml [--set KEY=VALUE ...]."""

import argparse
import sys

from sparkml_lifecycle.errors import LifecycleError
from sparkml_lifecycle.scoring.conf import read_conf
from sparkml_lifecycle.scoring.engine import ENGINES
from sparkml_lifecycle.scoring.job import find_model, run_job
from sparkml_lifecycle.scoring.progress import show_progress
from sparkml_lifecycle.spark import get_spark


def main() -> int:
    """Run the job: 0 if it did its work, 1 with one line on stderr if not, 2 for a wrong conf, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="the job's YAML file")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a value that wins over the file's"
    )
    parser.add_argument("--debug", action="store_true", help="show where an error was raised")
    arguments = parser.parse_args()
    try:
        conf = read_conf(arguments.config, arguments.set)
    except LifecycleError as error:
        print(f"score_batch: {error}", file=sys.stderr)
        return 2
    try:
        chosen = find_model(conf)
        settings = {key: str(value) for key, value in conf.spark.items()}
        spark = get_spark(app_name=f"score_batch {conf.job}", conf=settings, is_program=True)
        report = run_job(spark, conf, chosen=chosen, progress=show_progress)
    except KeyboardInterrupt:
        print("score_batch: interrupted; a run that had begun is KILLED", file=sys.stderr)
        return 130
    except Exception as error:
        if arguments.debug:
            raise
        said = error if isinstance(error, LifecycleError) else f"{type(error).__name__} (--debug shows where)"
        print(f"score_batch: {said}", file=sys.stderr)
        return 1
    if not report.committed:
        print(f"score_batch: nothing was written to {report.target}: {'; '.join(report.notes)}")
        return 0
    print(
        f"score_batch: {report.pace}, {ENGINES[report.engine]} -> {report.target} version {report.version}, run {report.run_id}"
    )
    print(f"score_batch: evaluator {report.evaluator}: {report.evaluator_why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
