"""Models and rows for the tests of evaluators."""

import numpy as np
import pandas as pd
import pyarrow as pa
import xgboost
from hypothesis import strategies as st

from sparkml_lifecycle import package
from sparkml_lifecycle.evaluators import verification
from sparkml_lifecycle.evaluators.scorer import TreesScorer
from sparkml_lifecycle.package import Description


def three_columns(rows):
    """A frame of the columns a, b and c."""
    return pd.DataFrame(np.random.default_rng(0).normal(size=(rows, 3)), columns=list("abc"))


def save_booster(frame, directory, trees):
    """Train XGBoost on such a frame and save it; gives the directory."""
    model = xgboost.XGBRegressor(n_estimators=trees, n_jobs=1).fit(frame, frame.a * 3 + frame.b)
    package.save(model, directory, Description(input_example=frame.head(3)))
    return directory


def matrix(rng, rows, columns, *, missing=False, whole=False):
    """Columns of several kinds: wide, narrow, of few values, constant."""
    x = rng.normal(size=(rows, columns)) * 10.0 ** rng.integers(-3, 4, columns)
    if whole:
        x = np.round(x)
    if columns > 1:
        x[:, 0] = np.round(x[:, 0] / (np.abs(x[:, 0]).max() + 1e-9) * 3)
    if columns > 2:
        x[:, 2] = 7.5
    if missing:
        x[rng.random(x.shape) < 0.15] = np.nan
    return x


def table(x, names=None):
    """A matrix as Arrow columns; NaN is null."""
    names = names or [str(i) for i in range(x.shape[1])]
    return pa.table([pa.array(x[:, i], from_pandas=True) for i in range(x.shape[1])], names=names)


def rows_for(found, columns, seed=0):
    """Rows that hurt, as a table and as a matrix."""
    schema = pa.schema([(str(i), pa.float64()) for i in range(columns)])
    rows = verification.hurting_rows(found.ensemble, schema, {}, np.random.default_rng(seed))
    return rows, np.column_stack([rows.column(i).to_numpy() for i in range(columns)])


def scorer(found, columns, **options):
    """The evaluator of what a reader found."""
    return TreesScorer(found, {}, columns, takes_unknown=options.get("takes_unknown", True))


@st.composite
def shapes(draw):
    """(seed, rows of training, columns, missing, whole numbers)."""
    return (
        draw(st.integers(0, 2**32 - 1)),
        draw(st.sampled_from([1, 2, 7, 60, 400])),
        draw(st.integers(1, 6)),
        draw(st.booleans()),
        draw(st.booleans()),
    )
