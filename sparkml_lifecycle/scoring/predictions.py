"""A DataFrame with predictions and stamps, by the column engine."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sparkml_lifecycle.loaded import PyFuncModel
from sparkml_lifecycle.scoring.column import ModelUdf, quoted
from sparkml_lifecycle.scoring.layout import Layout
from sparkml_lifecycle.scoring.progress import Address
from sparkml_lifecycle.scoring.worker import ANSWERED, ModelReference


def with_predictions(
    rows: Any, model: PyFuncModel, layout: Layout, reference: ModelReference, report_to: Address | None = None
) -> Any:
    """``rows`` with the prediction and its stamps, by the column engine; of the source only the columns to keep."""
    from pyspark.sql import functions as F

    udf = ModelUdf(
        reference, model.input_names, model.optional_names, layout.result, layout.predict_fn, layout.params,
        layout.max_errors if layout.error else None, report_to,
    )  # fmt: skip
    taken = [F.col(quoted(name)) for name in layout.inputs]
    answer = udf(*taken) if layout.by_position else udf(F.struct(*taken))
    kept = [F.col(quoted(name)) for name in layout.keep]
    stamps = [F.lit(value).cast(_spark_type(value)).alias(name) for name, value in layout.stamps.items()]
    rows = rows.select(*kept, answer.alias(layout.prediction))
    if layout.error is None:
        return rows.select("*", *stamps)
    given, why = (F.col(quoted(layout.prediction)).getField(name) for name in ANSWERED)
    return rows.select(*kept, given.alias(layout.prediction), *stamps, why.alias(layout.error))


def counting_errors(scored: Any, layout: Layout) -> tuple[Any, Callable[[], int]]:
    """The same rows, whose errors are counted as they are written: Spark knows the sum only after its commit."""
    from pyspark.sql import Observation
    from pyspark.sql import functions as F

    if layout.error is None:
        return scored, lambda: 0
    errors = Observation()
    return scored.observe(errors, F.count(F.col(quoted(layout.error))).alias("errors")), lambda: errors.get["errors"]


def _spark_type(value: Any) -> str:
    return "timestamp" if isinstance(value, datetime) else "string"
