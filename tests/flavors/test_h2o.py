"""H2O models against a real H2O server: each MOJO answers as the server does."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml

import sparkml_lifecycle as ml
from sparkml_lifecycle.errors import ConsentRequired, FormatError, InvalidInput, SchemaError
from sparkml_lifecycle.flavors import Saved, SaveOptions, by_loader, flavor_of
from sparkml_lifecycle.flavors.genmodel import LOADER, SCORER_JAR, build, is_our_loader
from sparkml_lifecycle.flavors.h2o import H2OFlavor

pytestmark = [
    pytest.mark.h2o,
    pytest.mark.filterwarnings("ignore::Warning:h2o.*"),
    pytest.mark.filterwarnings("ignore:.*H2O"),
]
h2o = pytest.importorskip("h2o")

NULL = "null!"  # H2O reads a missing string of a DataFrame as the level "", this one as missing
KINDS = {"num": "real", "flag": "int", "cat": "enum", "code": "enum", "wide": "enum", "shift": "real"} | {
    "amount": "real", "answer": "enum", "class": "enum", "rank": "enum", "count": "int", "binary": "int",
}  # fmt: skip
FEATURES = ["num", "flag", "cat", "code", "wide"]


def rows(count: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "num": random.normal(size=count),
            "flag": random.integers(0, 4, count).astype(float),
            "cat": random.choice(["red", "green", "blue", "Ünïcode, comma"], count),
            "code": random.choice(["1", "2", "10", "-5"], count),
            "wide": random.choice([f"L{i:02}" for i in range(40)], count),
            "shift": random.normal(size=count) / 4,
        }
    )
    score = (
        frame["num"]
        + frame["flag"] / 2
        + (frame["cat"] == "red")
        + (frame["code"] == "10") * 2
        + random.normal(size=count) / 5
    )
    frame["amount"] = score
    frame["answer"] = np.where(score > 1.5, "YES", "NO")
    frame["class"] = np.select([score < 0.5, score < 2], ["-1", "0"], "1")
    frame["rank"] = np.select([score < 0.5, score < 2], ["a", "b"], "c")
    frame["count"] = np.maximum(np.round(score), 0)
    frame["binary"] = (score > 1.5).astype(int)
    for step, name in ((11, "num"), (13, "flag"), (7, "cat"), (17, "code"), (19, "wide")):
        frame.loc[frame.index % step == 3, name] = None
    return frame


@pytest.fixture(scope="module")
def training() -> pd.DataFrame:
    return rows(400, 1)


@pytest.fixture(scope="module")
def fresh() -> pd.DataFrame:
    frame = rows(120, 2)
    frame.loc[frame.index % 9 == 4, "cat"] = "never seen"
    frame.loc[frame.index % 10 == 5, "wide"] = "L99"
    frame.loc[frame.index % 23 == 6, "code"] = "3"
    frame.loc[5, "num"] = 1e300
    return frame


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    h2o.init(
        nthreads=2, max_mem_size="2G", port=54931, bind_to_localhost=True, verbose=False, strict_version_check=True
    )
    h2o.no_progress()
    yield h2o
    h2o.cluster().shutdown()


def upload(frame: pd.DataFrame) -> Any:
    texts = [name for name in frame.columns if KINDS[name] == "enum"]
    plain = frame.assign(**{name: frame[name].fillna(NULL) for name in texts})
    return h2o.H2OFrame(plain, column_types={name: KINDS[name] for name in frame.columns}, na_strings=[NULL])


def ask(model: Any, frame: Any) -> pd.DataFrame:
    answers = model.predict(frame)
    return answers.as_data_frame(use_multi_thread=False)


# An H2O server gives a level that was not in training a number, which depends on the others in the frame. Most of its
# models read any such number as missing, these do not; genmodel always means missing.
UNSEEN_IS_MISSING_ONLY_HERE = {"gbm_one_hot", "gbm_binary", "gbm_eigen", "extended_isolation_forest", "kmeans"}


def without_unseen(frame: pd.DataFrame, training: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(
        **{name: frame[name].where(frame[name].isin(training[name].dropna())) for name in ("cat", "code", "wide")}
    )


@dataclass
class Case:
    model: Any
    server_says: pd.DataFrame
    server_says_without_unseen: pd.DataFrame
    directory: Path
    scorer: Any
    saved: Saved


def recipes() -> dict[str, tuple[Any, str | None, list[str]]]:
    from h2o import estimators as e

    small = {"ntrees": 8, "max_depth": 4, "seed": 1}
    f = FEATURES
    return {
        "gbm": (e.H2OGradientBoostingEstimator(**small), "amount", f),
        "gbm_binomial": (e.H2OGradientBoostingEstimator(**small), "answer", f),
        "gbm_multinomial": (e.H2OGradientBoostingEstimator(**small), "class", f),
        "gbm_quasibinomial": (e.H2OGradientBoostingEstimator(**small, distribution="quasibinomial"), "binary", f),
        "gbm_poisson_offset": (
            e.H2OGradientBoostingEstimator(**small, distribution="poisson", offset_column="shift"),
            "count",
            f,
        ),
        "gbm_one_hot": (e.H2OGradientBoostingEstimator(**small, categorical_encoding="one_hot_explicit"), "answer", f),
        "gbm_binary": (e.H2OGradientBoostingEstimator(**small, categorical_encoding="binary"), "amount", f),
        "gbm_eigen": (e.H2OGradientBoostingEstimator(**small, categorical_encoding="eigen"), "amount", f),
        "gbm_limited": (e.H2OGradientBoostingEstimator(**small, categorical_encoding="enum_limited"), "amount", f),
        "gbm_label": (e.H2OGradientBoostingEstimator(**small, categorical_encoding="label_encoder"), "amount", f),
        "drf": (e.H2ORandomForestEstimator(**small), "amount", f),
        "drf_binomial": (e.H2ORandomForestEstimator(**small), "answer", f),
        "drf_multinomial": (e.H2ORandomForestEstimator(**small), "class", f),
        "glm": (e.H2OGeneralizedLinearEstimator(), "amount", f),
        "glm_binomial": (e.H2OGeneralizedLinearEstimator(family="binomial"), "answer", f),
        "glm_multinomial": (e.H2OGeneralizedLinearEstimator(family="multinomial"), "class", f),
        "glm_ordinal": (e.H2OGeneralizedLinearEstimator(family="ordinal"), "rank", f),
        "glm_offset": (e.H2OGeneralizedLinearEstimator(offset_column="shift"), "amount", f),
        "xgboost": (e.H2OXGBoostEstimator(**small), "amount", f),
        "xgboost_binomial": (e.H2OXGBoostEstimator(**small), "answer", f),
        "xgboost_multinomial": (e.H2OXGBoostEstimator(**small), "class", f),
        "deeplearning": (e.H2ODeepLearningEstimator(hidden=[5], epochs=2, seed=1, reproducible=True), "amount", f),
        "deeplearning_binomial": (
            e.H2ODeepLearningEstimator(hidden=[5], epochs=2, seed=1, reproducible=True),
            "answer",
            f,
        ),
        "isolation_forest": (e.H2OIsolationForestEstimator(ntrees=5, seed=1), None, f),
        "isolation_forest_flag": (e.H2OIsolationForestEstimator(ntrees=5, seed=1, contamination=0.1), None, f),
        "extended_isolation_forest": (e.H2OExtendedIsolationForestEstimator(ntrees=5, seed=1), None, f),
        "kmeans": (e.H2OKMeansEstimator(k=3, seed=1), None, f),
        "pca": (e.H2OPrincipalComponentAnalysisEstimator(k=2, impute_missing=True, seed=1), None, f),
        "autoencoder": (e.H2OAutoEncoderEstimator(hidden=[3], epochs=1, seed=1, reproducible=True), None, f),
    }


NAMES = [
    "gbm", "gbm_binomial", "gbm_multinomial", "gbm_quasibinomial", "gbm_poisson_offset", "gbm_one_hot", "gbm_binary",
    "gbm_eigen", "gbm_limited", "gbm_label", "gbm_calibrated", "gbm_isotonic", "drf", "drf_binomial", "drf_multinomial",
    "glm", "glm_binomial", "glm_multinomial", "glm_ordinal", "glm_offset", "xgboost", "xgboost_binomial",
    "xgboost_multinomial", "deeplearning", "deeplearning_binomial", "ensemble", "isolation_forest",
    "isolation_forest_flag", "extended_isolation_forest", "kmeans", "pca", "autoencoder",
]  # fmt: skip


@pytest.fixture(scope="module")
def cases(
    server: Any, training: pd.DataFrame, fresh: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Case]:
    from h2o import estimators as e

    train, test, known = upload(training), upload(fresh), upload(without_unseen(fresh, training))
    models = {}
    for name, (model, response, features) in recipes().items():
        model.train(x=features, y=response, training_frame=train)
        models[name] = model
    for name, method in (("gbm_calibrated", "PlattScaling"), ("gbm_isotonic", "IsotonicRegression")):
        model = e.H2OGradientBoostingEstimator(
            ntrees=4, seed=1, calibrate_model=True, calibration_frame=train, calibration_method=method
        )
        model.train(x=FEATURES, y="answer", training_frame=train)
        models[name] = model
    common = {"nfolds": 2, "fold_assignment": "modulo", "keep_cross_validation_predictions": True, "seed": 1}
    bases = [e.H2OGradientBoostingEstimator(ntrees=3, **common), e.H2OGeneralizedLinearEstimator(**common)]
    for base in bases:
        base.train(x=FEATURES, y="answer", training_frame=train)
    models["ensemble"] = e.H2OStackedEnsembleEstimator(base_models=bases)
    models["ensemble"].train(x=FEATURES, y="answer", training_frame=train)
    flavor, made = H2OFlavor(), {}
    for name, model in models.items():
        directory = tmp_path_factory.mktemp(name)
        saved = flavor.save(model, directory, SaveOptions())
        assert not saved.runs_code
        made[name] = Case(
            model, ask(model, test), ask(model, known), directory, flavor.load(directory, saved.conf, False), saved
        )
    return made


def table(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)


def answers(case: Case, batch: pa.Table, method: str = "predict") -> dict[str, np.ndarray]:
    found = H2OFlavor().predict(case.scorer, batch, method, {})
    return {
        name: values.to_numpy(zero_copy_only=False) if isinstance(values, pa.Array) else values
        for name, values in found.items()
    }


def same(ours: dict[str, np.ndarray], theirs: pd.DataFrame, tolerance: float = 1e-12) -> None:
    assert list(ours) == list(theirs.columns)
    for name, values in ours.items():
        if values.dtype == object:
            assert values.tolist() == theirs[name].astype(str).tolist()
        else:
            np.testing.assert_allclose(
                values, theirs[name].to_numpy(dtype=float), rtol=tolerance, atol=tolerance, err_msg=name
            )


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_the_servers_own(
    name: str, cases: dict[str, Case], fresh: pd.DataFrame, training: pd.DataFrame
) -> None:
    case = cases[name]
    known = answers(case, table(without_unseen(fresh, training)))
    if (
        name == "gbm_eigen"
    ):  # the server computes this encoding anew from each frame, so only the training frame compares
        same(answers(case, table(training)), ask(case.model, upload(training)))
    else:
        same(known, case.server_says_without_unseen)
    ours = answers(case, table(fresh))
    assert as_bytes(ours) == as_bytes(known)
    if name not in UNSEEN_IS_MISSING_ONLY_HERE:
        same(ours, case.server_says)


def as_bytes(found: dict[str, np.ndarray], rows: slice = slice(None)) -> dict[str, Any]:
    return {
        name: values[rows].tolist() if values.dtype == object else values[rows].tobytes()
        for name, values in found.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_row_alone_answers_as_in_a_batch(name: str, cases: dict[str, Case], fresh: pd.DataFrame) -> None:
    batch = table(fresh)
    together = answers(cases[name], batch)
    for i in range(40):
        assert as_bytes(answers(cases[name], batch.slice(i, 1))) == as_bytes(together, slice(i, i + 1))


@pytest.mark.parametrize("name", ["gbm", "gbm_multinomial", "gbm_calibrated"])
def test_an_empty_batch_has_the_same_columns(name: str, cases: dict[str, Case], fresh: pd.DataFrame) -> None:
    found = H2OFlavor().predict(cases[name].scorer, table(fresh).slice(0, 0), "predict", {})
    assert list(found) == list(cases[name].server_says.columns)
    assert {len(values) for values in found.values()} == {0}


def test_columns_go_by_name_and_others_do_no_harm(cases: dict[str, Case], fresh: pd.DataFrame) -> None:
    batch = table(fresh)
    turned = batch.select(batch.column_names[::-1])
    assert as_bytes(answers(cases["gbm_binomial"], turned)) == as_bytes(answers(cases["gbm_binomial"], batch))


@pytest.mark.parametrize("name", ["gbm_binomial", "gbm_one_hot", "gbm_poisson_offset", "deeplearning", "ensemble"])
def test_every_arrow_form_of_a_column_answers_the_same(name: str, cases: dict[str, Case], fresh: pd.DataFrame) -> None:
    batch = table(fresh)
    expected = as_bytes(answers(cases[name], batch))
    texts = ["cat", "code", "wide"]
    numbers = ["code", "flag"]

    parts = [batch.slice(0, 50), batch.slice(50)]

    def changed(names: list[str], change: Callable[[pa.ChunkedArray], Any], rows: pa.Table = batch) -> pa.Table:
        return pa.table({n: change(rows[n]) if n in names else rows[n] for n in rows.column_names})

    def encoded(column: pa.ChunkedArray, nulls: str) -> pa.Array:
        return column.combine_chunks().dictionary_encode(null_encoding=nulls)

    for form in [
        changed(texts, lambda column: encoded(column, "mask")),
        # each chunk with a dictionary of its own, and with a null in the dictionary
        pa.concat_tables(changed(texts, lambda column: encoded(column, "encode"), part) for part in parts),
        changed(texts, lambda column: column.cast(pa.large_string())),
        changed(texts, lambda column: column.cast(pa.string_view())),
        changed(numbers, lambda column: column.cast(pa.int64())),
        changed(numbers, lambda column: column.cast(pa.float64())),
        changed(numbers, lambda column: column.cast(pa.float64()).fill_null(float("nan"))),
        changed(["flag"], lambda column: column.cast(pa.decimal128(5, 1))),
    ]:  # fmt: skip
        assert as_bytes(answers(cases[name], form)) == expected, form.schema


def test_an_all_null_column_of_no_type_is_missing(cases: dict[str, Case], fresh: pd.DataFrame) -> None:
    nothing = fresh.assign(num=np.nan, cat=None)
    typeless = (
        table(fresh)
        .drop(["num", "cat"])
        .append_column("num", pa.nulls(len(fresh)))
        .append_column("cat", pa.nulls(len(fresh)))
    )
    assert as_bytes(answers(cases["gbm"], typeless)) == as_bytes(answers(cases["gbm"], table(nothing)))


def test_a_batch_larger_than_the_shared_buffer(cases: dict[str, Case], fresh: pd.DataFrame) -> None:
    from sparkml_lifecycle.flavors.genmodel import sparkml_h2o_mojo

    repeats = 3 * sparkml_h2o_mojo._BUFFER // len(FEATURES) // 2 // len(fresh)
    once = answers(cases["gbm"], table(fresh))["predict"]
    np.testing.assert_array_equal(
        answers(cases["gbm"], pa.concat_tables([table(fresh)] * repeats))["predict"], np.tile(once, repeats)
    )


def test_a_missing_column_is_named(cases: dict[str, Case], fresh: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="needs the columns code, wide; found: num, flag, cat"):
        answers(cases["gbm"], table(fresh).drop(["code", "wide"]))
    with pytest.raises(SchemaError, match="shift"):
        answers(cases["gbm_poisson_offset"], table(fresh).drop(["shift"]))


def test_a_column_of_the_wrong_type_is_named(cases: dict[str, Case], fresh: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="numbers in the column 'num', found string"):
        answers(cases["gbm"], table(fresh.assign(num="3")))
    with pytest.raises(SchemaError, match="categories in the column 'cat', found list"):
        answers(cases["gbm"], table(fresh.assign(cat=[[1]] * len(fresh))))


@pytest.mark.parametrize("name", ["gbm_binomial", "gbm_multinomial", "gbm_calibrated", "gbm_quasibinomial"])
def test_probabilities_alone(name: str, cases: dict[str, Case], fresh: pd.DataFrame) -> None:
    everything = answers(cases[name], table(fresh))
    alone = answers(cases[name], table(fresh), "predict_proba")
    assert list(alone) == list(everything)[1:]
    assert as_bytes(alone) == {n: v for n, v in as_bytes(everything).items() if n != "predict"}


@pytest.mark.parametrize("name", ["gbm", "isolation_forest", "autoencoder"])
def test_a_model_without_probabilities_says_so(name: str, cases: dict[str, Case], fresh: pd.DataFrame) -> None:
    with pytest.raises(InvalidInput, match="has no probabilities"):
        answers(cases[name], table(fresh), "predict_proba")


def test_what_mlmodel_says_of_the_model(cases: dict[str, Case]) -> None:
    conf = cases["gbm_binomial"].saved.conf
    assert yaml.safe_load(yaml.safe_dump(dict(conf))) == conf
    assert {k: v for k, v in conf.items() if k != "columns"} == {
        "data": "model.zip", "h2o_version": "3.46.0.11", "model_category": "Binomial", "algo": "gbm",
        "offset_column": None, "response": "answer", "labels": ["NO", "YES"],
    }  # fmt: skip
    assert conf["columns"][:3] == [
        {"name": "num"},
        {"name": "flag"},
        {"name": "cat", "levels": sorted(["red", "green", "blue", "Ünïcode, comma"])},
    ]
    assert H2OFlavor().feature_names(cases["gbm_poisson_offset"].scorer) == [*FEATURES, "shift"]
    # an explicit encoding is inside the model: it is fed the columns that it was trained on
    assert sorted(H2OFlavor().feature_names(cases["gbm_one_hot"].scorer) or []) == sorted(FEATURES)


def test_the_flavor_is_found_for_the_model_and_its_loader(cases: dict[str, Case]) -> None:
    assert isinstance(flavor_of(cases["glm"].model), H2OFlavor)
    assert isinstance(flavor_of(cases["ensemble"].model), H2OFlavor)
    assert isinstance(by_loader("sparkml_h2o_mojo"), H2OFlavor)
    assert not H2OFlavor().matches("model.zip")


def test_missing_strings_of_a_dataframe_and_booleans_and_times(server: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    count = 300
    frame = pd.DataFrame({
        "text": random.choice(["a", "b", None], count), "truth": random.choice([True, False], count),
        "when": pd.Timestamp("2026-01-01") + pd.to_timedelta(random.integers(0, 10**9, count), unit="s"),
    })  # fmt: skip
    frame["kind"] = pd.Categorical(random.choice(["a", "b", None], count))
    frame["amount"] = (
        frame["text"].isna() * 2.0
        + frame["kind"].isna()
        + frame["truth"]
        + (frame["when"] - frame["when"].min()).dt.days / 1000
    )
    hex_frame = h2o.H2OFrame(frame)
    assert hex_frame.types == {"text": "enum", "truth": "enum", "when": "time", "kind": "enum", "amount": "real"}
    model = h2o.estimators.H2OGradientBoostingEstimator(ntrees=10, seed=1)
    model.train(x=["text", "truth", "when", "kind"], y="amount", training_frame=hex_frame)
    saved = H2OFlavor().save(model, tmp_path, SaveOptions())
    case = Case(
        model,
        ask(model, hex_frame),
        ask(model, hex_frame),
        tmp_path,
        H2OFlavor().load(tmp_path, saved.conf, False),
        saved,
    )
    assert case.scorer.domains == {"text": ["", "a", "b"], "truth": ["False", "True"], "kind": ["a", "b", "nan"]}
    batch = table(frame)
    expected = answers(case, batch)
    same(expected, case.server_says)
    assert len(np.unique(expected["predict"])) > 20
    zoned = batch.set_column(2, "when", pc.assume_timezone(batch["when"].cast(pa.timestamp("us")), "UTC"))
    assert as_bytes(answers(case, zoned)) == as_bytes(expected)
    dictionary = batch.set_column(0, "text", batch["text"].combine_chunks().dictionary_encode())
    assert as_bytes(answers(case, dictionary)) == as_bytes(expected)


def test_a_mojo_file_is_a_model_too(cases: dict[str, Case], fresh: pd.DataFrame, tmp_path: Path) -> None:
    saved = H2OFlavor().save(cases["xgboost"].directory / "model.zip", tmp_path, SaveOptions())
    scorer = H2OFlavor().load(tmp_path, saved.conf, False)
    found = H2OFlavor().predict(scorer, table(fresh), "predict", {})
    np.testing.assert_array_equal(found["predict"], answers(cases["xgboost"], table(fresh))["predict"])


def test_a_relative_directory_is_taken_and_several_answers_are_a_frame(
    cases: dict[str, Case], fresh: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    case = cases["gbm_multinomial"]
    ml.h2o.save_model(h2o_model=case.model, path="hd")
    assert (tmp_path / "hd" / "model.zip").is_file()
    found = ml.pyfunc.load_model("hd").predict(fresh)
    assert isinstance(found, pd.DataFrame)
    same({name: found[name].to_numpy() for name in found}, case.server_says)
    assert ml.h2o.load_model("hd").score(table(fresh)).keys() == set(found.columns)
    empty = ml.pyfunc.load_model("hd").predict(fresh.head(0))
    assert len(empty) == 0
    assert not list(tmp_path.glob(".*"))


def test_a_genmodel_jar_of_unknown_origin_needs_consent_and_gets_a_class_loader_of_its_own(
    cases: dict[str, Case], fresh: pd.DataFrame, tmp_path: Path
) -> None:
    shutil.copytree(cases["gbm"].directory, tmp_path, dirs_exist_ok=True)
    with zipfile.ZipFile(tmp_path / "h2o-genmodel.jar", "a") as jar:
        jar.writestr("another", "version")
    with pytest.raises(ConsentRequired, match=r"h2o-genmodel\.jar"):
        H2OFlavor().load(tmp_path, {}, False)
    scorer = H2OFlavor().load(tmp_path, {}, True)
    assert scorer.scorer._java.getClass() != cases["gbm"].scorer.scorer._java.getClass()
    np.testing.assert_array_equal(scorer.score(table(fresh))["predict"], answers(cases["gbm"], table(fresh))["predict"])


def test_the_scorer_in_the_directory_is_not_run(cases: dict[str, Case], tmp_path: Path) -> None:
    shutil.copytree(cases["gbm"].directory, tmp_path, dirs_exist_ok=True)
    (tmp_path / SCORER_JAR.name).write_bytes(b"something else")
    assert H2OFlavor().load(tmp_path, {}, False).scorer.algorithm == "gbm"


def test_a_damaged_mojo_is_a_format_error(cases: dict[str, Case], tmp_path: Path) -> None:
    shutil.copytree(cases["gbm"].directory, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.zip").write_bytes(b"PK damaged")
    with pytest.raises(FormatError, match=r"cannot read model\.zip"):
        H2OFlavor().load(tmp_path, {}, False)


def test_a_binary_model_of_mlflow_says_how_to_convert_it(tmp_path: Path) -> None:
    (tmp_path / "model.h2o").mkdir()
    with pytest.raises(FormatError, match=r"server of exactly version 3\.40\.0\.1 .*ml\.h2o\.save_model"):
        H2OFlavor().load(tmp_path, {"data": "model.h2o", "h2o_version": "3.40.0.1"}, False)


def test_a_kind_that_does_not_answer_rows_is_refused(server: Any, training: pd.DataFrame, tmp_path: Path) -> None:
    model = h2o.estimators.H2OTargetEncoderEstimator()
    model.train(x=["wide"], y="answer", training_frame=upload(training))
    with pytest.raises(InvalidInput, match="TargetEncoder"):
        H2OFlavor().save(model, tmp_path, SaveOptions())


def test_only_the_loader_that_is_shipped_is_ours(cases: dict[str, Case]) -> None:
    code = cases["gbm"].saved.code
    assert list(code) == ["sparkml_h2o_mojo.py"]
    assert is_our_loader(code["sparkml_h2o_mojo.py"])
    assert not is_our_loader(code["sparkml_h2o_mojo.py"] + b"\n")


def test_the_shipped_jar_is_what_the_source_compiles_to() -> None:
    classes = build.compile_classes()
    with zipfile.ZipFile(SCORER_JAR) as jar:
        shipped = {name: jar.read(name) for name in jar.namelist() if name.endswith(".class")}
    assert classes.keys() == shipped.keys()
    if classes != shipped:  # another javac
        assert {n: disassembled(n, c) for n, c in classes.items()} == {
            n: disassembled(n, c) for n, c in shipped.items()
        }
    else:
        assert build.pack(classes) == SCORER_JAR.read_bytes()


def disassembled(name: str, content: bytes) -> str:
    import tempfile

    with tempfile.TemporaryDirectory() as work:
        path = Path(work, Path(name).name)
        path.write_bytes(content)
        listing = subprocess.run(["javap", "-c", "-p", str(path)], check=True, capture_output=True, text=True).stdout
    return re.sub(r"#\d+", "#", listing)


def run(script: str, *arguments: str, **environment: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", script, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


BARE = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("sparkml_lifecycle", "h2o"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
model.predict(pandas.read_parquet(sys.argv[2])).to_parquet(sys.argv[3])
assert not any(name.partition(".")[0] == "sparkml_lifecycle" for name in sys.modules)
"""


