"""A big model on a local cluster, in a process of its own: ``python -m tests.scoring.large FOLDER MEGABYTES ENGINE ...``."""

import json
import sys
from pathlib import Path

from sparkml_lifecycle import pyfunc


def heavy(folder):
    """A model that says who loads it from where."""

    class Heavy(pyfunc.PythonModel):
        def load_context(self, context):
            import os

            with open(f"{folder}/loads", "a") as file:
                place = os.path.realpath(context.artifacts["weights"])
                file.write(f"{os.getpid()} {os.path.getsize(place)} {place}\n")

        def predict(self, context, model_input, params=None):
            return model_input["value"] * 2

    return Heavy()


def main(folder, megabytes, *engines):
    """Score a table by some engines; prints what was found as JSON."""
    import os

    import pandas as pd
    import pyarrow as pa
    from deltalake import DeltaTable, write_deltalake

    from sparkml_lifecycle import scoring
    from sparkml_lifecycle.client import LifecycleClient
    from sparkml_lifecycle.scoring import split
    from sparkml_lifecycle.spark import get_spark

    with (folder / "weights").open("wb") as weights:
        weights.truncate(megabytes * 2**20)
    example = pd.DataFrame({"value": [1.0, 2.0]})
    pyfunc.save_model(
        str(folder / "model"), python_model=heavy(str(folder)), artifacts={"weights": str(folder / "weights")}, input_example=example,
        allow_code=True,
    )  # fmt: skip
    for start in range(8):
        rows = pa.table({"id": pa.array(range(start * 1000, start * 1000 + 1000), pa.int64()), "value": [1.0] * 1000})
        write_deltalake(str(folder / "source"), rows, mode="append")
    (folder / "loads").unlink(missing_ok=True)
    spark = get_spark("large", master="local-cluster[2,1,1024]")
    split._LEAST_BYTES = 1
    client = LifecycleClient(str(folder / "lake"))
    for engine in engines:
        scoring.score_table(
            spark, str(folder / "model"), str(folder / "source"), str(folder / f"target-{engine}"), engine=engine, allow_code=True,
            client=client,
        )  # fmt: skip
    loads = [line.split(" ", 2) for line in (folder / "loads").read_text().splitlines()]
    # the driver loads it too, to see what it answers
    loads = [one for one in loads if int(one[0]) != os.getpid()]
    rows = [DeltaTable(str(folder / f"target-{engine}")).to_pyarrow_table().num_rows for engine in engines]
    print(json.dumps({"loads": loads, "rows": rows}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
