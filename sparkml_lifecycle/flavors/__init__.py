"""The flavors, as one sorted table. A new framework is one file and one row here."""

import importlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

from sparkml_lifecycle.errors import InvalidInput, MissingLibrary, did_you_mean
from sparkml_lifecycle.flavors.base import BatchForm, Flavor, Saved, SaveOptions

__all__ = [
    "FLAVORS",
    "BatchForm",
    "Entry",
    "Flavor",
    "SaveOptions",
    "Saved",
    "by_loader",
    "by_name",
    "flavor_of",
    "require",
]


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    Attributes
    ----------
    target : str
        ``module:class`` of the flavor; imported when it is needed.
    distribution : str
        The distribution to install for it.
    extra : str
        Our extra that brings it.
    loaders : tuple of str
        The ``loader_module`` values of ``python_function`` that it reads.
    """

    target: str
    distribution: str
    extra: str
    loaders: tuple[str, ...]


FLAVORS: dict[str, Entry] = {
    "h2o": Entry("sparkml_lifecycle.flavors.h2o:H2OFlavor", "jpype1", "h2o", ("sparkml_h2o_mojo", "mlflow.h2o")),
    "lightgbm": Entry("sparkml_lifecycle.flavors.lightgbm:LightGBMFlavor", "lightgbm", "lightgbm", ("mlflow.lightgbm",)),
    "python_function": Entry("sparkml_lifecycle.flavors.python_function:PythonFunctionFlavor", "cloudpickle", "pyfunc", ("mlflow.pyfunc.model",)),
    "sklearn": Entry("sparkml_lifecycle.flavors.sklearn:SklearnFlavor", "scikit-learn", "sklearn", ("mlflow.sklearn",)),
    "xgboost": Entry("sparkml_lifecycle.flavors.xgboost:XGBoostFlavor", "xgboost", "xgboost", ("mlflow.xgboost",)),
}  # fmt: skip


def by_name(name: str) -> Flavor:
    """The flavor of a row.

    Raises
    ------
    InvalidInput
        For a name that is not in the table.
    """
    if name not in FLAVORS:
        raise InvalidInput(f"There is no flavor {name!r}. Known: {', '.join(FLAVORS)}.{did_you_mean(name, FLAVORS)}")
    module, _, attribute = FLAVORS[name].target.partition(":")
    return cast(Flavor, getattr(importlib.import_module(module), attribute)())


def by_loader(loader_module: str) -> Flavor | None:
    """The flavor that reads models of this ``loader_module``, or None."""
    return next((by_name(name) for name, entry in FLAVORS.items() if loader_module in entry.loaders), None)


def flavor_of(model: Any) -> Flavor:
    """The flavor that saves ``model``, found by its type.

    Raises
    ------
    InvalidInput
        For a type that no flavor knows; the message shows the lines to write.
    """
    # other frameworks' classes derive from scikit-learn's, and python_function takes any callable: these two are asked last
    names = sorted(FLAVORS, key=lambda name: (name == "python_function", name == "sklearn"))
    for flavor in map(by_name, names):
        if flavor.matches(model):
            return flavor
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    raise InvalidInput(
        f"No flavor saves a {kind}. Known frameworks: {', '.join(n for n in names if n != 'python_function')}. Any other model goes through a class:\n"
        "    class MyModel(pyfunc.PythonModel):\n"
        "        def load_context(self, context):\n"
        "            self.model = my_framework.load(context.artifacts['model'])\n"
        "        def predict(self, context, model_input, params=None):\n"
        "            return self.model.predict(model_input)\n"
        "    pyfunc.save_model('dir', python_model=MyModel(), artifacts={'model': 'my_model.bin'})"
    )


def require(name: str) -> None:
    """Make sure that a flavor's framework is installed.

    Raises
    ------
    MissingLibrary
        With the line that installs it.
    """
    entry = FLAVORS[name]
    try:
        version(entry.distribution)
    except PackageNotFoundError as error:
        raise MissingLibrary(
            f"The model needs {entry.distribution}, which is not installed here: pip install {entry.distribution} (or 'sparkml-lifecycle[{entry.extra}]')."
        ) from error
