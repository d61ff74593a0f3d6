"""H2O's trees scored without Java: equal to genmodel, and left to it where something is not known."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import sparkml_lifecycle as ml
from sparkml_lifecycle import package
from sparkml_lifecycle.errors import FormatError, InvalidInput
from sparkml_lifecycle.evaluators import choice
from sparkml_lifecycle.evaluators.trees import h2o_ties
from sparkml_lifecycle.evaluators.trees.answers import Unknown
from sparkml_lifecycle.evaluators.verification import difference, hurting_rows
from sparkml_lifecycle.flavors.genmodel import trees

pytestmark = [
    pytest.mark.h2o,
    pytest.mark.filterwarnings("ignore::Warning:h2o.*"),
    pytest.mark.filterwarnings("ignore:.*H2O"),
]
h2o = pytest.importorskip("h2o")

NULL = "null!"
NUMBERS, TEXTS = ["speed", "heat", "gate"], ["color", "wide", "code"]
FEATURES = NUMBERS + TEXTS


def rows(count: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "speed": random.normal(size=count).round(3),
            "heat": random.normal(size=count),
            "gate": random.integers(0, 9, count).astype(float),
            "color": random.choice(["red", "green", "blue", "Ünïcode, comma"], count),
            "wide": random.choice([f"L{i:03}" for i in range(150)], count),
            "code": random.choice(["1", "2", "10", "-5"], count),
        }
    )
    wide = frame["wide"].str[1:].astype(int)
    score = frame["speed"] * 2 + (frame["gate"] == 3) + (frame["color"] == "red") * 2 + np.sin(wide)
    score += (frame["code"] == "10") + random.normal(size=count) / 4
    frame["amount"], frame["positive"] = score, np.exp(score / 3)
    frame["count"] = np.maximum(score.round(), 0)
    frame["answer"] = np.where(score > 1, "YES", "NO")
    frame["class"] = np.select([score < 0, score < 1.5], ["a", "b"], "c")
    for step, name in ((11, "speed"), (13, "gate"), (7, "color"), (17, "wide"), (19, "code")):
        frame.loc[frame.index % step == 3, name] = None
    return frame


def recipes() -> dict[str, tuple[Any, str, list[str]]]:
    from h2o import estimators as e

    boosted, forest, xgboost = (
        e.H2OGradientBoostingEstimator,
        e.H2ORandomForestEstimator,
        e.H2OXGBoostEstimator,
    )
    small: dict[str, Any] = {"ntrees": 12, "max_depth": 4, "seed": 1}

    def gbm(response: str, **options: Any) -> tuple[Any, str, list[str]]:
        return boosted(**small, **options), response, FEATURES

    found = {
        "gbm": gbm("amount"), "gbm_binomial": gbm("answer"), "gbm_multinomial": gbm("class"),
        "gbm_poisson": gbm("count", distribution="poisson"), "gbm_gamma": gbm("positive", distribution="gamma"),
        "gbm_tweedie": gbm("count", distribution="tweedie"), "gbm_laplace": gbm("amount", distribution="laplace"),
        "gbm_huber": gbm("amount", distribution="huber"),
        "gbm_quantile": gbm("amount", distribution="quantile", quantile_alpha=0.8),
        "gbm_balanced": gbm("answer", balance_classes=True), "gbm_one_hot": gbm("answer", categorical_encoding="one_hot_explicit"),
        "gbm_eigen": gbm("amount", categorical_encoding="eigen"), "gbm_limited": gbm("amount", categorical_encoding="enum_limited"),
        "gbm_numbers": (boosted(**small), "answer", NUMBERS),
        "drf": (forest(ntrees=6, max_depth=30, min_rows=1, seed=1), "amount", FEATURES),
        "drf_binomial": (forest(**small), "answer", FEATURES),
        "drf_double": (forest(**small, binomial_double_trees=True), "answer", FEATURES),
        "drf_multinomial": (forest(ntrees=4, max_depth=20, seed=1), "class", FEATURES),
        "drf_balanced": (forest(**small, balance_classes=True), "class", FEATURES),
    }  # fmt: skip
    if xgboost.available():
        found |= {
            "xgboost": (xgboost(**small), "amount", FEATURES),
            "xgboost_binomial": (xgboost(**small), "answer", FEATURES),
            "xgboost_multinomial": (xgboost(**small), "class", FEATURES),
            "xgboost_poisson": (xgboost(**small, distribution="poisson"), "count", FEATURES),
            "xgboost_sparse": (xgboost(**small, dmatrix_type="sparse"), "amount", FEATURES),
        }
    return found


NAMES = [
    "gbm", "gbm_binomial", "gbm_multinomial", "gbm_poisson", "gbm_gamma", "gbm_tweedie", "gbm_laplace", "gbm_huber",
    "gbm_quantile", "gbm_balanced", "gbm_one_hot", "gbm_eigen", "gbm_limited", "gbm_numbers", "gbm_platt", "drf",
    "drf_binomial", "drf_double", "drf_multinomial", "drf_balanced", "xgboost", "xgboost_binomial",
    "xgboost_multinomial", "xgboost_poisson", "xgboost_sparse",
]  # fmt: skip
REFUSED = {"gbm_offset": "offset", "gbm_isotonic": "calibration", "glm": "saved without trees.npz"}


@pytest.fixture(scope="module")
def training() -> pd.DataFrame:
    return rows(2500, 1)


@pytest.fixture(scope="module")
def saved(training: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model directory of each name; they outlive the server."""
    from h2o import estimators as e

    folder = tmp_path_factory.mktemp("models")
    h2o.init(nthreads=2, max_mem_size="2G", port=54937, bind_to_localhost=True, verbose=False)
    try:
        h2o.no_progress()
        texts = [*TEXTS, "answer", "class"]
        kinds = {name: "enum" if name in texts else "real" for name in training.columns}
        plain = training.assign(**{name: training[name].fillna(NULL) for name in TEXTS})
        frame = h2o.H2OFrame(plain, column_types=kinds, na_strings=[NULL])
        todo = recipes()
        small: dict[str, Any] = {"ntrees": 5, "seed": 1}
        for name, method in (("gbm_platt", "PlattScaling"), ("gbm_isotonic", "IsotonicRegression")):
            options = {"calibrate_model": True, "calibration_frame": frame, "calibration_method": method}
            todo[name] = e.H2OGradientBoostingEstimator(**small, **options), "answer", FEATURES
        offset = e.H2OGradientBoostingEstimator(**small, distribution="poisson", offset_column="heat")
        todo["gbm_offset"] = offset, "count", ["speed", "gate", *TEXTS]
        todo["glm"] = e.H2OGeneralizedLinearEstimator(), "amount", NUMBERS
        for name, (model, response, features) in todo.items():
            model.train(x=features, y=response, training_frame=frame)
            columns = [*features, "heat"] if name == "gbm_offset" else features
            ml.save_model(model, str(folder / name), input_example=training[columns].head(15))
    finally:
        h2o.cluster().shutdown()
    return folder


