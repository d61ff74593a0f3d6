"""What a model needs: requirements found in this process, without starting another one."""

import io
import pickle
import platform
import sys
import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any

_NEVER = {"sparkml-lifecycle", "pip", "setuptools", "wheel"}


class _ModuleCollector(pickle.Pickler):
    """Pickles into nothing and remembers the modules of the classes and functions it meets."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), protocol=pickle.HIGHEST_PROTOCOL)
        self.modules: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        module = getattr(obj, "__module__", None) or getattr(type(obj), "__module__", None)
        if isinstance(module, str):
            self.modules.add(module.partition(".")[0])
        return NotImplemented


def requirements_of(model: Any, packages: Iterable[str]) -> list[str]:
    """``name==version`` lines: the flavor's packages and whatever the model's own classes and functions come from."""
    names = {name.lower(): name for name in packages}
    collector = _ModuleCollector()
    try:
        collector.dump(model)
    except Exception as error:  # a model that cannot be pickled still names the modules met so far
        names.setdefault("", type(error).__name__)
        del names[""]
    distributions = packages_distributions()
    for module in collector.modules - set(sys.stdlib_module_names) - {"__main__"}:
        for distribution in distributions.get(module, [])[:1]:
            names.setdefault(distribution.lower(), distribution)
    lines = {}
    for name in names.values():
        try:
            lines[name] = f"{name}=={version(name)}"
        except PackageNotFoundError:
            continue
    return sorted(line for name, line in lines.items() if name.lower() not in _NEVER)


def environment_files(requirements: Iterable[str]) -> dict[str, str]:
    """The text of ``requirements.txt``, ``python_env.yaml`` and ``conda.yaml`` (MLflow, *Environment variables and files*)."""
    import yaml

    python = platform.python_version()
    lines = list(requirements)
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": lines}],
    }
    env = {
        "python": python,
        "build_dependencies": ["pip", "setuptools", "wheel"],
        "dependencies": ["-r requirements.txt"],
    }
    return {
        "requirements.txt": "".join(f"{line}\n" for line in lines),
        "python_env.yaml": yaml.safe_dump(env, sort_keys=False),
        "conda.yaml": yaml.safe_dump(conda, sort_keys=False),
    }


def warn_about_versions(saved: Mapping[str, str], model: str) -> None:
    """Warn, once per model and process, where a package that decides the answers has another version than at saving."""
    found = differing(saved)
    if found and model not in _warned:
        _warned.add(model)
        warnings.warn(
            f"The model {model} was saved with {', '.join(found)}; its answers may differ.",
            UserWarning,
            stacklevel=3,
        )


_warned: set[str] = set()


def differing(saved: Mapping[str, str]) -> list[str]:
    """The packages that have another version here than at saving, as ``scikit-learn 1.4.2 (here 1.9.1)``."""
    here = {name: _version(name) for name in saved}
    return [
        f"{name} {wanted} (here {here[name]})"
        for name, wanted in saved.items()
        if here[name].split(".")[:2] != wanted.split(".")[:2]
    ]


_MISSING = "missing"


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """The installed version of each that there is."""
    return {name: found for name in packages if (found := _version(name)) != _MISSING}


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return _MISSING
