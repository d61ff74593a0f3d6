"""Small models for the tests of the registry."""

from pathlib import Path

import pandas as pd
from sklearn.dummy import DummyRegressor

import sparkml_lifecycle as ml
from sparkml_lifecycle import package
from sparkml_lifecycle.package import Description

FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})


def mean(value):
    """A model that answers ``value`` whatever it is asked."""
    return DummyRegressor(strategy="constant", constant=value).fit(FRAME, [0.0, 1.0])


def save_mean(directory, value):
    """Save such a model; gives the directory."""
    package.save(mean(value), directory, Description(input_example=FRAME))
    return Path(directory)


def log_mean(client, value, experiment="Default", metrics=(), **description):
    """Log such a model in a run of its own; gives its URI and the run's id."""
    ml.set_tracking_uri(client.tracking_uri)
    ml.set_experiment(experiment)
    with ml.start_run() as run:
        ml.log_metrics(dict(metrics))
        ml.log_param("value", value)
        ml.log_model(mean(value), "model", input_example=FRAME, **description)
    return f"runs:/{run.info.run_id}/model", run.info.run_id
