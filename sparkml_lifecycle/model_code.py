"""The code that a model brings (``code/``), importable for that model alone.

Two models in one process, a champion and its challenger, may each bring a module ``helpers``. So while a model is loaded
and while it predicts, its own folder is the first place to import from and its own modules are the ones in
``sys.modules``; afterwards both are as they were before. Modules are the process's, so calls of models that bring code
take turns.
"""

import importlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from sparkml_lifecycle.errors import ConsentRequired
from sparkml_lifecycle.model.manifest import Manifest

_lock = threading.RLock()


def _unlock_in_child() -> None:
    # another thread of the parent may have held the lock when it forked
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_unlock_in_child)


class ModelCode:
    """The modules below one folder, or none.

    Parameters
    ----------
    folder : Path, optional
        None for a model without code of its own.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._names = {path.name.partition(".")[0] for path in folder.iterdir()} - {"__pycache__"} if folder else set()
        self._modules: dict[str, ModuleType] = {}

    @contextmanager
    def importable(self) -> Iterator[None]:
        """Inside, ``import`` finds this model's modules and no other model's of the same names."""
        if self._folder is None:
            yield
            return
        with _lock:
            others = self._take_out()
            sys.modules.update(self._modules)
            sys.path.insert(0, str(self._folder))
            importlib.invalidate_caches()
            try:
                yield
            finally:
                sys.path.remove(str(self._folder))
                self._modules = self._take_out()
                sys.modules.update(others)

    def _take_out(self) -> dict[str, ModuleType]:
        names = [name for name in list(sys.modules) if name.partition(".")[0] in self._names]
        return {name: sys.modules.pop(name) for name in names}

    def stay(self) -> None:
        """Leave the modules importable: for the framework's own object, which its user calls without us."""
        if self._folder is not None:
            with _lock:
                for name, module in self._modules.items():
                    sys.modules.setdefault(name, module)
                if str(self._folder) not in sys.path:
                    sys.path.append(str(self._folder))


def code_of(directory: Path, found: Manifest, consent: bool) -> ModelCode:
    """The code beside a model.

    Raises
    ------
    ConsentRequired
        If there is any but our own loader, and nobody agreed to run it.
    """
    code = found.python_function.get("code")
    if not code or not (folder := directory / str(code)).is_dir() or _is_only_our_loader(folder):
        return ModelCode(None)
    if not consent:
        raise ConsentRequired(
            f"The model brings code of its own ({code}/), which would run here. If you trust where it came from: allow_code=True, or SPARKML_ALLOW_CODE=1."
        )
    return ModelCode(folder)


def _is_only_our_loader(folder: Path) -> bool:
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    if [path.name for path in files] != ["sparkml_h2o_mojo.py"]:
        return False
    from sparkml_lifecycle.flavors import h2o

    return bool(h2o.is_our_loader(files[0].read_bytes()))
