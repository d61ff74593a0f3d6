"""Compiled kernels: made once on a machine, kept on disk, and loaded without the compiler.

numba compiles a kernel to an object file, which lies in a directory of the user's. A process that scores loads it with
llvmlite alone, in a tenth of the time that importing numba takes. The file's name holds everything that it depends on: the
kernel's source, the versions, the kind of CPU. Processes that come at the same time wait for the one that compiles.
"""

import contextlib
import ctypes
import hashlib
import importlib
import json
import logging
import os
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sparkml_lifecycle.errors import MissingLibrary

_CTYPES: dict[str, Any] = {"address": ctypes.c_uint64, "whole": ctypes.c_int64, "real": ctypes.c_double}
_LOG = logging.getLogger(__name__)
_lock = threading.Lock()
_engines: list[Any] = []  # code lives as long as its engine


class Unavailable(MissingLibrary):
    """Why nothing can be compiled here."""


@cache
def cpu() -> str:
    """The kind of CPU: its name and what it can do, as one word."""
    name, features = _target()
    return f"{name}-{hashlib.sha256(features.encode()).hexdigest()[:8]}"


def _target() -> tuple[str, str]:
    """LLVM's name of the CPU and what it can do; numba's variables choose another."""
    import llvmlite.binding as llvm

    name, features = os.environ.get("NUMBA_CPU_NAME"), os.environ.get("NUMBA_CPU_FEATURES")
    if features is None:
        features = "" if (name or "").lower() == "generic" else llvm.get_host_cpu_features().flatten()
    return name or llvm.get_host_cpu_name(), features


def directory() -> Path:
    """Where compiled code lies: ``SPARKML_CACHE``, or ``~/.cache/sparkml``; a temporary directory where that cannot be written."""
    wanted = os.environ.get("SPARKML_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "sparkml"
    )
    path = Path(wanted) / "compiled"
    if _is_ours(path):
        return path
    fallback = Path(tempfile.gettempdir()) / f"sparkml-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    if not _is_ours(fallback):
        raise Unavailable(
            f"There is no directory for compiled code: {str(path)!r} cannot be written. Set SPARKML_CACHE."
        )
    _warn_of(str(path), str(fallback))
    return fallback


@cache
def _warn_of(wanted: str, taken: str) -> None:
    """Say once that compiled code may have to be made again."""
    _LOG.warning(
        "compiled code goes to %s, because %s is not writable or not ours alone: set SPARKML_CACHE", taken, wanted
    )


