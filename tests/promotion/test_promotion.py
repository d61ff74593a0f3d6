"""Gates: what is required, what was found, what moved and what the history says."""

import math
import re

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import (
    accuracy_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

import sparkml_lifecycle as ml
from sparkml_lifecycle import package, promotion
from sparkml_lifecycle.errors import Conflict, InvalidInput, NotFound, SchemaError
from sparkml_lifecycle.package import Description
from sparkml_lifecycle.promotion import gate, measure
from tests.registry.models import FRAME, log_mean


@pytest.fixture
def churn(client):
    """Three versions whose runs have the mae 13, 12 and 14; the first is in Production and the champion."""
    for mae in (13.0, 12.0, 14.0):
        metrics = {"mae": mae, "val/mae": mae + 1, "nothing": math.nan}
        log_mean(client, mae, metrics=metrics.items(), registered_model_name="churn")
    client.transition_model_version_stage("churn", 1, "Production")
    client.set_registered_model_alias("churn", "champion", 1)
    return client


def test_a_version_that_passes_is_moved_in_one_step(churn):
    verdict = promotion.promote(
        churn, "churn", 2, ["Production", "@champion"], ["metrics.mae <= 12.5", "metrics.mae <= champion.mae * 1.01"],
        check_signature=True, check_load=True, comment="march data",
    )  # fmt: skip
    assert verdict.passed
    assert verdict.version == "2"
    assert [(one.what, one.passed) for one in verdict.checks] == [
        ("metrics.mae <= 12.5", True), ("metrics.mae <= champion.mae * 1.01", True), ("signature", True), ("loads and predicts", True),
    ]  # fmt: skip
    assert verdict.checks[1].found == "metrics.mae = 12, champion.mae = 13"
    assert (
        churn.get_version_of("models:/churn@champion").version
        == churn.get_version_of("models:/churn/Production").version
        == "2"
    )
    assert churn.get_model_version("churn", 1).current_stage == "Archived"
    last = churn.get_model_history("churn")[-4:]
    assert [(one.what, one.version, one.before, one.after, one.comment) for one in last] == [
        ("gate", "2", None, "passed", "march data"),
        ("stage", "1", "Production", "Archived", "march data"),
        ("stage", "2", None, "Production", "march data"),
        ("alias", None, "1", "2", "march data"),
    ]
    assert len({one.timestamp for one in last}) == 1
    assert last[0].details["checks"][0] == {"what": "metrics.mae <= 12.5", "passed": True, "found": "metrics.mae = 12"}


def test_one_that_does_not_pass_stays_and_the_history_says_why(churn):
    verdict = promotion.promote(churn, "churn", "latest", require="metrics.mae <= champion.mae * 1.01")
    assert (verdict.passed, verdict.version) == (False, "3")
    assert churn.get_version_of("models:/churn/Production").version == "1"
    last = churn.get_model_history("churn")[-1]
    assert (last.what, last.version, last.after, last.details["to"]) == ("gate", "3", "failed", ["Production"])


@pytest.mark.parametrize(
    ("text", "passed", "found"),
    [
        ("metrics.mae < champion.mae and metrics.mae < production.mae", True, "metrics.mae = 12"),
        ("metrics.`val/mae` = 13", True, "13"),
        ("metrics.mae.max >= metrics.mae.min", True, "metrics.mae.max = 12"),
        ("not (metrics.mae > 13 or metrics.mae < 11)", True, "12"),
        ("abs.mae > 1", None, "'abs' in a requirement is no alias"),
        ("metrics.mae + 1 <= current.mae", True, "current.mae = 13"),
        ("(metrics.mae - champion.mae) / champion.mae <= -0.05", True, "13"),
        ("params.value = 12", True, "params.value = '12.0'"),
        ("params.value = '12.0'", True, "'12.0'"),
        ("params.value != 12", False, "'12.0'"),
        ("metrics.nothing <= 12 or metrics.mae > 0", False, "NaN is neither"),
        ("not metrics.nothing > 12", False, "NaN is neither"),
        ("params.value < -champion.mae", False, "12"),
        ("tags.validated = 'yes'", True, "'yes'"),
        ("tags.validatd = 'yes'", False, "no tag 'validatd'. Did you mean 'validated'"),
        ("metrics.mea <= 12", False, "no metric 'mea'. Did you mean 'mae'"),
        ("metrics.nothing <= 12", False, "NaN"),
        ("params.depth = 3", False, "no param 'depth'"),
        ("metrics.mae <= challenger.mae", None, "'challenger' in a requirement is no alias of the model"),
        ("metrics.mae <= staging.mae", True, "nobody is in Staging yet: nothing to compare with"),
        ("metrics.mae <= staging.mae and metrics.mae > 99", False, "nobody is in Staging yet"),
        ("metrics.mae <= staging.mae and metrics.mae < 99", True, "metrics.mae = 12"),
        ("metrics.mae <= staging.mae or metrics.mae > 99", True, "nobody is in Staging yet"),
        ("not (metrics.mae > staging.mae or metrics.mae > 99)", True, "nobody is in Staging yet"),
        ("not (metrics.mae > staging.mae or metrics.mae < 99)", False, "nobody is in Staging yet"),
        ("tags.validated > 3", False, "'yes' is no number"),
        ("metrics.mae / 0 > 1", False, "division by zero"),
    ],
)
def test_requirements(churn, text, passed, found):
    churn.set_model_version_tag("churn", 2, "validated", "yes")
    if passed is None:
        with pytest.raises(InvalidInput, match=found):
            promotion.promote(churn, "churn", 2, require=text)
        return
    [check] = promotion.promote(churn, "churn", 2, require=[text]).checks
    assert check.passed is passed
    assert found in check.found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a requirement is a text"),
        ("metrics.mae", "compares nothing"),
        ("metrics.mae <=", "cannot be read"),
        ("mae <= 3", "say what it is of, such as metrics.mae"),
        ("metrics.mae <= abs(-3)", "Allowed: names"),
        ("0.8 <= metrics.mae <= 0.99", "compares a comparison"),
        ("metrics.mae and metrics.mae < 99", "compares nothing in 'metrics.mae'"),
        ("metrics.mae < 99 -- and metrics.mae < 5", "holds a comment"),
        (" and ".join(["metrics.mae < 99"] * 3000), "more than 500 parts|too deep"),
        ("(" * 3000 + "metrics.mae < 99" + ")" * 3000, "too deep|more than 500"),
        ("metrics.mae in (1, 2)", "compares nothing"),
        ("(select 1) = 1", "Allowed: names"),
        ("1 + 1", "compares nothing"),
        ("metrics.mae <= 3; drop table x", "compares nothing"),
        (3, "found '3'|compares nothing"),
    ],
)
def test_a_requirement_that_cannot_be_read_moves_nothing(churn, text, said):
    before = churn.get_model_history("churn")
    with pytest.raises(InvalidInput, match=f"(?i){said}"):
        promotion.promote(churn, "churn", 2, require=[text])
    assert churn.get_model_history("churn") == before


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"to": "Prodution"}, InvalidInput, "Did you mean 'Production'"),
        ({"to": "champion"}, InvalidInput, "The alias is written '@champion'"),
        ({"to": []}, InvalidInput, "no stage and no alias"),
        ({"to": ["Staging", "Production"]}, InvalidInput, "one stage at a time"),
        ({"to": "@3"}, InvalidInput, "looks like a version"),
        ({"version": 9}, NotFound, "no version 9"),
        ({"version": "@nobody"}, NotFound, "no alias 'nobody'"),
        ({"require": ()}, InvalidInput, "Nothing is required, so this is no gate"),
        ({"evaluate": "x"}, InvalidInput, "go together"),
        ({"evaluate": "nothing-there", "label": "y"}, NotFound, "no Delta table"),
    ],
)
def test_what_is_asked_wrongly_moves_nothing(churn, arguments, error, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = churn.get_model_history("churn")
    with pytest.raises(error, match=said):
        promotion.promote(
            churn, **{"name": "churn", "version": 2, "to": "Production", "require": "metrics.mae < 99", **arguments}
        )
    assert churn.get_model_history("churn") == before


def test_the_first_version_has_nothing_to_be_compared_with(client):
    log_mean(client, 1.0, metrics={"mae": 3.0}.items(), registered_model_name="churn")
    verdict = promotion.promote(
        client, "churn", 1, ["Production", "@champion"], "metrics.mae <= champion.mae", check_signature=True
    )
    assert verdict.passed
    assert "nobody is in @champion yet" in verdict.checks[0].found
    assert client.get_registered_model("churn").aliases == {"champion": "1"}


@pytest.mark.parametrize(
    ("requirement", "said"),
    [
        ("metrics.mae <= champion.mae", "@champion any more .the alias was taken away"),
        ("metrics.mae <= best.mae", "@best any more .the alias was taken away"),
        ("metrics.mae <= staging.mae", "Staging any more .there was a version before"),
    ],
)
def test_a_place_that_was_held_once_is_missed(client, requirement, said):
    for mae in (3.0, 2.0):
        log_mean(client, mae, metrics={"mae": mae}.items(), registered_model_name="churn")
    for alias in ("champion", "best"):
        client.set_registered_model_alias("churn", alias, 1)
        client.delete_registered_model_alias("churn", alias)
    client.transition_model_version_stage("churn", 1, "Staging")
    client.transition_model_version_stage("churn", 1, "Archived")
    [check] = promotion.promote(client, "churn", 2, require=requirement).checks
    assert not check.passed
    assert re.search(said, check.found)


def test_a_champion_in_other_letters_is_told(client):
    log_mean(client, 3.0, metrics={"mae": 3.0}.items(), registered_model_name="churn")
    client.set_registered_model_alias("churn", "Champion", 1)
    [check] = promotion.promote(client, "churn", 1, require="metrics.mae <= champion.mae").checks
    assert (check.passed, "there is @Champion" in check.found) == (False, True)


def test_an_answer_that_widens_without_loss_fits(client, tmp_path):
    from xgboost import XGBRegressor

    truth = [1.0, 2.0]
    for number, model in enumerate((LinearRegression(), XGBRegressor(n_estimators=2, n_jobs=1), LinearRegression()), 1):
        package.save(model.fit(FRAME, truth), tmp_path / str(number), Description(input_example=FRAME))
        client.register_model(tmp_path / str(number), "churn")
    client.transition_model_version_stage("churn", 1, "Production")
    # float where double was is fine, and the other way a caller may lose digits
    assert promotion.promote(client, "churn", 2, check_signature=True).passed
    [check] = promotion.promote(client, "churn", 3, check_signature=True).checks
    assert (check.passed, "it answers" in check.found) == (False, True)


def test_a_signature_that_callers_could_not_use_is_told(client, tmp_path):
    log_mean(client, 1.0, registered_model_name="churn")
    client.transition_model_version_stage("churn", 1, "Production")
    other = pd.DataFrame({"a": ["x", "y"], "c": [1.0, 2.0]})
    from sklearn.dummy import DummyClassifier

    package.save(DummyClassifier().fit(other, ["u", "v"]), tmp_path / "other", Description(input_example=other))
    client.register_model(tmp_path / "other", "churn")
    package.save(LinearRegression().fit(FRAME.to_numpy(), [1.0, 2.0]), tmp_path / "bare", Description())
    client.register_model(tmp_path / "bare", "churn")
    [check] = promotion.promote(client, "churn", 2, check_signature=True).checks
    assert not check.passed
    for said in (
        "takes 'a' as string, the version there now as double",
        "takes 'c', which the version there now does not",
        "it answers",
    ):
        assert said in check.found
    [check] = promotion.promote(client, "churn", 3, check_signature=True).checks
    assert not check.passed
    assert "has no signature" in check.found


def test_a_model_that_was_changed_does_not_load_through_a_gate(churn):
    next(churn.resolve("models:/churn/2").glob("model.*")).write_bytes(b"x")
    verdict = promotion.promote(churn, "churn", 2, check_load=True, check_signature=True)
    assert not verdict.passed
    assert len(verdict.checks) == 3
    assert all("is not what was registered" in one.found for one in verdict.checks)
    assert not promotion.promote(churn, "churn", 2, require="metrics.mae > 0").passed


def test_keep_existing_archives_nobody(churn):
    promotion.promote(churn, "churn", 2, require="metrics.mae > 0", keep_existing=True)
    assert churn.get_model_version("churn", 1).current_stage == "Production"


def test_somebody_who_moves_the_champion_meanwhile_makes_it_look_again(churn, monkeypatch):
    seen = []
    checked = gate._Trial._checked

    def slowly(self, requirement):
        found = checked(self, requirement)
        seen.append(found.found)
        if len(seen) == 1:
            churn.set_registered_model_alias("churn", "champion", 3)
        return found

    monkeypatch.setattr(gate._Trial, "_checked", slowly)
    assert promotion.promote(churn, "churn", 2, "@champion", "metrics.mae <= champion.mae").passed
    assert seen == ["metrics.mae = 12, champion.mae = 13", "metrics.mae = 12, champion.mae = 14"]
    monkeypatch.setattr(
        gate._Trial,
        "_checked",
        lambda self, one: [
            churn.set_registered_model_alias("churn", "champion", 1 + int(self._places["@champion"]) % 3),
            checked(self, one),
        ][1],
    )
    with pytest.raises(Conflict, match="meanwhile"):
        promotion.promote(churn, "churn", 2, "@champion", "metrics.mae <= champion.mae")


# -- on a table ------------------------------------------------------------------------------------------------------------


def labelled(path, rows=501, batches=3):
    """A table of a and b with labels that are numbers, classes, and missing in places; gives it as a frame."""
    import numpy as np

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=rows), "b": rng.normal(size=rows)})
    frame["y"] = frame.a * 3 + rng.normal(size=rows)
    frame["kind"] = np.where(frame.y > 0, "up", "down")
    frame["one"] = (frame.y > 0).astype("int64")
    frame.loc[::7, "y"] = np.nan
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for part in range(batches):
        write_deltalake(path, table.slice(part * rows // batches, rows // batches), mode="append")
    return table.slice(0, rows // batches * batches).to_pandas()


def test_both_models_are_measured_on_the_table(client, tmp_path):
    frame = labelled(tmp_path / "truth").dropna()
    ml.set_tracking_uri(client.tracking_uri)
    models = [LinearRegression().fit(frame[names], frame.y) for names in (["a"], ["a", "b"])]
    for model in models:
        with ml.start_run():
            ml.log_metric("mae", 100.0)
            ml.log_model(
                model, "model", input_example=frame[list(model.feature_names_in_)].head(), registered_model_name="m"
            )
    client.set_registered_model_alias("m", "champion", 1)
    verdict = promotion.promote(
        client, "m", 2, "@champion", ["metrics.mae <= champion.mae * 1.1", "metrics.rmse < 2", "metrics.r2 > 0.5", "metrics.max_error > 0", f"metrics.rows = {len(frame)}"],
        evaluate=tmp_path / "truth", label="y",
    )  # fmt: skip
    assert verdict.passed, verdict.checks
    details = client.get_model_history("m", 2)[-2].details
    assert details["evaluated_on"] == {"path": str(tmp_path / "truth"), "version": 2, "label": "y"}
    for version, model in zip(("1", "2"), models, strict=True):
        answers = model.predict(frame[list(model.feature_names_in_)])
        expected = {
            "mae": mean_absolute_error(frame.y, answers), "rmse": root_mean_squared_error(frame.y, answers), "r2": r2_score(frame.y, answers),
        }  # fmt: skip
        assert {key: details["metrics"][version][key] for key in expected} == pytest.approx(expected)


@pytest.mark.parametrize("label", ["kind", "one"])
def test_classes_are_measured(client, tmp_path, label):
    frame = labelled(tmp_path / "truth")
    model = LogisticRegression().fit(frame[["a", "b"]], frame[label])
    package.save(model, tmp_path / "m", Description(input_example=frame[["a", "b"]].head()))
    found = measure.LabelledTable(client, tmp_path / "truth", label).measure(package.read(tmp_path / "m"))
    chances = model.predict_proba(frame[["a", "b"]])
    assert found == pytest.approx(
        {
            "accuracy": accuracy_score(frame[label], model.predict(frame[["a", "b"]])), "log_loss": log_loss(frame[label], chances),
            "roc_auc": roc_auc_score(frame[label], chances[:, 1]), "rows": len(frame),
        }
    )  # fmt: skip


def test_labels_and_answers_are_compared_as_they_are(client, tmp_path):
    import numpy as np
    from sklearn.dummy import DummyClassifier, DummyRegressor

    def measured(model, answers, labels):
        place = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        fitted = model.fit(FRAME, answers)
        package.save(fitted, place, Description(input_example=FRAME))
        write_deltalake(f"{place}-t", pa.table({"a": [1.0, 2.0], "b": [1.0, 2.0], "y": labels}))
        return measure.LabelledTable(client, f"{place}-t", "y").measure(package.read(place))

    # longer classes than labels are no labels
    assert measured(DummyClassifier(), ["nope", "nope"], ["n", "n"])["accuracy"] == 0
    assert measured(DummyClassifier(), [1, 1], ["1", "2"])["accuracy"] == 0.5
    # what the model does not know has no probability
    assert set(measured(DummyClassifier(), [0, 1], ["yes", "no"])) == {"accuracy", "rows"}
    assert "roc_auc" in measured(DummyClassifier(strategy="prior"), ["down", "up"], ["up", "down"])
    with pytest.raises(InvalidInput, match="answers numbers, and the labels are"):
        measured(DummyRegressor(), [1.0, 2.0], ["1", "2"])
    with pytest.raises(SchemaError, match="classes are texts, numbers or booleans"):
        measured(DummyClassifier(), [1, 2], pa.array([[1], [2]]))
    found = measured(DummyRegressor(), [1.0, 2.0], [1.0, float("nan")])
    assert np.isnan([found[key] for key in ("mae", "rmse", "max_error")]).all()


def test_a_table_that_nothing_is_asked_of_is_refused(churn, tmp_path):
    labelled(tmp_path / "truth")
    with pytest.raises(InvalidInput, match="nothing would be evaluated"):
        promotion.promote(churn, "churn", 2, check_load=True, evaluate=tmp_path / "truth", label="y")
    verdict = promotion.promote(
        churn, "churn", 2, require="metrics.nothing < 1", evaluate=tmp_path / "truth", label="y"
    )
    assert verdict.checks[0].found == "'nothing' is not computed on the table; there are mae, rmse, r2, max_error, rows"


def test_a_table_that_does_not_fit_says_so(client, churn, tmp_path):
    labelled(tmp_path / "truth")
    with pytest.raises(SchemaError, match="no column 'yy'"):
        promotion.promote(churn, "churn", 2, require="metrics.mae < 1", evaluate=tmp_path / "truth", label="yy")
    write_deltalake(tmp_path / "narrow", pa.table({"a": [1.0], "y": [1.0]}))
    with pytest.raises(SchemaError, match="lacks b, which the model takes"):
        promotion.promote(churn, "churn", 2, require="metrics.mae < 1", evaluate=tmp_path / "narrow", label="y")
    write_deltalake(tmp_path / "empty", pa.table({"a": [1.0], "b": [1.0], "y": pa.array([None], pa.float64())}))
    with pytest.raises(InvalidInput, match="no row with a value in 'y'"):
        promotion.promote(churn, "churn", 2, require="metrics.mae < 1", evaluate=tmp_path / "empty", label="y")