@pytest.mark.parametrize("name", ["gbm_multinomial", "xgboost"])
def test_mlflow_alone_loads_and_predicts(
    name: str, cases: dict[str, Case], fresh: pd.DataFrame, tmp_path: Path
) -> None:
    case, directory = cases[name], tmp_path / "model"
    shutil.copytree(case.directory, directory)
    (directory / "code").mkdir()
    for file, content in case.saved.code.items():
        (directory / "code" / file).write_bytes(content)
    pyfunc = {
        "loader_module": H2OFlavor.loader_module,
        "code": "code",
        "python_version": sys.version.split()[0],
        **case.saved.pyfunc,
    }
    (directory / "MLmodel").write_text(
        yaml.safe_dump({"flavors": {"python_function": pyfunc, "h2o": dict(case.saved.conf)}})
    )
    fresh.to_parquet(tmp_path / "rows.parquet")
    run(BARE, str(directory), str(tmp_path / "rows.parquet"), str(tmp_path / "answers.parquet"))
    found = pd.read_parquet(tmp_path / "answers.parquet")
    assert as_bytes({n: found[n].to_numpy() for n in found}) == as_bytes(answers(case, table(fresh)))


ALONE = """
import importlib.util, os, signal, sys, threading, time
import pyarrow.parquet as pq
if "foreign" in sys.argv:
    import jpype
    jpype.startJVM(convertStrings=True)
spec = importlib.util.spec_from_file_location("loader", sys.argv[1])
loader = importlib.util.module_from_spec(spec)
spec.loader.exec_module(loader)
scorer = loader.MojoScorer(sys.argv[2])
rows = pq.read_table(sys.argv[3])
first = scorer.score(rows)["predict"]
if "fork" in sys.argv:
    child = os.fork()
    if child == 0:
        for call in (lambda: scorer.score(rows), lambda: loader.MojoScorer(sys.argv[2])):
            try:
                call()
            except RuntimeError as error:
                assert "forked" in str(error), error
            else:
                os._exit(3)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
if "interrupt" in sys.argv:
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(20)
        raise SystemExit("not interrupted")
    except KeyboardInterrupt:
        pass
if "threads" in sys.argv:
    found = []
    work = lambda: found.extend((scorer.score(rows)["predict"] == first).all() for _ in range(20))
    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert len(found) == 80 and all(found)
assert (scorer.score(rows)["predict"] == first).all()
print("well")
"""


@pytest.mark.parametrize("what", ["fork", "interrupt", "foreign", "threads"])
def test_java_in_a_process_of_its_own(what: str, cases: dict[str, Case], fresh: pd.DataFrame, tmp_path: Path) -> None:
    fresh.to_parquet(tmp_path / "rows.parquet")
    found = run(
        ALONE, str(LOADER), str(cases["gbm"].directory), str(tmp_path / "rows.parquet"), what, SPARKML_H2O_HEAP="200m"
    )
    assert found.strip() == "well"


def test_without_java_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import jpype

    from sparkml_lifecycle.flavors.genmodel import sparkml_h2o_mojo

    def none() -> str:
        raise jpype.JVMNotFoundException("no")

    monkeypatch.setattr(jpype, "getDefaultJVMPath", none)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(ImportError, match="install a JRE"):
        sparkml_h2o_mojo._find_jvm()
