"""A DataFrame with predictions and stamps, by the column engine."""

from datetime import datetime
from typing import Any

from sparkml_lifecycle.loaded import PyFuncModel
from sparkml_lifecycle.scoring.column import ModelUdf, quoted
from sparkml_lifecycle.scoring.layout import Layout
from sparkml_lifecycle.scoring.worker import ModelReference


def with_predictions(rows: Any, model: PyFuncModel, layout: Layout, reference: ModelReference) -> Any:
    """``rows`` with the prediction and its stamps, by the column engine; of the source only the columns to keep."""
    from pyspark.sql import functions as F

    udf = ModelUdf(reference, model.input_names, model.optional_names, layout.result, layout.predict_fn, layout.params)
    taken = [F.col(quoted(name)) for name in layout.inputs]
    answer = udf(*taken) if layout.by_position else udf(F.struct(*taken))
    return rows.select(
        *(F.col(quoted(name)) for name in layout.keep),
        answer.alias(layout.prediction),
        *(F.lit(value).cast(_spark_type(value)).alias(name) for name, value in layout.stamps.items()),
    )


def _spark_type(value: Any) -> str:
    return "timestamp" if isinstance(value, datetime) else "string"