def loaded(saved: Path, name: str, evaluator: str = "auto") -> Any:
    if not (saved / name).is_dir():
        pytest.skip("H2O has no XGBoost on this machine")
    return package.read(saved / name, evaluator=evaluator)


def odd_rows(model: Any) -> pa.Table:
    """Rows at and beside the thresholds, fresh ones, and categories that were not in training."""
    scorer = model.evaluator.scorer
    hurting = hurting_rows(scorer.ensemble, model._input_schema(), scorer.levels, np.random.default_rng(0))
    fresh = rows(3000, 2)
    fresh.loc[fresh.index % 9 == 4, "color"] = "never seen"
    fresh.loc[fresh.index % 10 == 5, "wide"] = "L999"
    fresh.loc[5, "speed"] = np.inf
    own = pa.Table.from_pandas(fresh[model.input_names], preserve_index=False).cast(hurting.schema)
    return pa.concat_tables([hurting, own])


def same(expected: dict[str, Any], found: dict[str, Any]) -> None:
    assert difference(expected, found, np.zeros(1)) is None


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_genmodels(name: str, saved: Path) -> None:
    model = loaded(saved, name)
    assert model.evaluator.name == "trees", model.evaluator.why
    table = odd_rows(model)
    for method in ("predict", "predict_proba") if model.unwrap().probabilities else ("predict",):
        same(model._native(table, method), model.evaluator.scorer.answer(table, method))


@pytest.mark.parametrize("name", ["gbm", "gbm_multinomial", "drf", "xgboost"])
def test_a_column_of_categories_may_be_a_dictionary(name: str, saved: Path, training: pd.DataFrame) -> None:
    model, native = loaded(saved, name), loaded(saved, name, "native")
    table = pa.Table.from_pandas(training[FEATURES], preserve_index=False)
    encoded = table
    for text in TEXTS:
        column = table[text].combine_chunks().dictionary_encode()
        encoded = encoded.set_column(FEATURES.index(text), text, column)
    assert model.predict_columns(encoded).equals(model.predict_columns(table))
    for given, wanted in zip(model.predict_columns(table).columns, native.predict_columns(table).columns, strict=True):
        assert difference(wanted, given, np.zeros(1)) is None


