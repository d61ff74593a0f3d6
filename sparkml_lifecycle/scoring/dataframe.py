"""The dataframe engine: workers score the rows of any DataFrame and write files of the target; only what they wrote travels back."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from sparkml_lifecycle.scoring import column
from sparkml_lifecycle.scoring.direct import FilePlan, predicted
from sparkml_lifecycle.scoring.output import Output, Written
from sparkml_lifecycle.scoring.worker import model_of
from sparkml_lifecycle.storage import open_storage


def run(rows: Any, plan: FilePlan) -> list[Written]:
    """Score the rows of a DataFrame, a task for each of its partitions; gives what was written."""
    from pyspark.sql import functions as F

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from sparkml_lifecycle.scoring.dataframe import score_batches

        said = [json.dumps(score_batches(plan, batches))]
        yield pa.RecordBatch.from_arrays([pa.array(said, pa.string())], names=["written"])

    needed = [F.col(column.quoted(name)) for name in plan.source.names]
    answers = rows.select(*needed).mapInArrow(work, "written string").collect()
    return [Written(**one) for row in answers for one in json.loads(row["written"])]


def score_batches(plan: FilePlan, batches: Iterator[pa.RecordBatch]) -> list[dict[str, Any]]:
    """Score the batches of one task; gives what was written, as plain dicts."""
    with Output(open_storage(plan.place), plan.target, plan.constant) as output:
        # a task without rows loads no model
        for batch in batches:
            rows = pa.table(
                [batch.column(place).cast(one.type) for place, one in enumerate(plan.source)], names=plan.source.names
            )
            output.write(predicted(model_of(plan.model), plan, rows), rows.num_rows)
    return [asdict(one) for one in output.written]
