"""What callers log, checked, as rows."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from sparkml_lifecycle.entities import DatasetInput
from sparkml_lifecycle.errors import InvalidInput
from sparkml_lifecycle.tracking import names
from sparkml_lifecycle.tracking.tables import InputRow, MetricRow, TagRow

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CONTEXT = "mlflow.data.context"


def metric_row(
    at: datetime, run_id: str, key: str, value: Any, timestamp: int | None, step: int | None,
    model_id: str | None = None, dataset_name: str | None = None, dataset_digest: str | None = None,
) -> MetricRow:  # fmt: skip
    """One point; ``timestamp`` in milliseconds, now where it is None."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = _only_element(key, value)
    for name in (model_id, dataset_name, dataset_digest):
        if name is not None:
            names.check_value("metric", key, name, names.MAX_EXPERIMENT)
    return MetricRow(
        at=at,
        run_id=run_id,
        key=names.check_key("metric", key),
        value=number,
        timestamp=int(time.time() * 1000) if timestamp is None else _whole("timestamp", timestamp),
        step=0 if step is None else _whole("step", step),
        model_id=model_id,
        dataset_name=dataset_name,
        dataset_digest=dataset_digest,
    )


def _only_element(key: str, value: Any) -> float:
    """The number in an array or tensor of one element, as in MLflow."""
    try:
        return float(value.item())
    except (AttributeError, TypeError, ValueError, RuntimeError, OverflowError):
        shape = getattr(value, "shape", None)
        found = f"{type(value).__name__} of the shape {tuple(shape)}" if shape is not None else type(value).__name__
        raise InvalidInput(
            f"The metric {key!r} must be a number (or an array of one), found {found}. Text belongs into a tag or parameter; "
            "leave out a value that is not there, or log float('nan')."
        ) from None


def tag_row(at: datetime, owner: str, key: str, value: Any) -> TagRow:
    """One tag of a run or experiment."""
    text = names.check_value("tag", names.check_key("tag", key), value, names.MAX_TAG)
    return TagRow(at=at, owner=owner, key=key, value=text)


def input_row(at: datetime, run_id: str, one: DatasetInput) -> InputRow:
    """One data set that a run read."""
    dataset = one.dataset
    tags = {tag.key: tag.value for tag in one.tags}
    try:
        version = json.loads(dataset.source).get("delta_table_version")
    except (ValueError, AttributeError, TypeError):
        version = None
    return InputRow(
        at=at,
        run_id=run_id,
        dataset_name=names.check_value("dataset", "name", dataset.name, names.MAX_EXPERIMENT),
        dataset_digest=names.check_value("dataset", "digest", dataset.digest, names.MAX_DIGEST),
        context=names.check_value("dataset", "context", tags.pop(_CONTEXT, ""), names.MAX_EXPERIMENT),
        source_type=dataset.source_type,
        source=dataset.source,
        version=version if isinstance(version, int) else None,
        schema=dataset.schema,
        profile=dataset.profile,
        tags=json.dumps(tags) if tags else None,
    )


def moment(milliseconds_since_1970: int) -> datetime:
    """MLflow's milliseconds as a time in UTC."""
    try:
        return _EPOCH + timedelta(milliseconds=_whole("time", milliseconds_since_1970))
    except OverflowError:
        raise InvalidInput(f"{milliseconds_since_1970} milliseconds lie beyond the year 9999.") from None


def _whole(what: str, value: Any) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidInput(f"The {what} must be a whole number, found {value!r}.") from None
    if not -(2**63) <= number < 2**63:
        raise InvalidInput(f"The {what} {number} does not fit 64 bits.")
    return number