def test_a_model_without_a_signature_knows_its_texts(saved: Path, training: pd.DataFrame, tmp_path: Path) -> None:
    ml.h2o.save_model(saved / "gbm" / "model.zip", str(tmp_path / "model"))
    model = loaded(tmp_path, "model")
    assert model.evaluator.name == "trees"
    table = pa.Table.from_pandas(training[FEATURES], preserve_index=False)
    same(loaded(saved, "gbm", "native")._native(table, "predict"), model.evaluator.scorer.answer(table, "predict"))


def test_columns_that_the_model_does_not_read(saved: Path, training: pd.DataFrame, tmp_path: Path) -> None:
    example = training[[*FEATURES, "answer"]].head(15)
    ml.h2o.save_model(saved / "gbm" / "model.zip", str(tmp_path / "texts"), input_example=example)
    assert loaded(tmp_path, "texts").evaluator.name == "trees"
    example = example.assign(when=pd.Timestamp("2026-01-01"))
    ml.h2o.save_model(saved / "gbm" / "model.zip", str(tmp_path / "times"), input_example=example)
    assert "'when' is given as timestamp" in loaded(tmp_path, "times").evaluator.why


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known_is_left_to_java(name: str, saved: Path, training: pd.DataFrame) -> None:
    model = loaded(saved, name)
    assert model.evaluator.name == "native"
    assert REFUSED[name] in model.evaluator.why
    assert len(model.predict(training[model.input_names])) == len(training)
    with pytest.raises(InvalidInput, match=REFUSED[name]):
        loaded(saved, name, "fast").evaluator  # noqa: B018


WITHOUT_JAVA = """
import sys
import pandas
from sparkml_lifecycle import package
model = package.read(sys.argv[1])
model.predict(pandas.read_parquet(sys.argv[2])).to_parquet(sys.argv[3])
assert model.evaluator.name == "trees"
assert "jpype" not in sys.modules
"""


@pytest.mark.parametrize("name", ["gbm", "gbm_binomial", "drf_multinomial", "xgboost"])
def test_a_worker_scores_without_java(name: str, saved: Path, training: pd.DataFrame, tmp_path: Path) -> None:
    native = loaded(saved, name, "native").predict(training[FEATURES])
    training[FEATURES].to_parquet(tmp_path / "rows.parquet")
    arguments = [str(saved / name), str(tmp_path / "rows.parquet"), str(tmp_path / "answers.parquet")]
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_JAVA, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "JAVA_HOME": "/none"}, check=False
    )
    assert done.returncode == 0, done.stderr
    found = pd.read_parquet(tmp_path / "answers.parquet")
    same({str(n): native[n].to_numpy() for n in native}, {str(n): found[n].to_numpy() for n in found})


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def of_another_format(path: Path) -> None:
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    header = arrays["header"].tobytes().replace(b'"format": 1', b'"format": 2')
    np.savez(path, **{**arrays, "header": np.frombuffer(header, np.uint8)})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (Path.unlink, "it was saved without trees.npz"),
        (damaged, "its trees.npz cannot be read"),
        (of_another_format, "has the format 2"),
    ],
)
def test_without_its_trees_a_model_scores_in_java(
    change: Any, why: str, saved: Path, training: pd.DataFrame, tmp_path: Path
) -> None:
    directory = tmp_path / "model"
    shutil.copytree(saved / "gbm", directory)
    change(directory / trees.FILE)
    model = loaded(tmp_path, "model", "native")
    assert why in model.unwrap().without_trees
    candidate = model._candidate()
    with pytest.raises(Unknown, match=why):
        choice.scorer_of(candidate)
    expected = loaded(saved, "gbm").predict(training[FEATURES])
    pd.testing.assert_frame_equal(model.predict(training[FEATURES]), expected, rtol=1e-12)


def test_trees_of_another_mojo_are_not_used(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved / "gbm", tmp_path / "model")
    shutil.copy(saved / "gbm_huber" / trees.FILE, tmp_path / "model" / trees.FILE)
    assert "belongs to another model.zip" in loaded(tmp_path, "model", "native").unwrap().without_trees


def test_a_damaged_mojo_is_a_format_error(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved / "gbm", tmp_path / "model")
    (tmp_path / "model" / "model.zip").write_bytes(b"PK damaged")
    with pytest.raises(FormatError, match=r"cannot read model\.zip"):
        loaded(tmp_path, "model")


def test_a_draw_is_javas() -> None:
    # new java.util.Random(42).nextDouble(), and of 0
    assert h2o_ties._drawn(42) == 0.7275636800328681
    assert h2o_ties._drawn(0) == 0.730967787376657
