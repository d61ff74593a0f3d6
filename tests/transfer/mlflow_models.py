"""Fills an MLflow server by MLflow's own client: ``python -m tests.transfer.mlflow_models ADDRESS``."""

import sys
import tempfile
import warnings

import mlflow
from mlflow import MlflowClient
from sklearn.linear_model import LinearRegression

from tests.registry.models import FRAME


def main(address):
    """Register churn with the versions 1, 3 and 4, and fraud with one; prints the runs' ids."""
    warnings.simplefilter("ignore")
    mlflow.set_tracking_uri(address)
    mlflow.set_experiment("old days")
    client = MlflowClient()
    client.create_registered_model("churn", {"team": "crm"}, "who leaves")
    for number in range(1, 5):
        with mlflow.start_run(run_name=f"run {number}") as run:
            mlflow.log_param("number", number)
            mlflow.set_tag("colour", "blue")
            for step in range(3):
                mlflow.log_metric("mae", 10.0 - step - number, step=step)
            mlflow.log_input(mlflow.data.from_pandas(FRAME, name="frame"), "training")
            model = LinearRegression().fit(FRAME, [float(number), float(number)])
            info = mlflow.sklearn.log_model(model, name="model", input_example=FRAME, serialization_format="skops")
        made = client.create_model_version(
            "churn",
            info.model_uri,
            run.info.run_id,
            {"n": str(number)},
            description=f"version {number}",
            model_id=info.model_id,
        )
        print(run.info.run_id, made.version, flush=True)
    client.delete_model_version("churn", "2")
    client.transition_model_version_stage("churn", "3", "Production")
    client.transition_model_version_stage("churn", "1", "Archived")
    client.set_registered_model_alias("churn", "champion", "3")
    with tempfile.TemporaryDirectory() as folder:
        mlflow.sklearn.save_model(model, f"{folder}/m", serialization_format="skops")
        with mlflow.start_run():
            mlflow.log_artifacts(f"{folder}/m", "old_style")
            mlflow.register_model(f"runs:/{mlflow.active_run().info.run_id}/old_style", "fraud")


if __name__ == "__main__":
    main(sys.argv[1])
