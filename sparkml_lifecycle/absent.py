"""MLflow's names that are not here, each with what to do instead; asking for one is an AttributeError that says so."""

from collections.abc import Iterable

from sparkml_lifecycle.errors import nearest

_FRAMEWORK = (
    "no flavor of its own is here yet; wrap the model in a class: "
    "ml.pyfunc.log_model('model', python_model=MyModel(), allow_code=True)"
)
_LANGUAGE = "language models and traces are not part of this package"
_METRICS = "system metrics are not measured here; log what you measure: ml.log_metric('cpu', value)"
_AUTOLOG = "nothing is logged by itself; log what you want to keep: ml.log_params(…), ml.log_metric(…), ml.log_model(…)"

ABSENT: dict[str, str] = {
    "MlflowException": "it is in sparkml_lifecycle.exceptions, or catch sparkml_lifecycle.errors.LifecycleError",
    "autolog": _AUTOLOG,
    "catboost": _FRAMEWORK,
    "config": "settings are SPARKML_* environment variables: see sparkml_lifecycle.settings.Settings",
    "diviner": _FRAMEWORK,
    "doctor": "on the command line it is: sparkml doctor",
    "enable_system_metrics_logging": _METRICS,
    "evaluate": "no evaluation is built in; compute the metrics and log them: ml.log_metrics({'auc': …})",
    "genai": _LANGUAGE,
    "keras": _FRAMEWORK,
    "langchain": _LANGUAGE,
    "onnx": _FRAMEWORK,
    "openai": _LANGUAGE,
    "projects": "projects come with a later version",
    "prophet": _FRAMEWORK,
    "pytorch": _FRAMEWORK,
    "run": "projects come with a later version; run the script with its own Python",
    "set_system_metrics_sampling_interval": _METRICS,
    "shap": _FRAMEWORK,
    "spacy": _FRAMEWORK,
    "spark": "Spark ML pipelines have no flavor yet; the session is sparkml_lifecycle.spark.get_spark()",
    "start_span": _LANGUAGE,
    "statsmodels": _FRAMEWORK,
    "tensorflow": _FRAMEWORK,
    "trace": _LANGUAGE,
    "transformers": _FRAMEWORK,
}


def explain(name: str, known: Iterable[str]) -> str:
    """Why ``sparkml_lifecycle`` has no such name, and what to do instead."""
    said = f"module 'sparkml_lifecycle' has no attribute {name!r}"
    if name in ABSENT:
        return f"{said}: {ABSENT[name]}."
    near = nearest(name, known)
    return f"{said}. Did you mean {near!r}?" if near else said
