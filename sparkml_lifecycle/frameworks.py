"""MLflow's per-framework names: ``ml.sklearn``, ``import sparkml_lifecycle.sklearn``, and so for each framework.

They are made from one class when the package is imported, so that a new framework stays one file and one table row; what
they need is imported when they are used.
"""

from datetime import datetime
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparkml_lifecycle.saving import ModelInfo


class Framework(ModuleType):
    """One framework's ``save_model``, ``log_model`` and ``load_model``.

    Attributes
    ----------
    flavor : str
        The name of its flavor.
    model_argument : str
        What MLflow calls the model in its own functions, such as ``sk_model``.
    """

    def __init__(self, module: str, flavor: str, model_argument: str) -> None:
        super().__init__(module, f"Saves, logs and loads {flavor} models, as ``mlflow.{flavor}`` does.")
        self.__spec__ = ModuleSpec(module, None)
        self.flavor, self.model_argument = flavor, model_argument

    def __dir__(self) -> list[str]:
        return ["load_model", "log_model", "save_model"]

    def save_model(self, model: Any = None, path: str | Path | None = None, **description: Any) -> "ModelInfo":
        """Save a model of this framework; see :func:`sparkml_lifecycle.save_model`."""
        from sparkml_lifecycle import saving
        from sparkml_lifecycle.errors import InvalidInput

        model = self._model(model, description)
        if path is None:
            raise InvalidInput(f"{self.flavor}.save_model needs a path: save_model(model, 'dir').")
        return saving.save_model(model, path, flavor=self.flavor, **description)

    def log_model(self, model: Any = None, name: str | None = None, **description: Any) -> "ModelInfo":
        """Save a model of this framework in the current run; see :func:`sparkml_lifecycle.log_model`."""
        from sparkml_lifecycle import saving

        return saving.log_model(self._model(model, description), name, flavor=self.flavor, **description)

    def load_model(
        self, model_uri: str | Path, *, allow_code: bool | None = None, as_of: datetime | None = None
    ) -> Any:
        """The framework's own object; of H2O, whose model lives in a server, the scorer of its MOJO: ``scorer.score(table)``.

        With ``as_of`` of the version that the stage or alias of a ``models:/`` URI named then.

        Raises
        ------
        NotFound
            If the model has no such flavor.
        """
        from sparkml_lifecycle import package
        from sparkml_lifecycle.client import resolve
        from sparkml_lifecycle.errors import NotFound
        from sparkml_lifecycle.flavors import by_name
        from sparkml_lifecycle.model import manifest
        from sparkml_lifecycle.settings import Settings

        directory = resolve(model_uri, as_of=as_of)
        found = manifest.read(directory)
        if self.flavor not in found.flavors:
            raise NotFound(
                f"The model at {str(model_uri)!r} has no {self.flavor} flavor. It has: {', '.join(found.flavors)}."
            )
        consent = Settings.load().allow_code if allow_code is None else allow_code
        return package.load_native(directory, found, by_name(self.flavor), consent)

    def _model(self, model: Any, description: dict[str, Any]) -> Any:
        """The model under whichever name it was given."""
        from sparkml_lifecycle.errors import InvalidInput

        named = description.pop(self.model_argument, None)
        if (model is None) == (named is None):
            raise InvalidInput(
                f"Give the model once: {self.flavor}.log_model(model, 'model') or {self.model_argument}=model."
            )
        return named if model is None else model
