"""The dataframe engine: workers score the rows of any DataFrame and write files of the target; only what they wrote travels back."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from sparkml_lifecycle.scoring import column
from sparkml_lifecycle.scoring.direct import FilePlan, by_model, output_of, predicted
from sparkml_lifecycle.scoring.failures import Failures
from sparkml_lifecycle.scoring.formats import conformed
from sparkml_lifecycle.scoring.output import Written, from_rows
from sparkml_lifecycle.scoring.progress import Meter
from sparkml_lifecycle.scoring.worker import model_of, task_number


def run(rows: Any, plan: FilePlan) -> list[Written]:
    """Score the rows of a DataFrame, a task for each of its partitions; gives what was written."""
    from pyspark.sql import functions as F

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from sparkml_lifecycle.scoring.dataframe import score_batches
        from sparkml_lifecycle.scoring.output import to_batch

        yield to_batch(score_batches(plan, batches))

    # mapInArrow looks for columns by their bare names, which may have dots
    needed = [F.col(column.quoted(name)).alias(f"c{i}") for i, name in enumerate(plan.source.names)]
    return from_rows(rows.select(*needed).mapInArrow(work, "written string").collect())


def score_batches(plan: FilePlan, batches: Iterator[pa.RecordBatch]) -> list[Written]:
    """Score the batches of one task; gives what was written."""
    failures = Failures(plan.max_errors)
    with Meter(plan.report_to, task_number()) as meter, output_of(plan) as output:
        # a task without rows loads no model
        for batch in batches:
            rows = conformed(batch.rename_columns(plan.source.names), plan.source)
            output.write(predicted(model_of(plan.model), plan, rows, failures), rows.num_rows)
            meter.add(rows.num_rows)
    return by_model(output.written, model_of(plan.model)) if output.written else []
