"""``python_function``: a :class:`PythonModel`, a plain function, or a model from a source file."""

import inspect
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from sparkml_lifecycle.errors import ConsentRequired, FormatError, InvalidInput
from sparkml_lifecycle.flavors import python_model
from sparkml_lifecycle.flavors.base import BatchForm, Flavor, Saved, SaveOptions
from sparkml_lifecycle.flavors.python_model import FunctionModel, PythonModelContext
from sparkml_lifecycle.model.signature import Signature
from sparkml_lifecycle.model.spelling import Spelling


class PythonFunctionFlavor(Flavor):
    """Whatever a person can write in Python. Its files run code, so saving a pickle and loading ask for consent."""

    name: ClassVar[str] = "python_function"
    loader_module: ClassVar[str] = "mlflow.pyfunc.model"
    packages: ClassVar[tuple[str, ...]] = ("cloudpickle", "pandas", "numpy")
    wants: ClassVar[BatchForm] = "pandas"
    methods: ClassVar[tuple[str, ...]] = ("predict",)
    options: ClassVar[tuple[str, ...]] = ("artifacts", "fetch", "model_config")

    def matches(self, model: object) -> bool:
        """Whether it has ``predict`` with a context, is a function, or names a ``.py`` file."""
        is_source = isinstance(model, (str, Path)) and str(model).endswith(".py")
        return is_source or any(c.__name__ == "PythonModel" for c in type(model).__mro__) or inspect.isroutine(model)

    def save(self, model: Any, directory: Path, options: SaveOptions) -> Saved:
        """Write ``python_model.pkl`` or the source file, and copy the artifacts."""
        pyfunc: dict[str, Any] = {"streamable": False}
        if artifacts := options.options.get("artifacts"):
            pyfunc["artifacts"] = _copy_artifacts(artifacts, directory, options.options.get("fetch", Path))
        if options.options.get("model_config"):
            pyfunc["config"] = dict(options.options["model_config"])
        if isinstance(model, (str, Path)):
            source = Path(model)
            if not source.is_file():
                raise InvalidInput(f"There is no source file {str(source)!r} to save as a model.")
            shutil.copy(source, directory / source.name)
            return Saved({}, {**pyfunc, "model_code_path": source.name}, runs_code=True)
        if not options.allow_code:
            raise ConsentRequired(
                f"A {type(model).__name__} is saved as a pickle, which runs code when it is loaded: agree with allow_code=True, "
                "or save a source file instead: python_model='my_model.py'."
            )
        import cloudpickle

        wrapped = FunctionModel(model) if inspect.isroutine(model) else model
        cloudpickle.register_pickle_by_value(python_model)
        try:
            (directory / "python_model.pkl").write_bytes(cloudpickle.dumps(wrapped))
        finally:
            cloudpickle.unregister_pickle_by_value(python_model)
        pyfunc |= {"python_model": "python_model.pkl", "cloudpickle_version": cloudpickle.__version__}
        return Saved({}, pyfunc, runs_code=True)

    def load(self, directory: Path, conf: Mapping[str, Any], allow_code: bool) -> Any:
        """The model with its context loaded, as a function of a batch and its parameters."""
        name = conf.get("python_model") or conf.get("model_code_path")
        path = directory / Path(str(name)).name
        if not name or not path.is_file():
            raise FormatError(f"MLmodel names the file {name!r}, which is not in {str(directory)!r}.")
        if not allow_code:
            raise ConsentRequired(
                f"{path.name} runs code when it is loaded. If you trust where the model came from: allow_code=True, or SPARKML_ALLOW_CODE=1."
            )
        if conf.get("python_model"):
            import cloudpickle

            model = cloudpickle.loads(path.read_bytes())
        else:
            model = python_model.run_source(path.read_text(), str(path))
            if model is None:
                raise FormatError(
                    f"{path.name} did not name its model: call sparkml_lifecycle.models.set_model(...) in it."
                )
        model = FunctionModel(model) if inspect.isroutine(model) else model
        artifacts = {key: str(directory / entry["path"]) for key, entry in (conf.get("artifacts") or {}).items()}
        context = PythonModelContext(artifacts, conf.get("config"))
        if hasattr(model, "load_context"):
            model.load_context(context)
        return Loaded(model, context)

    def predict(self, model: Any, batch: Any, method: str, params: Mapping[str, Any]) -> Any:
        """What the user's ``predict`` gives."""
        return model(batch, dict(params))

    def answers_missing(self, model: Any) -> bool | None:
        """The user's code sees every row and decides itself."""
        return True

    def refusing(self, model: Any, signature: Signature, names: Sequence[str]) -> tuple[str, ...]:
        """The integers and booleans that had no null at training: code that takes them for whole fails at a null."""
        return tuple(
            str(c.name)
            for c in signature.columns or ()
            if c.name is not None and not c.nullable and str(c.type).startswith(("int", "bool"))
        )

    def spelling(self, model: Any) -> Spelling:
        """None in columns of objects, and pandas' ``Int64`` for integers in the rows that miss one.

        Column by column, because pandas' own ``Int64`` turns into floats in a ``map`` as soon as one value is missing.
        """
        return Spelling(nullable_integers=True, apart=True)


class Loaded:
    """A user's model with its context; ``unwrap()`` gives the user's own object."""

    def __init__(self, model: Any, context: PythonModelContext) -> None:
        self.model = model
        accepted = inspect.signature(model.predict).parameters
        self._leading: tuple[Any, ...] = (context,) if "context" in accepted or len(accepted) > 2 else ()
        self._takes_params = "params" in accepted

    def __call__(self, batch: Any, params: dict[str, Any]) -> Any:
        if self._takes_params:
            return self.model.predict(*self._leading, batch, params=params)
        return self.model.predict(*self._leading, batch)

    def unwrap(self) -> Any:
        """The user's own object."""
        return self.model


def _copy_artifacts(
    artifacts: Mapping[str, str], directory: Path, fetch: Callable[[str], Path]
) -> dict[str, dict[str, str]]:
    copied = {}
    for name, uri in artifacts.items():
        if not name or {"..", "."} & set(Path(name).parts) or Path(name).is_absolute():
            raise InvalidInput(f"The artifact name {name!r} leads out of the model's directory: give it a plain name.")
        source = fetch(uri)
        if not source.exists():
            raise InvalidInput(f"The artifact {name!r} points to {str(uri)!r}, which does not exist.")
        target = directory / "artifacts" / source.name
        if target.exists():
            target = directory / "artifacts" / name / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
        copied[name] = {"path": target.relative_to(directory).as_posix(), "uri": str(uri)}
    return copied
