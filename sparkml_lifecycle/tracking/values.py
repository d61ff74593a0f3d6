"""What callers log, checked, as rows."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from sparkml_lifecycle.entities import Dataset, DatasetInput, InputTag
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
    if model_id is not None:
        model_id = names.check_value("metric", key, model_id, names.MAX_EXPERIMENT)
    if dataset_name is not None:
        dataset_name = names.check_value("metric", key, dataset_name, names.MAX_EXPERIMENT)
    if dataset_digest is not None:
        dataset_digest = names.check_value("metric", key, dataset_digest, names.MAX_EXPERIMENT)
    return MetricRow.of(
        at=at,
        run_id=run_id,
        key=names.check_key("metric", key),
        value=number,
        timestamp=int(time.time() * 1000) if timestamp is None else names.check_whole("timestamp", timestamp, cut=True),
        step=0 if step is None else names.check_whole("step", step),
        model_id=model_id,
        dataset_name=dataset_name,
        dataset_digest=dataset_digest,
    )


def _only_element(key: str, value: Any) -> float:
    """The number in an array or tensor of one element, as in MLflow."""
    try:
        return float(value.item())
    except (AttributeError, TypeError, ValueError, RuntimeError, OverflowError):
        if isinstance(value, int):
            raise InvalidInput(
                f"The metric {key!r} must be a number that a double holds, found an integer of {len(str(value))} digits."
            ) from None
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
    if not isinstance(one, DatasetInput):
        raise InvalidInput(
            f"An input is a DatasetInput(dataset, tags), found {type(one).__name__}. Or: ml.log_input()."
        )
    dataset = one.dataset
    if not isinstance(dataset, Dataset):
        raise InvalidInput(
            f"A data set is made by ml.data.from_pandas(df), from_arrow(), from_numpy(), from_spark() or load_delta(), found {type(dataset).__name__}."
        )
    names.check_all("tags of an input", one.tags, InputTag, "key", "value")
    tags = {
        names.check_key("tag", tag.key): names.check_value("tag", tag.key, tag.value, names.MAX_EXPERIMENT)
        for tag in one.tags
    }
    for part in ("source_type", "source"):
        names.check_text(f"{part} of the data set", getattr(dataset, part))
    for part in ("schema", "profile"):
        if getattr(dataset, part) is not None:
            names.check_text(f"{part} of the data set", getattr(dataset, part))
    try:
        version = json.loads(dataset.source).get("delta_table_version")
    except (ValueError, AttributeError):
        version = None
    return InputRow(
        at=at,
        run_id=run_id,
        dataset_name=names.check_value("dataset", "name", dataset.name, names.MAX_EXPERIMENT),
        dataset_digest=names.check_value("dataset", "digest", dataset.digest, names.MAX_DIGEST),
        context=names.check_value("dataset", "context", tags.pop(_CONTEXT, ""), names.MAX_EXPERIMENT),
        source_type=dataset.source_type,
        source=dataset.source,
        version=version if type(version) is int and 0 <= version < 2**63 else None,
        schema=dataset.schema,
        profile=dataset.profile,
        tags=json.dumps(tags) if tags else None,
    )


def moment(milliseconds_since_1970: int) -> datetime:
    """MLflow's milliseconds as a time in UTC."""
    try:
        return _EPOCH + timedelta(milliseconds=names.check_whole("time", milliseconds_since_1970, cut=True))
    except OverflowError:
        raise InvalidInput(
            f"{milliseconds_since_1970} milliseconds lie beyond the year 9999, or before the year 1."
        ) from None
