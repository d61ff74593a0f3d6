"""scikit-learn: skops by default, a pickle only by consent."""

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sparkml_lifecycle.errors import ConsentRequired, FormatError, InvalidInput
from sparkml_lifecycle.flavors.base import BatchForm, Flavor, Saved, SaveOptions
from sparkml_lifecycle.model.spelling import Spelling

# skops 0.16 does not know these compiled classes of scikit-learn; their content is checked after loading instead.
_TREES = {"sklearn.tree._tree.Tree", "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"}
# Making a dtype runs no code; imputers hold one.
_CHECKED = frozenset({*_TREES, "numpy.dtype"})
_FORMATS = ("skops", "cloudpickle", "pickle")
_BY_CLASS = ("predict_proba", "predict_log_proba", "predict_joint_log_proba")


class SklearnFlavor(Flavor):
    """Estimators and pipelines of scikit-learn, and whatever else derives from ``BaseEstimator``."""

    name: ClassVar[str] = "sklearn"
    loader_module: ClassVar[str] = "mlflow.sklearn"
    packages: ClassVar[tuple[str, ...]] = ("scikit-learn", "numpy", "scipy")
    wants: ClassVar[BatchForm] = "pandas"
    methods: ClassVar[tuple[str, ...]] = (
        "predict",
        "predict_proba",
        "predict_log_proba",
        "predict_joint_log_proba",
        "decision_function",
        "transform",
        "score_samples",
    )
    names_at_saving: ClassVar[bool] = True
    options: ClassVar[tuple[str, ...]] = ("serialization_format",)

    def matches(self, model: object) -> bool:
        """Whether it derives from ``sklearn.base.BaseEstimator``."""
        return any(c.__module__ == "sklearn.base" and c.__name__ == "BaseEstimator" for c in type(model).__mro__)

    def save(self, model: Any, directory: Path, options: SaveOptions) -> Saved:
        """Write ``model.skops``, or ``model.pkl`` where skops cannot hold the model and pickling was agreed to."""
        import sklearn

        form = options.options.get("serialization_format", "skops")
        if form not in _FORMATS:
            raise InvalidInput(f"serialization_format={form!r} is not known: {', '.join(map(repr, _FORMATS))}.")
        conf: dict[str, Any] = {"sklearn_version": sklearn.__version__}
        method = next((name for name in self.methods if self.has(model, name)), "predict")
        if form == "skops":
            reason, trusted = write_skops(model, directory / "model.skops")
            if reason is None:
                conf |= {
                    "pickled_model": "model.skops",
                    "serialization_format": "skops",
                    "skops_trusted_types": trusted,
                }
                return Saved(conf, {"model_path": "model.skops", "predict_fn": method})
            (directory / "model.skops").unlink(missing_ok=True)
            if not options.allow_code:
                raise ConsentRequired(
                    f"This {type(model).__name__} cannot be saved without a pickle: {reason}. A pickle runs code when it is loaded; "
                    "agree with allow_code=True here and where it is loaded (or SPARKML_ALLOW_CODE=1)."
                )
        elif not options.allow_code:
            raise ConsentRequired(
                f"serialization_format={form!r} writes a pickle, which runs code when it is loaded: agree with allow_code=True."
            )
        import cloudpickle

        (directory / "model.pkl").write_bytes(cloudpickle.dumps(model))
        conf |= {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"}
        return Saved(conf, {"model_path": "model.pkl", "predict_fn": method}, runs_code=True)

    def load(self, directory: Path, conf: Mapping[str, Any], allow_code: bool) -> Any:
        """The estimator; a pickle, or types that skops does not trust, only with consent."""
        path = directory / str(conf.get("pickled_model", "model.pkl"))
        if not path.is_file():
            raise FormatError(f"MLmodel names the file {path.name!r}, which is not in {str(directory)!r}.")
        if path.suffix == ".skops" or conf.get("serialization_format") == "skops":
            return read_skops(path, allow_code)
        if not allow_code:
            raise ConsentRequired(
                f"{path.name} is a pickle, which runs code when it is loaded. If you trust where it came from: allow_code=True, or SPARKML_ALLOW_CODE=1."
            )
        import cloudpickle

        return cloudpickle.loads(path.read_bytes())

    def predict(self, model: Any, batch: Any, method: str, params: Mapping[str, Any]) -> Any:
        """The estimator's own method; probabilities as a dict named by class, of several outputs by ``output_class``."""
        return self.named(model, getattr(model, method)(batch, **params), method)

    def named(self, model: Any, answers: Any, method: str) -> Any:
        """Probabilities by class; sparse answers as a matrix."""
        if method in _BY_CLASS and hasattr(model, "classes_"):
            if isinstance(answers, list):
                outputs = enumerate(zip(model.classes_, answers, strict=True))
                return {f"{i}_{label}": p[:, j] for i, (labels, p) in outputs for j, label in enumerate(labels)}
            if isinstance(answers, np.ndarray) and answers.ndim == 2 and answers.shape[1] == len(model.classes_):
                return {str(label): answers[:, i] for i, label in enumerate(model.classes_)}
        return answers.toarray() if hasattr(answers, "toarray") else answers

    def has(self, model: Any, method: str) -> bool:
        """Whether the estimator has the method; a transformer has no ``predict``."""
        return hasattr(model, method)

    def spelling(self, model: Any) -> Spelling:
        """NaN for a missing text, but None in the columns in which the model was trained with None.

        scikit-learn tells the two apart: an imputer looks for one of them, an encoder may have learned each as a category.
        A category that is not among the known levels stays what it is: the model's own encoder decides about it.
        """
        none_in = set()
        for part, names in _parts(model, self.feature_names(model) or []):
            kinds = getattr(part, "categories_", ())
            if len(kinds) == len(names):
                none_in |= {name for name, known in zip(names, kinds, strict=True) if any(v is None for v in known)}
            if getattr(part, "missing_values", np.nan) is None:
                none_in |= set(names)
        return Spelling("nan", frozenset(none_in), apart=_looks_at_columns(model), unseen="kept")

    def known_values(self, model: Any) -> Mapping[str, Any]:
        """A category of each column that an encoder has learned."""
        found: dict[str, Any] = {}
        for part, names in _parts(model, self.feature_names(model) or []):
            kinds = getattr(part, "categories_", ())
            if len(kinds) == len(names):
                found |= {name: known[0] for name, known in zip(names, kinds, strict=True) if len(known)}
        return found

    def feature_names(self, model: Any) -> list[str] | None:
        """``feature_names_in_``, where the model was trained on named columns."""
        names = getattr(model, "feature_names_in_", None)
        return None if names is None else [str(name) for name in names]

    def of_matrix(self, model: Any) -> Any:
        """The model without the names of its columns, which it only compares: making a DataFrame a matrix again costs more than a small model.

        Given to the last bit only for scikit-learn's own estimators, alone or in a pipeline, with none inside that chooses
        columns by name, looks at their types or answers in DataFrames.
        """
        import sklearn
        from sklearn.pipeline import Pipeline

        # what derives from it may do anything
        is_pipeline = type(model) is Pipeline
        first, *others = [step for _, step in model.steps] if is_pipeline else [model]
        if sklearn.get_config()["transform_output"] != "default" or not all(map(_is_nameless, [first, *others])):
            return None
        if any(hasattr(step, "feature_names_in_") for step in others):
            return None
        bare = copy.copy(first)
        vars(bare).pop("feature_names_in_", None)
        if not is_pipeline:
            return bare
        shallow = copy.copy(model)
        shallow.steps = [(model.steps[0][0], bare), *model.steps[1:]]
        return shallow

    def limit_threads(self, model: Any, threads: int) -> None:
        """Set every ``n_jobs`` inside the model; OpenMP and BLAS are held by the worker's environment."""
        jobs = {
            name: threads
            for name, value in model.get_params(deep=True).items()
            if name.split("__")[-1] == "n_jobs" and value is not None
        }
        if jobs:
            model.set_params(**jobs)

    @contextlib.contextmanager
    def one_thread(self, model: Any) -> Iterator[None]:
        """Forests add their trees up in the order in which threads end."""
        before = {
            name: value for name, value in model.get_params(deep=True).items() if name.split("__")[-1] == "n_jobs"
        }
        self.limit_threads(model, 1)
        try:
            yield
        finally:
            if before:
                model.set_params(**before)


def _is_nameless(step: Any) -> bool:
    """Whether a step of a pipeline takes a matrix as it takes a DataFrame of one type."""
    if not type(step).__module__.startswith("sklearn.") or not hasattr(step, "get_params"):
        return False
    if type(step).__name__ in ("ColumnTransformer", "FunctionTransformer", "FeatureUnion", "Pipeline"):
        return False
    if getattr(step, "_sklearn_output_config", {}).get("transform", "default") not in (None, "default"):
        return False
    inside = [*step.get_params(deep=False).values(), *vars(step).values()]
    return all(_knows_no_names(value) for value in inside)


def _knows_no_names(value: Any) -> bool:
    """Whether no estimator inside has seen a DataFrame or chooses columns, as one of boosted trees with categories does."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.ravel().tolist()
    if isinstance(value, (list, tuple)):
        return all(map(_knows_no_names, value))
    if not hasattr(value, "get_params") or isinstance(value, type):
        return True
    return not hasattr(value, "feature_names_in_") and _is_nameless(value)


def _parts(model: Any, names: Sequence[str]) -> Iterator[tuple[Any, list[str]]]:
    """The fitted estimators inside a model, each with the columns that it sees."""
    yield model, list(names)
    inside = getattr(model, "best_estimator_", None)
    if inside is not None:
        yield from _parts(inside, names)
    for _, step in getattr(model, "steps", ()) or getattr(model, "transformer_list", ()):
        if hasattr(step, "get_params"):
            yield from _parts(step, names)
    for _, part, columns in getattr(model, "transformers_", ()):
        if hasattr(part, "get_params"):
            yield from _parts(part, _selected(columns, names))


def _selected(columns: Any, names: Sequence[str]) -> list[str]:
    """A ColumnTransformer's choice of columns (names, positions, a mask or a slice) by name."""
    if isinstance(columns, str):
        return [columns]
    if isinstance(columns, slice) and all(not isinstance(end, str) for end in (columns.start, columns.stop)):
        return list(names)[columns]
    chosen = np.atleast_1d(np.asarray(columns, dtype=object)) if not isinstance(columns, slice) else np.array([])
    if all(isinstance(value, str) for value in chosen):
        return [str(value) for value in chosen]
    if len(chosen) == len(names) and all(isinstance(value, (bool, np.bool_)) for value in chosen):
        return [name for name, wanted in zip(names, chosen, strict=True) if wanted]
    return [names[int(value)] for value in chosen if -len(names) <= int(value) < len(names)]


def _looks_at_columns(model: Any) -> bool:
    """Whether a part of the model may look at one column alone; scikit-learn's predictors make one matrix of all."""
    inside = [model, *model.get_params(deep=True).values()]
    estimators = [part for part in inside if hasattr(part, "get_params") and not isinstance(part, type)]
    return any(
        hasattr(part, "transform") or hasattr(part, "steps") or not type(part).__module__.startswith("sklearn.")
        for part in estimators
    )


def write_skops(model: Any, path: Path, checked: Set[str] = _CHECKED) -> tuple[str | None, list[str]]:
    """Write with skops and try to read it back: the reason why that does not work, and which types of ``checked`` it holds."""
    import skops.io

    try:
        skops.io.dump(model, path)
        untrusted = set(skops.io.get_untrusted_types(file=path))
        if not untrusted <= checked:
            return f"skops does not trust {', '.join(sorted(untrusted - checked))}", []
        skops.io.load(path, trusted=sorted(untrusted))
    except OSError:
        # the disk's fault, not the model's: no reason to pickle it
        raise
    except Exception as error:  # skops raises what the pickled objects raise
        return f"skops cannot hold it ({type(error).__name__}: {str(error)[:200]})", []
    return None, sorted(untrusted)


def read_skops(path: Path, allow_code: bool, checked: Set[str] = _CHECKED) -> Any:
    """What skops wrote.

    Raises
    ------
    ConsentRequired
        For types that neither skops trusts nor ``checked`` has.
    FormatError
        If a tree of scikit-learn's is damaged.
    """
    import skops.io

    untrusted = set(skops.io.get_untrusted_types(file=path))
    strangers = sorted(untrusted - checked)
    if strangers and not allow_code:
        raise ConsentRequired(
            f"{path.name} holds types that are not known to be safe: {', '.join(strangers)}. If you trust them: allow_code=True, or SPARKML_ALLOW_CODE=1."
        )
    model = skops.io.load(path, trusted=sorted(untrusted))
    if untrusted & _TREES:
        _check_trees(model)
    return model


def _check_trees(model: Any) -> None:
    """Every child and feature index of every tree: compiled code follows them without looking.

    Raises
    ------
    FormatError
        If an index points outside its tree or back up it.
    """
    seen: set[int] = set()
    stack = [model]
    while stack:
        item = stack.pop()
        if id(item) in seen or isinstance(item, (str, bytes, int, float, bool, type(None))):
            continue
        seen.add(id(item))
        kind = f"{type(item).__module__}.{type(item).__name__}"
        if kind == "sklearn.tree._tree.Tree":
            _check_tree(item)
        elif kind.endswith("predictor.TreePredictor"):
            _check_predictor(item)
        elif isinstance(item, Mapping):
            stack.extend(item.values())
        elif isinstance(item, (list, tuple, set, frozenset)) or (isinstance(item, np.ndarray) and item.dtype == object):
            stack.extend(np.asarray(item, dtype=object).ravel().tolist() if isinstance(item, np.ndarray) else item)
        elif hasattr(item, "__dict__"):
            stack.extend(vars(item).values())


def _check_tree(tree: Any) -> None:
    left, right, feature = tree.children_left, tree.children_right, tree.feature
    position = np.arange(tree.node_count)
    leaf = (left == -1) & (right == -1)
    inner = (left > position) & (left < tree.node_count) & (right > position) & (right < tree.node_count)
    if not (leaf | (inner & (feature >= 0) & (feature < tree.n_features))).all():
        raise FormatError(
            "A tree in the model has a child or feature index outside its bounds: the file is damaged or was made to do harm."
        )


def _check_predictor(predictor: Any) -> None:
    nodes = predictor.nodes
    count, position = len(nodes), np.arange(len(nodes))
    left, right = nodes["left"].astype(np.int64), nodes["right"].astype(np.int64)
    inner = (
        (left > position)
        & (left < count)
        & (right > position)
        & (right < count)
        & (nodes["feature_idx"].astype(np.int64) >= 0)
    )
    bitsets = max(len(predictor.raw_left_cat_bitsets), 1)
    categorical = nodes["is_categorical"].astype(bool) & ~nodes["is_leaf"].astype(bool)
    if (
        not (nodes["is_leaf"].astype(bool) | inner).all()
        or (nodes["bitset_idx"][categorical].astype(np.int64) >= bitsets).any()
    ):
        raise FormatError(
            "A boosted tree in the model has an index outside its bounds: the file is damaged or was made to do harm."
        )
