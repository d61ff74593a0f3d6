"""XGBoost's UBJSON against its own JSON of the same model."""

import json

import numpy as np
import pandas as pd
import pytest
import xgboost

from sparkml_lifecycle.evaluators.trees import ubjson


@pytest.fixture(scope="module")
def booster():
    rng = np.random.default_rng(0)
    kinds = pd.Series(rng.choice(["a", "ä", "c", "d"], 400), dtype="category")
    frame = pd.DataFrame({"number": rng.normal(size=400), "kind": kinds})
    model = xgboost.XGBClassifier(n_estimators=5, max_depth=4, max_cat_to_onehot=1, enable_categorical=True)
    model.fit(frame, rng.integers(0, 3, 400))
    return model.get_booster()


def plain(value):
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, np.ndarray | list):
        return [plain(one) for one in value]
    return float(np.float32(value)) if isinstance(value, float | np.floating) else value


def test_it_is_what_the_json_says(booster):
    said = json.loads(bytes(booster.save_raw("json")))
    found = ubjson.decode(bytes(booster.save_raw("ubj")))
    assert any(len(tree["categories"]) for tree in said["learner"]["gradient_booster"]["model"]["trees"])
    assert plain(found) == plain(said)


@pytest.mark.parametrize("cut", [1, 2, 100, 1000, -1])
def test_half_a_document_is_refused(booster, cut):
    with pytest.raises(ValueError, match="no UBJSON"):
        ubjson.decode(bytes(booster.save_raw("ubj"))[:cut])


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"[#i\x02i\x01i\xff", [1, -1]), (b"[TFZ]", [True, False, None]), (b"{U\x01aSi\x02bc}", {"a": "bc"}), (b"D?\xf8" + bytes(6), 1.5),
    ],
)  # fmt: skip
def test_forms(content, value):
    assert ubjson.decode(content) == value


@pytest.mark.parametrize(
    "content", [b"", b"x", b"[$xi\x01", b"[$di\x01", b"Si\x05ab", b"[$d#i\x02" + bytes(7), b"[$d#i\xff"]
)
def test_other_bytes_are_refused(content):
    with pytest.raises(ValueError, match="no UBJSON"):
        ubjson.decode(content)
