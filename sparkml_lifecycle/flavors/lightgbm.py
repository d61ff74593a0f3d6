"""LightGBM: a Booster in LightGBM's own text, the scikit-learn classes in skops."""

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sparkml_lifecycle.errors import ConsentRequired, FormatError, InvalidInput
from sparkml_lifecycle.flavors.base import BatchForm, Flavor, Saved, SaveOptions
from sparkml_lifecycle.flavors.sklearn import read_skops, write_skops
from sparkml_lifecycle.model.spelling import Spelling

_CLASSES = ("LGBMRegressor", "LGBMClassifier", "LGBMRanker")
# skops makes them out of attributes alone; a Booster reads its own text
_TRUSTED = frozenset(
    {"collections.OrderedDict", "lightgbm.basic.Booster", *(f"lightgbm.sklearn.{name}" for name in _CLASSES)}
)


class LightGBMFlavor(Flavor):
    """``Booster``, ``LGBMRegressor``, ``LGBMClassifier`` and ``LGBMRanker``, each laid out as MLflow does it.

    A model that stopped early predicts with its best iteration; the file of a Booster holds no trees after it.
    """

    name: ClassVar[str] = "lightgbm"
    loader_module: ClassVar[str] = "mlflow.lightgbm"
    packages: ClassVar[tuple[str, ...]] = ("lightgbm", "numpy", "scikit-learn")
    wants: ClassVar[BatchForm] = "pandas"
    methods: ClassVar[tuple[str, ...]] = ("predict", "predict_proba")

    def matches(self, model: object) -> bool:
        """Whether its class is one of LightGBM's."""
        return any(
            c.__module__ in ("lightgbm.basic", "lightgbm.sklearn") and c.__name__ in ("Booster", "LGBMModel")
            for c in type(model).__mro__
        )

    def save(self, model: Any, directory: Path, options: SaveOptions) -> Saved:
        """Write ``model.lgb`` of a Booster, ``model.skops`` of a scikit-learn class.

        Raises
        ------
        InvalidInput
            For a class derived from LightGBM's, which may do anything differently, and for a model that is not fitted.
        ConsentRequired
            For an estimator that holds a function, such as an objective of one's own, which only a pickle keeps.
        """
        import lightgbm

        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        conf: dict[str, Any] = {"model_class": kind, "lgb_version": lightgbm.__version__}
        if kind == "lightgbm.basic.Booster":
            (directory / "model.lgb").write_text(model.model_to_string(), encoding="utf-8", newline="\n")
            return Saved({**conf, "data": "model.lgb"}, {"data": "model.lgb"})
        if type(model).__name__ not in _CLASSES or kind not in _TRUSTED:
            raise InvalidInput(
                f"{kind} is none of LightGBM's own Booster, {', '.join(_CLASSES)}, and what it does differently would be lost. "
                "Save the booster (model.booster_) for its trees alone, or the whole object inside a "
                "pyfunc.PythonModel: pyfunc.save_model('dir', python_model=MyModel())."
            )
        if not model.__sklearn_is_fitted__():
            raise InvalidInput(f"The {type(model).__name__} is not fitted: call fit before it is saved.")
        reason, trusted = write_skops(model, directory / "model.skops", _TRUSTED)
        if reason is None:
            conf |= {"data": "model.skops", "serialization_format": "skops", "skops_trusted_types": trusted}
            return Saved(conf, {"data": "model.skops"})
        (directory / "model.skops").unlink(missing_ok=True)
        if not options.allow_code:
            raise ConsentRequired(
                f"This {type(model).__name__} cannot be saved without a pickle: {reason}. A pickle runs code when it is loaded; "
                "agree with allow_code=True here and where it is loaded (or SPARKML_ALLOW_CODE=1), or save model.booster_."
            )
        import cloudpickle

        (directory / "model.pkl").write_bytes(cloudpickle.dumps(model))
        conf |= {"data": "model.pkl", "serialization_format": "cloudpickle"}
        return Saved(conf, {"data": "model.pkl"}, runs_code=True)

    def load(self, directory: Path, conf: Mapping[str, Any], allow_code: bool) -> Any:
        """The Booster or the scikit-learn object; a pickle, as MLflow may write one, only with consent."""
        path = directory / str(conf.get("data", "model.lgb"))
        if not path.is_file():
            raise FormatError(f"MLmodel names the file {path.name!r}, which is not in {str(directory)!r}.")
        if str(conf.get("model_class", "lightgbm.basic.Booster")) == "lightgbm.basic.Booster":
            return _read_booster(path)
        if path.suffix == ".skops" or conf.get("serialization_format") == "skops":
            _check_skops(path)
            model = read_skops(path, allow_code, _TRUSTED)
        elif not allow_code:
            raise ConsentRequired(
                f"{path.name} is a pickle, which runs code when it is loaded. If you trust where it came from: allow_code=True, or SPARKML_ALLOW_CODE=1."
            )
        else:
            import cloudpickle

            model = cloudpickle.loads(path.read_bytes())
        if not self.matches(model) or not hasattr(model, "booster_"):
            raise FormatError(f"{path.name} holds no fitted model of LightGBM's.")
        return model

    def predict(self, model: Any, batch: Any, method: str, params: Mapping[str, Any]) -> Any:
        """Predictions of the best iteration; several columns for multi-class probabilities.

        Raises
        ------
        InvalidInput
            If the batch has the columns of training in another order: LightGBM does not look at names.
        """
        is_booster = type(model).__name__ == "Booster"
        _check_order(model if is_booster else model.booster_, batch)
        # else it repeats warnings about parameters of training
        options = {"verbosity": -1, **params}
        if is_booster:
            return model.predict(batch, **{"num_threads": model.params.get("num_threads", 0), **options})
        return self.named(model, getattr(model, method)(batch, **options), method)

    def named(self, model: Any, answers: Any, method: str) -> Any:
        """Probabilities by class."""
        if method == "predict_proba" and answers.ndim == 2 and answers.shape[1] == len(model.classes_):
            return {str(label): answers[:, i] for i, label in enumerate(model.classes_)}
        return answers

    def feature_names(self, model: Any) -> list[str] | None:
        """The names of the columns of training, where it had any; LightGBM puts ``_`` for a blank."""
        names = (model if type(model).__name__ == "Booster" else model.booster_).feature_name()
        return None if names == [f"Column_{i}" for i in range(len(names))] else names

    def answers_missing(self, model: Any) -> bool | None:
        """Always."""
        return True

    def has(self, model: Any, method: str) -> bool:
        """Only a classifier has ``predict_proba``."""
        return hasattr(model, method)

    def spelling(self, model: Any) -> Spelling:
        """A category that was not in training is kept: LightGBM itself, which knows all levels, takes it for missing."""
        return Spelling(unseen="kept")

    def categories(self, model: Any, said: Mapping[str, tuple[Any, ...]]) -> Mapping[str, tuple[Any, tuple[Any, ...]]]:
        """The levels of the columns that were categorical in training.

        The model keeps them without names. They are found where every categorical column had no order and none was given
        as numbers; else they are those of the signature.
        """
        import pyarrow as pa

        booster = model if type(model).__name__ == "Booster" else model.booster_
        levels = booster.pandas_categorical
        if not levels:
            return {}
        # the range of a number is in brackets, a constant column's is "none", a category's are its codes
        ranges = {
            name: info for name, info in zip(booster.feature_name(), _ranges(booster), strict=True) if info[0] != "["
        }
        for names in ([name for name, info in ranges.items() if info != "none"], list(ranges)):
            if len(names) == len(levels):
                return {name: (pa.array(known).type, tuple(known)) for name, known in zip(names, levels, strict=True)}
        return {}

    def limit_threads(self, model: Any, threads: int) -> None:
        """Set the threads of prediction, under each name that the model has for them."""
        if type(model).__name__ == "Booster":
            model.params["num_threads"] = threads
            return
        names = ("n_jobs", "num_threads", "num_thread", "nthread", "nthreads")
        model.set_params(**{name: threads for name in names if name in model.get_params()})


