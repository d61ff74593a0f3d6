"""H2O: the model's MOJO, scored in process by H2O's genmodel; no H2O server, on the driver or on executors.

Beside a GBM, DRF or XGBoost lie its trees as plain arrays, with which :mod:`sparkml_lifecycle.evaluators` scores without Java.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from sparkml_lifecycle.errors import ConsentRequired, FormatError, InvalidInput, MissingLibrary, SchemaError
from sparkml_lifecycle.flavors.base import BatchForm, Flavor, Saved, SaveOptions
from sparkml_lifecycle.flavors.genmodel import (
    GENMODEL,
    LOADER,
    MOJO,
    SCORER_JAR,
    genmodel_jar,
    is_known_genmodel,
    is_our_loader,
    trees,
)
from sparkml_lifecycle.flavors.genmodel.model import H2OModel

__all__ = ["H2OFlavor", "is_our_loader"]

_CATEGORIES = (
    "Binomial",
    "Multinomial",
    "Ordinal",
    "Regression",
    "AnomalyDetection",
    "Clustering",
    "AutoEncoder",
    "DimReduction",
)
_LEVELS_KEPT = 1000  # of a column, in MLmodel; the MOJO has them all


class H2OFlavor(Flavor):
    """Every H2O model that exports a MOJO and answers a row with numbers or a class.

    ``predict`` answers what H2O's own ``model.predict`` does, under the same names: ``predict`` and, for a classifier,
    a column of probabilities for each class (and calibrated ones, where the model has them). The standard errors that
    H2O adds for a GLM with ``compute_p_values`` are not in a MOJO.
    """

    name: ClassVar[str] = "h2o"
    loader_module: ClassVar[str] = LOADER.stem
    packages: ClassVar[tuple[str, ...]] = ("jpype1", "numpy", "pandas", "pyarrow")
    wants: ClassVar[BatchForm] = "arrow"
    methods: ClassVar[tuple[str, ...]] = ("predict", "predict_proba")

    def matches(self, model: object) -> bool:
        """Whether it is a model of the h2o package."""
        return any(c.__module__ == "h2o.model.model_base" and c.__name__ == "ModelBase" for c in type(model).__mro__)

    def save(self, model: Any, directory: Path, options: SaveOptions) -> Saved:
        """Write the MOJO (of a model in an H2O server, or a MOJO's path), H2O's genmodel jar and our scorer's.

        Raises
        ------
        InvalidInput
            If the model exports no MOJO, or its MOJO answers something else than a row's numbers or class.
        """
        if isinstance(model, (str, os.PathLike)):
            shutil.copyfile(model, directory / MOJO)
            (directory / GENMODEL).write_bytes(genmodel_jar())
        else:
            if not model.have_mojo:
                raise InvalidInput(
                    f"H2O cannot export this {model.algo} model as a MOJO, "
                    "which is the form that scores without an H2O server."
                )
            model.download_mojo(
                path=str(directory / MOJO), get_genmodel_jar=True, genmodel_name=str(directory / GENMODEL)
            )
        shutil.copyfile(SCORER_JAR, directory / SCORER_JAR.name)
        scorer = _open(directory)
        if scorer.category not in _CATEGORIES:
            raise InvalidInput(
                f"A MOJO of the kind {scorer.category} ({scorer.algorithm}) cannot be scored; "
                f"these can: {', '.join(_CATEGORIES)}."
            )
        trees.write(scorer, directory)
        columns = []
        for name in scorer.features:
            levels = scorer.domains.get(name)
            columns.append(
                {"name": name}
                | (
                    {}
                    if levels is None
                    else {"levels": levels}
                    if len(levels) <= _LEVELS_KEPT
                    else {"level_count": len(levels)}
                )
            )
        conf = {
            "data": MOJO, "h2o_version": scorer.version, "model_category": scorer.category, "algo": scorer.algorithm,
            "columns": columns, "offset_column": scorer.offset, "response": scorer.response, "labels": scorer.labels,
        }  # fmt: skip
        runs_code = not is_known_genmodel((directory / GENMODEL).read_bytes())
        return Saved(conf, {}, runs_code=runs_code, code={LOADER.name: LOADER.read_bytes()})

    def load(self, directory: Path, conf: Mapping[str, Any], allow_code: bool) -> Any:
        """A :class:`~sparkml_lifecycle.flavors.genmodel.model.H2OModel`.

        It starts Java in this process; with its trees beside it, only when it is asked to score. What Java or genmodel
        refuse is raised then.

        Raises
        ------
        ConsentRequired
            If the genmodel jar in the directory is none that H2O is known to have published.
        FormatError
            If the directory holds H2O's binary model, as MLflow saves it, or no MOJO at all; or genmodel cannot read it.
        MissingLibrary
            If there is no Java.
        """
        if not (directory / MOJO).is_file():
            raise FormatError(
                f"{str(directory)!r} holds no MOJO ({MOJO}). A model that MLflow saved is H2O's binary form, "
                f"which only an H2O server of exactly version {conf.get('h2o_version', '(unknown)')} can read. "
                "To convert it: model = mlflow.h2o.load_model(uri), then ml.h2o.save_model(model, 'dir')."
            )
        if not (directory / GENMODEL).is_file():
            raise FormatError(f"{GENMODEL} is not in {str(directory)!r}.")
        if not allow_code and not is_known_genmodel((directory / GENMODEL).read_bytes()):
            raise ConsentRequired(
                f"{GENMODEL} in the model is none that is known to be H2O's, and a jar is code. "
                "If you trust where it came from: allow_code=True, or SPARKML_ALLOW_CODE=1."
            )
        return H2OModel(directory, lambda: _open(directory))

    def predict(self, model: Any, batch: Any, method: str, params: Mapping[str, Any]) -> Any:
        """H2O's own columns as a dict; ``predict_proba`` gives the probabilities alone."""
        if method == "predict_proba" and not model.probabilities:
            raise InvalidInput(f"A model of the kind {model.category} has no probabilities; it answers predict.")
        from sparkml_lifecycle.flavors.genmodel.sparkml_h2o_mojo import ColumnError

        try:
            answers = model.score(batch)
        except ColumnError as error:
            raise SchemaError(str(error)) from error
        return {name: answers[name] for name in (model.probabilities if method == "predict_proba" else model.outputs)}

    def feature_names(self, model: Any) -> list[str] | None:
        """The columns of the MOJO; the offset column, if there is one, is last."""
        return list(model.features)

    def texts(self, model: Any) -> Collection[str]:
        """The columns whose levels the MOJO has."""
        return set(model.domains)

    def answers_missing(self, model: Any) -> bool | None:
        """Every H2O model answers rows with missing values."""
        return True


@cache
def _kept(jar: bytes) -> Path:
    """A jar as a file that stays where it is until this process ends."""
    folder = tempfile.mkdtemp(prefix="sparkml-h2o-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder, GENMODEL)
    path.write_bytes(jar)
    return path


def _open(directory: Path) -> Any:
    from sparkml_lifecycle.flavors import require

    require("h2o")
    from sparkml_lifecycle.flavors.genmodel import sparkml_h2o_mojo
    from sparkml_lifecycle.flavors.genmodel.sparkml_h2o_mojo import JavaMissing, MojoError, MojoScorer

    try:
        # Java reads the jar again when it meets another kind of model, and by then the directory may be gone or renamed
        sparkml_h2o_mojo._scorer_class(_kept((directory / GENMODEL).read_bytes()), SCORER_JAR)
        # our own jar, never the directory's copy: that one is for programs without this package
        return MojoScorer(directory, SCORER_JAR)
    except JavaMissing as error:
        raise MissingLibrary(str(error)) from error
    except MojoError as error:
        raise FormatError(str(error)) from error
