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
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path
from types import CodeType, ModuleType

from sparkml_lifecycle.errors import ConsentRequired
from sparkml_lifecycle.model.manifest import Manifest

_lock = threading.RLock()


def _unlock_in_child() -> None:
    # another thread of the parent may have held the lock when it forked
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_unlock_in_child)


class _Source(SourceFileLoader):
    """Compiles what it loads: bytecode beside a model is no file that anybody registered, so it is neither read nor written."""

    def get_code(self, fullname: str) -> CodeType:
        """The module's code, of its source."""
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


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
        # one object: a bound method is made anew each time it is named
        self._finder = self._find

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
            sys.path_hooks.insert(0, self._finder)
            self._forget_finders()
            importlib.invalidate_caches()
            try:
                yield
            finally:
                sys.path_hooks.remove(self._finder)
                sys.path.remove(str(self._folder))
                self._modules = self._take_out()
                sys.modules.update(others)

    def _find(self, path: str) -> FileFinder:
        if self._folder is None or not f"{path}/".startswith(f"{self._folder}/"):
            raise ImportError
        return FileFinder(
            path,
            (ExtensionFileLoader, EXTENSION_SUFFIXES),
            (_Source, SOURCE_SUFFIXES),
            (SourcelessFileLoader, BYTECODE_SUFFIXES),
        )

    def _forget_finders(self) -> None:
        for path in list(sys.path_importer_cache):
            if f"{path}/".startswith(f"{self._folder}/"):
                del sys.path_importer_cache[path]

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