def _read_booster(path: Path) -> Any:
    import lightgbm

    try:
        text = path.read_text(encoding="utf-8")
        _check_text(text)
        model = lightgbm.Booster(model_str=text)
    except (lightgbm.basic.LightGBMError, ValueError) as error:
        raise FormatError(
            f"{path.name} is not a model that LightGBM {lightgbm.__version__} reads, or it is damaged or was made to do harm."
        ) from error
    # those of training are another machine's
    model.params["num_threads"] = 0
    return model


def _check_skops(path: Path) -> None:
    """The texts of the boosters inside, which LightGBM reads while skops loads the file."""

    def texts(node: Any) -> Iterator[str]:
        if isinstance(node, Mapping):
            if node.get("__loader__") == "JsonNode" and isinstance(value := json.loads(node["content"]), str):
                yield value
            node = list(node.values())
        if isinstance(node, list):
            for inside in node:
                yield from texts(inside)

    try:
        with zipfile.ZipFile(path) as archive:
            schema = json.loads(archive.read("schema.json"))
        for text in texts(schema):
            if "Tree=" in text:
                _check_text(text)
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path.name} cannot be read: it is damaged or was made to do harm.") from error


def _check_text(text: str) -> None:
    """Sizes and indices of every tree: LightGBM ends the process at a wrong size, and follows indices without looking.

    Raises
    ------
    ValueError
        If one points outside its tree or back up it, or something is not there.
    """
    header, begins, rest = text.partition("\nTree=")
    trees, end, _ = rest.partition("end of trees\n")
    if not begins:
        _line(header, "max_feature_idx")
        return
    width = int(_line(header, "max_feature_idx")) + 1
    found = ("Tree=" + trees).replace("Tree=", "\0Tree=").split("\0")[1:]
    if not end or [len(tree) for tree in found] != [int(size) for size in _line(header, "tree_sizes").split()]:
        raise ValueError("the file is cut off")
    for tree in found:
        _check_tree(tree, width)


