"""A row's answer is the framework's own for that row, and never depends on the rows beside it."""

import datetime as dt
import math
import threading
from functools import cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparkml_lifecycle import errors, package
from sparkml_lifecycle.model.signature import Column, Signature, infer_signature
from sparkml_lifecycle.package import Description

ROWS = 120
BIG = 2**60


def rows() -> pd.DataFrame:
    """A column of each kind that has its own null, the same every time."""
    random = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "x": random.normal(size=ROWS),
            "k": random.integers(0, 5, ROWS),
            "id": BIG + random.integers(0, 4, ROWS),
            "f": random.random(ROWS) > 0.5,
            "s": random.choice(["a", "b", "c"], ROWS),
            "t": pd.to_datetime("2024-01-01") + pd.to_timedelta(random.integers(0, 10**6, ROWS), "s"),
        }
    )


def target(frame):
    return (frame["x"] + frame["k"] * 2 + (frame["s"] == "b") * 3 + (frame["id"] - BIG)).to_numpy(dtype=float)


def seconds(frame):
    return frame.astype("int64") // 10**9


def columns_apart():
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder
    from sklearn.tree import DecisionTreeRegressor

    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    features = make_column_transformer(
        (codes, ["id"]),
        (
            make_pipeline(
                SimpleImputer(strategy="most_frequent"), OneHotEncoder(sparse_output=False, handle_unknown="ignore")
            ),
            ["s"],
        ),
        (FunctionTransformer(seconds), ["t"]),
        remainder="passthrough",
    )
    frame = rows()
    with_gaps = frame.assign(s=frame["s"].where(frame.index % 7 != 0))
    return make_pipeline(features, DecisionTreeRegressor(max_depth=9, random_state=0)).fit(with_gaps, target(frame))


def imputed():
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline

    frame = rows()[["x", "k", "f"]]
    return make_pipeline(SimpleImputer(), Ridge()).fit(frame, frame["k"])


def partly_imputed():
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    frame = rows()[["x", "k", "s"]]
    features = make_column_transformer((OneHotEncoder(), ["s"]), (SimpleImputer(), ["x"]), remainder="passthrough")
    return make_pipeline(features, LinearRegression()).fit(frame, target(rows()))


def levels():
    import xgboost

    frame = rows()[["x", "k", "s"]].assign(s=lambda d: d["s"].astype("category"))
    return xgboost.XGBRegressor(n_estimators=10, max_depth=3, n_jobs=1, enable_categorical=True).fit(
        frame, target(rows())
    )


def forest_of_whole_numbers():
    from sklearn.ensemble import RandomForestRegressor

    frame = rows()[["k", "f"]].astype("int64")
    return RandomForestRegressor(5, random_state=0).fit(frame.to_numpy(), frame["k"] * 10.0)


def described(frame):
    parts = [frame[name].map(lambda v: "-" if v is None or pd.isna(v) else str(v)) for name in frame.columns]
    return ["|".join(row) for row in zip(*parts, strict=True)]


@cache
def saved(name, directory):
    """The model of a recipe, saved with a signature of ``rows()`` and loaded."""
    make, columns, sample = {
        "columns apart": (columns_apart, ["x", "k", "id", "f", "s", "t"], True),
        "imputed": (imputed, ["x", "k", "f"], True),
        "partly imputed": (partly_imputed, ["x", "k", "s"], True),
        "levels": (levels, ["x", "k", "s"], True),
        "a forest of whole numbers": (forest_of_whole_numbers, ["k", "f"], True),
        "a function": (lambda: described, ["x", "k", "id", "f", "s"], False),
        "a function without a signature": (lambda: described, ["x", "k", "id", "f", "s"], None),
    }[name]
    model, frame = make(), rows()[columns]
    if name == "levels":
        frame = frame.assign(s=frame["s"].astype("category"))
    example, signature = frame.head(5) if sample else None, None
    if name == "a forest of whole numbers":
        example = frame.astype("int64").to_numpy()[:5]
    if sample is False:
        nullable = tuple(Column(c.name, c.type) for c in infer_signature(frame).columns)
        signature = Signature(nullable, (Column(None, pa.string()),))
    path = f"{directory}/{name.replace(' ', '-')}"
    package.save(model, path, Description(input_example=example, signature=signature, allow_code=True))
    return model, columns, package.read(path, allow_code=True)


