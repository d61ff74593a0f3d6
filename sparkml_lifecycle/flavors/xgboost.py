"""XGBoost: Booster and the scikit-learn classes, in XGBoost's own binary JSON (``.ubj``)."""

import errno
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sparkml_lifecycle.errors import FormatError, InvalidInput
from sparkml_lifecycle.flavors.base import BatchForm, Flavor, Saved, SaveOptions
from sparkml_lifecycle.model.spelling import Spelling

_CLASSES = ("XGBRegressor", "XGBClassifier", "XGBRanker", "XGBRFRegressor", "XGBRFClassifier", "XGBModel")


class XGBoostFlavor(Flavor):
    """``Booster``, ``XGBRegressor``, ``XGBClassifier``, ``XGBRanker`` and the random-forest variants.

    A model that stopped early predicts with its best iteration, a Booster too; MLflow's own loader uses all its trees.
    """

    name: ClassVar[str] = "xgboost"
    loader_module: ClassVar[str] = "mlflow.xgboost"
    packages: ClassVar[tuple[str, ...]] = ("xgboost", "numpy", "scikit-learn")
    wants: ClassVar[BatchForm] = "pandas"
    methods: ClassVar[tuple[str, ...]] = ("predict", "predict_proba")
    names_at_saving: ClassVar[bool] = True
    options: ClassVar[tuple[str, ...]] = ("model_format",)

    def matches(self, model: object) -> bool:
        """Whether its class is one of XGBoost's."""
        return any(
            c.__module__ in ("xgboost.core", "xgboost.sklearn") and c.__name__ in ("Booster", "XGBModel")
            for c in type(model).__mro__
        )

    def save(self, model: Any, directory: Path, options: SaveOptions) -> Saved:
        """Write ``model.ubj`` and, for the scikit-learn classes, what the file does not hold.

        Raises
        ------
        InvalidInput
            For a class derived from XGBoost's: the file holds the trees, not the class's own methods.
        """
        import xgboost

        kind: Any = next(c for c in type(model).__mro__ if c.__module__.startswith("xgboost."))
        if type(model) is not kind or kind.__name__ not in ("Booster", *_CLASSES):
            raise InvalidInput(
                f"{type(model).__module__}.{type(model).__qualname__} derives from XGBoost's {kind.__name__}, and XGBoost's file would not hold what it does "
                "differently. Save the booster (model.get_booster()) for its trees alone, or the whole object inside a "
                "pyfunc.PythonModel: pyfunc.save_model('dir', python_model=MyModel())."
            )
        if options.options.get("model_format", "ubj") != "ubj":
            raise InvalidInput(f"model_format={options.options['model_format']!r} is not known: 'ubj'.")
        try:
            model.save_model(directory / "model.ubj")
            # its C++ does not look whether the last block reached the disk
            xgboost.Booster(model_file=directory / "model.ubj")
        except xgboost.core.XGBoostError as error:
            raise OSError(errno.EIO, "XGBoost could not write its file whole (a full disk?)") from error
        conf = {
            "data": "model.ubj",
            "model_class": f"{kind.__module__}.{kind.__name__}",
            "model_format": "ubj",
            "xgb_version": xgboost.__version__,
        }
        return Saved(conf, {"data": "model.ubj"})

    def tuning(self, model: Any) -> Mapping[str, Any]:
        """The value that means missing and whether categories are on: the file holds neither."""
        if type(model).__name__ == "Booster":
            return {}
        missing = model.get_params().get("missing")
        kept = {"enable_categorical": bool(model.get_params().get("enable_categorical"))}
        return kept if missing is None or np.isnan(missing) else {**kept, "missing": float(missing)}

    def load(self, directory: Path, conf: Mapping[str, Any], allow_code: bool) -> Any:
        """The Booster or the scikit-learn object."""
        import xgboost

        path = directory / str(conf.get("data", "model.ubj"))
        if not path.is_file():
            raise FormatError(f"MLmodel names the file {path.name!r}, which is not in {str(directory)!r}.")
        kind = str(conf.get("model_class", "xgboost.core.Booster")).rpartition(".")[2]
        if kind != "Booster" and kind not in _CLASSES:
            raise FormatError(f"MLmodel names the class {kind!r}; known are Booster, {', '.join(_CLASSES)}.")
        model = getattr(xgboost, kind)()
        try:
            model.load_model(path)
        except xgboost.core.XGBoostError as error:
            raise FormatError(f"{path.name} is not a model that XGBoost {xgboost.__version__} reads.") from error
        if kind != "Booster":
            model.set_params(
                **{
                    name: value
                    for name, value in conf.get("tuning", {}).items()
                    if name in ("missing", "enable_categorical")
                }
            )
        return model

    def predict(self, model: Any, batch: Any, method: str, params: Mapping[str, Any]) -> Any:
        """Predictions of the best iteration; several columns for multi-class probabilities."""
        if type(model).__name__ != "Booster":
            return self.named(model, getattr(model, method)(batch, **params), method)
        import xgboost

        rounds = dict(params)
        if "iteration_range" not in rounds and "best_iteration" in model.attributes():
            rounds["iteration_range"] = (0, model.best_iteration + 1)
        categorical = any(str(dtype) == "category" for dtype in getattr(batch, "dtypes", ()))
        return model.predict(xgboost.DMatrix(batch, enable_categorical=categorical), **rounds)

    def named(self, model: Any, answers: Any, method: str) -> Any:
        """Probabilities by class."""
        if method == "predict_proba" and answers.ndim == 2 and answers.shape[1] == len(model.classes_):
            return {str(label): answers[:, i] for i, label in enumerate(model.classes_)}
        return answers

    def feature_names(self, model: Any) -> list[str] | None:
        """The booster's feature names, where it was trained on named columns."""
        booster = model if type(model).__name__ == "Booster" else model.get_booster()
        return None if booster.feature_names is None else [str(name) for name in booster.feature_names]

    def answers_missing(self, model: Any) -> bool | None:
        """Trees always do; a linear booster takes missing for zero."""
        return True

    def has(self, model: Any, method: str) -> bool:
        """Only classifiers of the scikit-learn kind have ``predict_proba``."""
        return hasattr(model, method)

    def spelling(self, model: Any) -> Spelling:
        """A category that was not in training has no answer: XGBoost itself raises, which would fail a whole batch."""
        return Spelling(unseen="refused")

    def categories(self, model: Any, said: Mapping[str, tuple[Any, ...]]) -> Mapping[str, tuple[Any, tuple[Any, ...]]]:
        """The levels that the booster keeps (XGBoost 3.1 and later).

        XGBoost cuts those of a DataFrame by characters and keeps them by bytes (seen in 3.2.0), so that behind a letter beyond
        ASCII they are others. Then those of the signature are taken, if they are the same when they are cut so.

        Raises
        ------
        FormatError
            If the signature has none, or others.
        """
        import pyarrow as pa

        booster = model if type(model).__name__ == "Booster" else model.get_booster()
        if "c" not in (booster.feature_types or ()) or not hasattr(booster, "get_categories"):
            return {}
        found: dict[str, tuple[Any, tuple[Any, ...]]] = {}
        for label, levels in booster.get_categories(export_to_arrow=True).to_arrow():
            if levels is None:
                continue
            name = str(label)
            known = said.get(name, ())
            kept = levels.cast(pa.binary()).to_pylist() if pa.types.is_string(levels.type) else []
            if all(text.isascii() for text in kept):
                found[name] = (levels.type, tuple(levels.to_pylist()))
            elif kept == _as_kept(known):
                found[name] = (levels.type, known)
            elif kept == [str(level).encode() for level in known]:
                raise FormatError(
                    f"The model was trained on an Arrow table whose column {name!r} has categories with letters beyond ASCII; XGBoost does not know them again in a DataFrame. Train it on a DataFrame."
                )
            else:
                raise FormatError(
                    f"The categories of {name!r} are not known: XGBoost does not keep names with letters beyond ASCII whole. Save the model with an input_example whose column has the categories that it was trained with."
                )
        return found

    def limit_threads(self, model: Any, threads: int) -> None:
        """Set the threads of the booster and of the scikit-learn class."""
        if type(model).__name__ == "Booster":
            model.set_param({"nthread": threads})
        else:
            model.set_params(n_jobs=threads)
            model.get_booster().set_param({"nthread": threads})


def _as_kept(levels: Sequence[Any]) -> list[bytes]:
    """How XGBoost keeps the texts of a DataFrame's categories."""
    joined = "".join(map(str, levels)).encode()
    ends = [0, *np.cumsum([len(str(level)) for level in levels]).tolist()]
    return [joined[start:end] for start, end in itertools.pairwise(ends)]