def _check_tree(tree: str, width: int) -> None:
    inner = int(_line(tree, "num_leaves")) - 1
    if len(_line(tree, "leaf_value").split()) != inner + 1:
        raise ValueError("a tree has other leaves than it says")
    if not inner:
        return
    feature, left, right, kind = (
        np.array(_line(tree, key).split(), np.int64)
        for key in ("split_feature", "left_child", "right_child", "decision_type")
    )
    position = np.arange(inner)
    sound = (feature >= 0) & (feature < width)
    for child in (left, right):
        sound &= np.where(child < 0, ~child <= inner, (child > position) & (child < inner))
    if len(sound) != inner or len(kind) != inner or not sound.all():
        raise ValueError("a tree has an index outside its bounds")
    if (kind & 1).any():
        number = np.array(_line(tree, "threshold").split(), np.float64)[(kind & 1) != 0]
        bounds = np.array(_line(tree, "cat_boundaries").split(), np.int64)
        words = len(_line(tree, "cat_threshold").split())
        if not ((number >= 0) & (number < len(bounds) - 1)).all() or not _rises(np.append(bounds, words)):
            raise ValueError("a tree has a set of categories outside its bounds")


def _rises(bounds: np.ndarray) -> bool:
    return bool((np.diff(bounds, prepend=0) >= 0).all())


def _line(text: str, key: str) -> str:
    found = text.split(f"\n{key}=")
    if len(found) != 2:
        raise ValueError(f"{key} is not there once")
    return found[1].partition("\n")[0]


def _ranges(booster: Any) -> list[str]:
    """What LightGBM knows of the values of each column."""
    return _line(booster.model_to_string(num_iteration=1), "feature_infos").split()


def _check_order(booster: Any, batch: Any) -> None:
    if not hasattr(batch, "columns"):
        return
    given, trained = [str(name).replace(" ", "_") for name in batch.columns], booster.feature_name()
    if given != trained and sorted(given) == sorted(trained):
        raise InvalidInput(
            f"The signature names the columns in another order than the model was trained on, which LightGBM would not notice: {', '.join(trained)}."
        )