MODELS = [
    "columns apart", "imputed", "partly imputed", "levels", "a forest of whole numbers", "a function",
    "a function without a signature",
]  # fmt: skip
VALUES = {
    "x": st.one_of(st.none(), st.floats(-5, 5), st.just(math.nan)),
    "k": st.one_of(st.none(), st.integers(0, 6)),
    "id": st.one_of(st.none(), st.integers(BIG, BIG + 4), st.just(3)),
    "f": st.one_of(st.none(), st.booleans()),
    "s": st.one_of(st.none(), st.sampled_from(["a", "b", "c"])),
    "t": st.one_of(
        st.none(), st.just(dt.datetime(9999, 12, 31)), st.datetimes(dt.datetime(2024, 1, 1), dt.datetime(2024, 2, 1))
    ),
}
TYPES = {
    "x": pa.float64(),
    "k": pa.int64(),
    "id": pa.int64(),
    "f": pa.bool_(),
    "s": pa.string(),
    "t": pa.timestamp("us"),
}


def same(found, wanted):
    assert len(found) == len(wanted)
    for mine, theirs in zip(found, wanted, strict=True):
        if isinstance(mine, float) and isinstance(theirs, float):
            assert (
                mine == theirs or (math.isnan(mine) and math.isnan(theirs)) or mine == pytest.approx(theirs, rel=1e-12)
            )
        else:
            assert mine == theirs


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_row_answers_alike_whatever_rows_are_beside_it(name, data, tmp_path_factory):
    _, columns, model = saved(name, _directory(tmp_path_factory))
    batch = data.draw(st.lists(st.tuples(*(VALUES[c] for c in columns)), min_size=1, max_size=5))
    table = pa.table(
        [pa.array(values, TYPES[c]) for c, values in zip(columns, zip(*batch, strict=True), strict=True)], names=columns
    )
    if name == "a forest of whole numbers":
        table = table.set_column(1, "f", table["f"].cast(pa.int64()))
    wanted = pa.string() if name.startswith("a function") else pa.float64()
    together = model.predict_as(table, wanted).to_pylist()
    alone = [model.predict_as(table.slice(i, 1), wanted)[0].as_py() for i in range(len(batch))]
    same(together, alone)
    same(model.predict_columns(table).column(0).to_pylist(), together)
    cut = data.draw(st.integers(0, len(batch)))
    same(
        model.predict_as(table.slice(0, cut), wanted).to_pylist()
        + model.predict_as(table.slice(cut), wanted).to_pylist(),
        together,
    )


_folder = {}


def _directory(factory):
    if not _folder:
        _folder["it"] = str(factory.mktemp("loaded"))
    return _folder["it"]


def own_rows(frame):
    """Each row as a frame of its own, in the types that pandas gives it: what the framework itself is asked."""
    for i in range(len(frame)):
        row = frame.iloc[[i]].reset_index(drop=True)
        yield row.astype(
            {c: "float64" for c in row if row[c].dtype == object and c in ("k", "f", "id") and row[c].isna().any()}
        )


@pytest.mark.parametrize("name", ["columns apart", "imputed", "levels"])
def test_a_row_with_nulls_answers_what_the_framework_itself_says(name, tmp_path_factory):
    own, columns, model = saved(name, _directory(tmp_path_factory))
    frame = rows()[columns].head(30)
    types = {c: pa.array(frame[c]).type for c in columns}
    holes = {
        c: [None if (i + j) % 4 == 0 and c != "id" else v for i, v in enumerate(frame[c].tolist())]
        for j, c in enumerate(columns)
    }
    table = pa.table({c: pa.array(holes[c], types[c] if c != "t" else pa.timestamp("us")) for c in columns})
    wanted = []
    for i in range(table.num_rows):
        row = table.slice(i, 1)
        parts = {}
        for c in columns:
            null = row[c].null_count > 0
            value = row[c].to_pylist()
            dtype = "float64" if null and c in ("k", "f") else "datetime64[ns]" if c == "t" else frame[c].dtype
            parts[c] = pd.Series([np.nan if null and c != "t" else value[0]], dtype=dtype)
            if c == "s" and name == "levels":
                parts[c] = parts[c].astype(pd.CategoricalDtype(["a", "b", "c"]))
        wanted.append(float(own.predict(pd.DataFrame(parts))[0]))
    same(model.predict_as(table, pa.float64()).to_pylist(), wanted)


