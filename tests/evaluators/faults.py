"""What goes wrong on a machine while evaluators are compiled and used, as often as it is asked for."""

import os
import random
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pyarrow as pa
from sklearn.exceptions import ConvergenceWarning

from sparkml_lifecycle import package
from tests.evaluators import test_pipelines as pipelines
from tests.evaluators.models import save_booster, three_columns

_SCORE = """
import sys
from sparkml_lifecycle import package
import pyarrow as pa
from sklearn.exceptions import ConvergenceWarning
model = package.read(sys.argv[1], evaluator="fast")
print(model.predict(pa.table({"a": [1.0], "b": [2.0], "c": [3.0]})).tolist())
"""


def killed_compilers(place, rounds):
    """Kill processes that compile into an empty cache at any moment, two at a time; how many were in the midst of it.

    The next one must answer as the framework, whatever they have left.
    """
    directory = save_booster(three_columns(20_000), place / "model", trees=30)
    expected = str(package.read(directory, evaluator="native").predict(_row()).tolist())
    command = [sys.executable, "-c", _SCORE, str(directory)]
    killed = 0
    for number in range(rounds):
        environment = {**os.environ, "SPARKML_CACHE": str(place / str(number))}
        running = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for _ in range(2)]
        compiled = place / str(number) / "compiled"
        while not list(compiled.glob("*.lock")) and running[0].poll() is None:
            time.sleep(0.02)
        time.sleep(random.uniform(0, 2))
        for one in running:
            one.send_signal(signal.SIGKILL)
            killed += one.wait() == -signal.SIGKILL
        after = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300)
        assert after.stdout.strip() == expected
        assert len(list(compiled.glob("trees-*.o"))) == 1
    return killed


def many_threads(place, rounds):
    """One model asked by eight threads, each for pieces of its own; how many pieces were compared."""
    frame = three_columns(20_000)
    directory = save_booster(frame, place / "model", trees=30)
    model = package.read(directory, evaluator="fast")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    expected = package.read(directory, evaluator="native").predict(table)

    def piece(seed):
        chance = random.Random(seed)
        start = chance.randrange(table.num_rows)
        length = chance.choice([1, 7, 511, 512, 513, table.num_rows])
        np.testing.assert_array_equal(model.predict(table.slice(start, length)), expected[start : start + length])

    with ThreadPoolExecutor(8) as pool:
        return len(list(pool.map(piece, range(rounds))))


def all_pipelines(place, share=1.0):
    """Each encoder with each scaler and each last step, or a random share of them; how many were compared."""
    every = list(product(pipelines.ENCODERS, pipelines.SCALERS, pipelines.LAST))
    chosen = random.Random(0).sample(every, round(share * len(every)))
    for number, (encoder, scaler, last) in enumerate(chosen):
        rng = np.random.default_rng(number)
        frame = pipelines.flights(rng, 1500)
        y = pipelines.answer(frame)
        if "class" in last or last in ("logistic", "log descent"):
            y = np.array(["early", "in time", "late"])[np.digitize(y, np.quantile(y, [0.3, 0.7]))]
        parts = (pipelines.ENCODERS[encoder](), pipelines.SCALERS[scaler](), pipelines.LAST[last]())
        with warnings.catch_warnings():
            # a solver that was stopped early is a model like any other
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = pipelines.pipeline(*parts).fit(frame, y)
        fast, native = pipelines.saved(model, frame, place / str(number))
        assert fast.evaluator.scorer is not None, (encoder, scaler, last, fast.evaluator)
        rows = pa.Table.from_pandas(pipelines.flights(rng, 3000), preserve_index=False)
        pipelines.assert_alike(fast, native, rows, fast.evaluator.scorer.exact)
    return len(chosen)


def _row():
    return pa.table({"a": [1.0], "b": [2.0], "c": [3.0]})
