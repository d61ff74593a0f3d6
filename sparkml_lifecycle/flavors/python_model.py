"""The class a user derives from to wrap any code as a model.

Only the standard library is used here: the classes are pickled by value with a model, so that it also loads where this
package is not installed.
"""

import inspect
from types import SimpleNamespace
from typing import Any


class PythonModelContext:
    """What :meth:`PythonModel.load_context` gets.

    Attributes
    ----------
    artifacts : dict of str to str
        Name of each artifact to its path on this machine.
    model_config : dict
        The configuration given at saving.
    """

    def __init__(self, artifacts: dict[str, str], model_config: dict[str, Any] | None = None) -> None:
        self.artifacts = artifacts
        self.model_config = model_config or {}


class PythonModel:
    """Base of a model written as code (MLflow, *PythonModel*).

    Examples
    --------
    >>> class AddOne(PythonModel):
    ...     def predict(self, context, model_input, params=None):
    ...         return model_input["x"] + 1
    """

    # MLflow's loader looks at this
    predict_type_hints = SimpleNamespace(input=None, output=None)

    def load_context(self, context: PythonModelContext) -> None:
        """Load what the model needs; called once per process, before the first prediction."""

    def predict(self, context: PythonModelContext, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Answers to a pandas DataFrame: one per row, in order."""
        raise NotImplementedError(f"{type(self).__name__} has no predict method")


class FunctionModel(PythonModel):
    """A plain function as a model: ``function(model_input)`` or ``function(model_input, params)``."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.takes_params = "params" in inspect.signature(function).parameters

    def predict(self, context: PythonModelContext, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """The function's answers."""
        return self.function(model_input, params=params) if self.takes_params else self.function(model_input)


_set_model: list[Any] = []


def set_model(model: Any) -> None:
    """Name the model of a source file (*models from code*); called once in that file, at its top level."""
    _set_model[:] = [model]


def run_source(source: str, path: str) -> Any:
    """Run a model's source file and give what it passed to :func:`set_model`, or None."""
    _set_model.clear()
    # a module of its own name, so that classes defined in the file can be found by what they pickle
    scope = {"__name__": "sparkml_model_from_code", "__file__": path}
    exec(compile(source, path, "exec"), scope)
    return _set_model.pop() if _set_model else None
