"""What notebook users call: a DataFrame with predictions, or a whole job from table to table."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.errors import InvalidInput
from sparkml_lifecycle.scoring.column import output_type
from sparkml_lifecycle.scoring.conf import check
from sparkml_lifecycle.scoring.job import find_model, run_job
from sparkml_lifecycle.scoring.layout import layout_of
from sparkml_lifecycle.scoring.predictions import with_predictions
from sparkml_lifecycle.scoring.progress import Progress, show_progress
from sparkml_lifecycle.scoring.record import Report
from sparkml_lifecycle.scoring.ship import ship
from sparkml_lifecycle.scoring.source import check_columns

__all__ = ["Progress", "Report", "score", "score_table", "show_progress"]


def score(
    df: Any,
    model: str | Path,
    *,
    keep: Sequence[str] | None = None,
    output: str = "prediction",
    prefix: str = "",
    result_type: Any = None,
    predict_fn: str | None = None,
    params: Mapping[str, Any] | None = None,
    evaluator: Literal["auto", "fast", "native"] = "auto",
    client: LifecycleClient | None = None,
    allow_code: bool | None = None,
) -> Any:
    """A DataFrame with a model's predictions and their stamps beside its columns; nothing is computed yet.

    Parameters
    ----------
    df : DataFrame
        Its columns are matched to the model's by name.
    model : str
        The model's URI.
    keep : sequence of str, optional
        The columns to keep; all of them where it is not given.
    output : str
        The name of the prediction column.
    prefix : str
        Put before the names of the prediction and its stamps, where they clash with others.
    result_type, predict_fn, params, evaluator
        As for :func:`sparkml_lifecycle.pyfunc.spark_udf`.
    client : LifecycleClient, optional
        The lake of ``runs:/`` URIs.
    allow_code : bool, optional
        Consent to code out of the model directory.

    Returns
    -------
    DataFrame
        The kept columns, then ``prediction``, ``model_name``, ``model_version``, ``model_run_id``, ``model_digest`` and
        ``scored_at``, the time of this call.

    Raises
    ------
    SchemaError
        If a column is missing, has a type that would lose values, or bears the name of a new one.
    NotFound, ConsentRequired, MissingLibrary, FormatError
        As :func:`sparkml_lifecycle.pyfunc.load_model`.
    """
    if not hasattr(df, "sparkSession"):
        raise InvalidInput(
            f"score(df, model): df is a Spark DataFrame, found {type(df).__name__}. For a table by path: score_table."
        )
    conf = check(
        {
            "model": os.fspath(model), "source": {"path": "a DataFrame", "format": "sql"}, "target": {"path": "nowhere"}, "mode": "overwrite",
            "keep": None if keep is None else list(keep), "output": output, "prefix": prefix, "predict_fn": predict_fn,
            "evaluator": evaluator,
            "params": dict(params or {}), "allow_code": allow_code,
        },
        "score(...)",
    )  # fmt: skip
    chosen = find_model(conf, client or LifecycleClient())
    check_columns(df, chosen.model)
    layout = layout_of(df.columns, chosen.model, conf, output_type(chosen.model, result_type, predict_fn))
    return with_predictions(
        df, chosen.model, layout, ship(df.sparkSession, chosen.directory, chosen.consent, evaluator=evaluator)
    )


def score_table(
    spark: Any,
    model: str | Path,
    source: str | Path | Mapping[str, Any],
    target: str | Path | Mapping[str, Any],
    *,
    mode: Literal["incremental", "overwrite", "append"] = "incremental",
    job: str = "default",
    client: LifecycleClient | None = None,
    progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> Report:
    """Score a table into a Delta table, in one commit.

    Parameters
    ----------
    spark : SparkSession or None
        With None the job runs in processes of this machine, without Spark; a script then needs ``if __name__ == "__main__":``.
    model : str
        The model's URI.
    source : str or mapping
        The path of a Delta table; or ``{"path": …, "format": "parquet", "options": {…}}`` as in a conf file.
    target : str or mapping
        The path of a Delta table; or ``{"path": …, "partition_by": […], "merge_schema": …}``.
    mode : {"incremental", "overwrite", "append"}
        What the source has gained since the job last read it; everything, replaced; or everything, once for a ``batch`` name.
    job : str
        The name under which the target remembers what was read.
    client : LifecycleClient, optional
        The lake that records the job; the current one where it is not given.
    progress : callable, optional
        Given a :class:`sparkml_lifecycle.scoring.Progress` about once a second while rows are scored;
        :func:`sparkml_lifecycle.scoring.show_progress` shows it on stderr.
    **options
        The other keys of a conf file: ``where``, ``keep``, ``batch``, ``engine``, ``redo``, ``accept`` …; see
        :class:`sparkml_lifecycle.scoring.conf.JobConf`.

    Returns
    -------
    Report
        Rows, seconds, the target's version, which engine ran and why not a faster one.

    Raises
    ------
    JobStopped
        If rows would be doubled, lost or erased unless somebody chooses; the message names the choices.
    ConfigError, SchemaError, ScoringError, NotFound, Conflict
        As :func:`sparkml_lifecycle.scoring.job.run_job`.

    Examples
    --------
    >>> report = ml.scoring.score_table(spark, "runs:/<run_id>/model", "/data/flights", "/data/scored")  # doctest: +SKIP
    >>> report.pace                                                                                       # doctest: +SKIP
    '336,776 rows in 2.1 s'
    """
    if hasattr(source, "sparkSession"):
        raise InvalidInput(
            "score_table(spark, model, source, target): source is a path, found a DataFrame. For its rows: "
            "scoring.score(df, model).write…, or source={'path': 'select …', 'format': 'sql'}."
        )
    content = {"model": os.fspath(model), "source": _place(source), "target": _place(target), "mode": mode, "job": job}
    conf = check({**content, **options}, "score_table(...)")
    return run_job(spark, conf, client or LifecycleClient(conf.tracking_uri), progress=progress)


def _place(given: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    return dict(given) if isinstance(given, Mapping) else {"path": os.fspath(given)}