# -- integers and times --------------------------------------------------------------------------------------------------


def loaded(model, tmp_path, **description):
    package.save(model, tmp_path / "m", Description(allow_code=True, **description))
    return package.read(tmp_path / "m", allow_code=True)


def test_a_null_in_a_batch_of_an_integer_array_is_missing(tmp_path):
    model = forest_of_whole_numbers()
    found = loaded(model, tmp_path, input_example=np.array([[1, 0], [2, 1]])).predict(
        pa.table({"a": [3, None], "b": [1, 0]})
    )
    np.testing.assert_array_equal(found, [*model.predict([[3, 1]]), *model.predict([[np.nan, 0]])])


def test_an_integer_array_column_keeps_its_integers_and_its_nulls(tmp_path):
    model = forest_of_whole_numbers()
    found = loaded(model, tmp_path, input_example=np.array([[1, 0], [2, 1]]))
    table = pa.table({"v": pa.array([[3, 1], None, [None, 0]], pa.list_(pa.int64()))})
    answers = found.predict_as(table, pa.float64()).to_pylist()
    assert answers == [model.predict([[3, 1]])[0], None, model.predict([[np.nan, 0]])[0]]
    with pytest.raises(errors.SchemaError, match="arrays of 2 values; the array column also holds arrays of 3"):
        found.predict(pa.table({"v": [[1, 2], [1, 2, 3]]}))


def test_big_integers_keep_their_digits(tmp_path):
    ids = pd.DataFrame({"id": [2**53 + 1, 7]})
    signature = Signature((Column("id", pa.int64()),))
    model = loaded(lambda frame: frame["id"], tmp_path, signature=signature)
    assert list(model.predict(ids)) == [2**53 + 1, 7]
    table = pa.table({"id": pa.array([2**53 + 1, None, 7])})
    assert model.predict_as(table, pa.int64()).to_pylist() == [2**53 + 1, None, 7]


def test_integers_that_become_texts_are_spelled_as_in_training(tmp_path):
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

    frame = rows()[["k"]]
    model = make_pipeline(FunctionTransformer(as_text), OneHotEncoder(handle_unknown="ignore"), Ridge()).fit(
        frame, frame["k"]
    )
    found = loaded(model, tmp_path, input_example=frame.head())
    np.testing.assert_allclose(found.predict(frame), model.predict(frame), rtol=1e-12)


def as_text(frame):
    return frame.astype(str)


def test_times_arrive_in_the_unit_and_zone_of_training(tmp_path):
    naive = pd.DataFrame({"t": pd.to_datetime(["2024-01-01 10:00", "2024-06-01 23:30"])})
    zoned = naive.assign(t=naive["t"].dt.tz_localize("America/New_York"))
    for i, (frame, function) in enumerate(
        ((naive, lambda x: x["t"].astype("int64") // 10**9), (zoned, lambda x: x["t"].dt.hour))
    ):
        package.save(function, tmp_path / f"m{i}", Description(input_example=frame, allow_code=True))
        model = package.read(tmp_path / f"m{i}", allow_code=True)
        assert list(model.predict(frame)) == list(function(frame))
        # what Spark gives: microseconds, in the session's zone
        kind = pa.timestamp("us", None if i == 0 else "UTC")
        table = pa.table({"t": pa.Table.from_pandas(frame)["t"].cast(kind)})
        assert model.predict_columns(table).column(0).to_pylist() == list(function(frame))
    elsewhere = zoned.assign(t=zoned["t"].dt.tz_convert("Asia/Tokyo"))
    assert list(model.predict(elsewhere)) == list(elsewhere["t"].dt.hour)


def test_a_time_out_of_reach_of_nanoseconds_leaves_the_others_as_they_are(tmp_path):
    frame = pd.DataFrame({"t": pd.to_datetime(["2024-01-01 10:00"])})
    model = loaded(lambda x: [str(x["t"].dtype)] * len(x), tmp_path, input_example=frame)
    table = pa.table({"t": pa.array([dt.datetime(2024, 1, 1), dt.datetime(9999, 12, 31), None], pa.timestamp("us"))})
    assert model.predict_columns(table).column(0).to_pylist() == ["datetime64[ns]", "datetime64[us]", "datetime64[ns]"]


def test_columns_with_numbers_for_names_do_not_warn(tmp_path):
    from sklearn.linear_model import LinearRegression

    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 2)))
    model = LinearRegression().fit(frame, frame[0])
    found = loaded(model, tmp_path, input_example=frame.head(3))
    np.testing.assert_allclose(found.predict(frame), model.predict(frame), rtol=1e-12)


