"""Score a table with a model: spark-submit jobs/score_batch.py --config conf/score_flights.yml [--set KEY=VALUE ...]."""

import argparse
import sys

from sparkml_lifecycle.errors import LifecycleError
from sparkml_lifecycle.scoring.conf import read_conf
from sparkml_lifecycle.scoring.job import run_job
from sparkml_lifecycle.spark import get_spark


def main() -> int:
    """Run the job of the command line: 0 if it did its work, 1 with one line on stderr if not, 2 for a wrong conf."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="the job's YAML file")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a value that wins over the file's"
    )
    arguments = parser.parse_args()
    try:
        conf = read_conf(arguments.config, arguments.set)
    except LifecycleError as error:
        print(f"score_batch: {error}", file=sys.stderr)
        return 2
    try:
        spark = get_spark(
            app_name=f"score_batch {conf.job}", conf={key: str(value) for key, value in conf.spark.items()}
        )
        report = run_job(spark, conf)
    except LifecycleError as error:
        print(f"score_batch: {error}", file=sys.stderr)
        return 1
    if not report.committed:
        print(f"score_batch: batch {conf.batch!r} is in {report.target} already; nothing was written")
        return 0
    rate = f"{report.rows_per_second:,.0f} rows/s"
    print(
        f"score_batch: {report.rows:,} rows in {report.seconds:.1f} s ({rate}, engine {report.engine}) -> {report.target} version {report.version}, run {report.run_id}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