def _is_ours(path: Path) -> bool:
    """Whether the directory can be written by us and by nobody else: what lies in it is run."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = path.stat()
    except OSError:
        return False
    if hasattr(os, "getuid") and (found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o022):
        return False
    return os.access(path, os.W_OK | os.X_OK)


def missing() -> str | None:
    """What is not installed here, as a sentence; None if kernels can be had."""
    if find_spec("llvmlite") is None or find_spec("numba") is None:
        return "numba is not installed: pip install 'sparkml-lifecycle[fast]'"
    if sys.byteorder != "little":
        return "the CPU is big-endian"
    return None


class Kernel:
    """A module of kernels, as its source is now.

    What calls a kernel and the kernel must be of the same state, or memory is read that is not there. An upgrade of the package
    under a running process changes the file, but not what the process has already imported.

    Parameters
    ----------
    module : str
        It has ``compiled(form) -> (dispatcher, signature)`` and is imported where something is compiled, never to score.
    """

    def __init__(self, module: str) -> None:
        self._module, self._source = module, _source(module)
        self._functions: dict[tuple[str, str], Callable[..., int]] = {}

    def function(self, name: str, form: str, arguments: Sequence[str]) -> Callable[..., int]:
        """A compiled function that takes addresses and whole numbers and gives a whole number.

        Parameters
        ----------
        name : str
            Of the file.
        form : str
            Which of its signatures.
        arguments : sequence of {"address", "whole", "real"}

        Raises
        ------
        Unavailable
            If numba is missing or does not work, there is no directory, or the kernel is no longer the one that was imported.
        """
        if (name, form) not in self._functions:
            with _lock:
                if (name, form) not in self._functions:
                    self._functions[name, form] = _linked(self._code(name, form), tuple(arguments))
        return self._functions[name, form]

    def _code(self, name: str, form: str) -> bytes:
        if (why := missing()) is not None:
            raise Unavailable(f"{why}.")
        decides = [self._source, version("numba"), version("llvmlite"), cpu(), name, form, sys.version_info[:2]]
        key = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:32]
        path = directory() / f"{name}-{form}-{key}.o"
        code = _read(path)
        if code is None:
            with _alone(path.with_suffix(".lock")):
                code = _read(path)
                if code is None:
                    code = self._compiled(form)
                    _write(path, code)
        return code

    def _compiled(self, form: str) -> bytes:
        if _source(self._module) != self._source:
            raise Unavailable("The package was changed while this process runs; start it again.")
        _tell(f"compiling {self._module.rpartition('.')[2]} for {form}: some seconds, once on this machine")
        try:
            return _compile(self._module, form)
        except Exception as error:  # a numba that cannot be imported, or another version's
            raise Unavailable(f"Nothing can be compiled here ({type(error).__name__}: {str(error)[:200]}).") from error


def _tell(line: str) -> None:
    """Where somebody waits at a terminal or a notebook, why."""
    _LOG.info(line)
    if sys.stderr.isatty() or "ipykernel" in sys.modules:
        print(f"sparkml: {line}", file=sys.stderr)


def _source(module: str) -> str:
    """The text of a module, also of one in a zip file."""
    found = find_spec(module)
    text = None if found is None else getattr(found.loader, "get_source", lambda name: None)(module)
    return str(text or "")


def _read(path: Path) -> bytes | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, _, rest = content.partition(b"\n")
    return rest if hashlib.sha256(rest).hexdigest().encode() == digest else None


def _write(path: Path, content: bytes) -> None:
    beside = path.with_suffix(f".{os.getpid()}")
    try:
        beside.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        os.replace(beside, path)
    except OSError:  # a full disk: this process has it, the next compiles again
        with contextlib.suppress(OSError):
            beside.unlink()


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock; where there is none to be had two compile the same."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(stack.enter_context(open(path, "a")), fcntl.LOCK_EX)
        yield


def _compile(module: str, form: str) -> bytes:
    """The symbol's name, a line, and an object file of that function alone, without numba's wrappers for Python."""
    import llvmlite.binding as llvm

    dispatcher, signature = importlib.import_module(module).compiled(form)
    dispatcher.compile(signature)
    (compiled,) = [one for one in dispatcher.overloads.values() if one.signature.args == tuple(signature)]
    symbol = compiled.fndesc.llvm_func_name
    code = llvm.parse_assembly(compiled.library.get_llvm_str())
    for function_ in code.functions:
        if function_.name != symbol and not function_.is_declaration:
            function_.linkage = llvm.Linkage.internal
    machine = _machine()
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(code, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    content: bytes = machine.emit_object(code)
    return symbol.encode() + b"\n" + content


def _machine() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name, features = _target()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=name, features=features, opt=3, reloc="pic", codemodel="large", jit=True
    )


def _linked(code: bytes, arguments: tuple[str, ...]) -> Callable[..., int]:
    import llvmlite.binding as llvm

    symbol, _, content = code.partition(b"\n")
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(content))
    engine.finalize_object()
    place = engine.get_function_address(symbol.decode())
    _engines.append(engine)
    # numba's own calling convention: where the answer goes, where an exception goes, the arguments; the status is returned
    kinds = [_CTYPES[one] for one in arguments]
    raw = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *kinds)(place)

    def call(*given: int) -> int:
        answer, raised = ctypes.c_int64(), ctypes.c_void_p()
        status = raw(ctypes.addressof(answer), ctypes.addressof(raised), *given)
        if status != 0:
            raise RuntimeError(f"a compiled kernel ended with the status {status}")
        return answer.value

    return call