# -- containers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: pd.DataFrame({"a": x["x"] * 2, "b": "t"}),
        lambda x: x["x"] * 2,
        lambda x: (x["x"] * 2).to_numpy(),
        lambda x: {"a": (x["x"] * 2).to_numpy(), "b": (x["x"] * 3).to_numpy()},
        lambda x: [float(v) for v in x["x"]],
        lambda x: np.column_stack([x["x"], x["x"]]),
        lambda x: pa.table({"a": pa.array(x["x"])}),
        lambda x: {"a": pa.array(x["x"]), "b": pa.chunked_array([pa.array(x["x"])])},
    ],
)
def test_a_null_does_not_change_the_container(answer, tmp_path):
    frame = pd.DataFrame({"x": [1.0, 2.0], "k": [1, 2]})
    model = loaded(answer, tmp_path, input_example=frame)
    gap = pa.table({"x": [1.0, 2.0], "k": pa.array([1, None])})
    full, found = model.predict(frame), model.predict(gap)
    assert type(found) is type(full)
    assert model.predict_columns(gap).slice(0, 1).to_pylist() == model.predict_columns(frame).slice(0, 1).to_pylist()
    assert set(model.predict_columns(gap).slice(1).to_pylist()[0].values()) == {None}


def test_a_batch_of_left_out_rows_has_the_columns_and_types_of_any_other(tmp_path):
    from sklearn.linear_model import LogisticRegression

    frame = rows()[["x"]]
    model = loaded(LogisticRegression().fit(frame, rows()["s"]), tmp_path, input_example=frame.head())
    nulls, some = pa.table({"x": pa.array([None, None], pa.float64())}), pa.table({"x": [1.0, None]})
    for method in ("predict", "predict_proba", "decision_function"):
        empty = model.predict_columns(nulls, predict_fn=method)
        assert (empty.schema, empty.num_rows) == (model.predict_columns(some, predict_fn=method).schema, 2)
        assert type(model.predict(nulls, predict_fn=method)) is type(model.predict(some, predict_fn=method))
    for kind in (
        pa.list_(pa.float64()),
        pa.map_(pa.string(), pa.float64()),
        pa.struct([("a", pa.float64()), ("b", pa.float64()), ("c", pa.float64())]),
    ):
        assert model.predict_as(nulls, kind, predict_fn="predict_proba").to_pylist() == [None, None]
        assert model.predict_as(some, kind, predict_fn="predict_proba").to_pylist()[1] is None


def test_threads_agree_from_the_first_call_on(tmp_path):
    from sklearn.linear_model import LinearRegression

    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 40)), columns=[f"c{i}" for i in range(40)])
    model = loaded(LinearRegression().fit(frame, frame["c0"]), tmp_path, input_example=frame.head())
    gaps = frame.head(2).copy()
    gaps.iloc[0, 5] = np.nan
    found = []
    threads = [threading.Thread(target=lambda: found.append(np.isnan(model.predict(gaps)).tolist())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[True, False]] * 8


@pytest.mark.parametrize("method", ["fit", "set_params", "foo"])
def test_a_method_that_no_model_predicts_with_is_refused(method, tmp_path):
    import yaml

    package.save(imputed(), tmp_path / "m", Description())
    content = yaml.safe_load((tmp_path / "m" / "MLmodel").read_text())
    content["flavors"]["python_function"]["predict_fn"] = method
    (tmp_path / "m" / "MLmodel").write_text(yaml.safe_dump(content))
    with pytest.raises(errors.FormatError, match=f"names the method '{method}'"):
        package.read(tmp_path / "m")


def test_threads_are_held_of_the_copy_that_takes_matrices_too(tmp_path):
    from sklearn.ensemble import RandomForestRegressor

    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [3.0, 1.0, 2.0]})
    forest = RandomForestRegressor(3, n_jobs=2).fit(frame, frame.a)
    package.save(forest, tmp_path / "model", Description(input_example=frame))
    model = package.read(tmp_path / "model")
    assert model._of_matrix.n_jobs == 2
    model.limit_threads(1)
    assert model._of_matrix.n_jobs == model.unwrap().n_jobs == 1
