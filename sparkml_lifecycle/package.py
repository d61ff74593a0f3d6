"""The only code that writes or reads a model directory.

A directory is written beside its place and renamed into it, so that half a model never exists. A read model is a
:class:`~sparkml_lifecycle.loaded.PyFuncModel`: one ``predict`` for every framework.
"""

import os
import shutil
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sparkml_lifecycle import environment, flavors, uris
from sparkml_lifecycle.errors import (
    AlreadyExists,
    ConsentRequired,
    FormatError,
    InvalidInput,
    LifecycleError,
    MissingLibrary,
    StorageError,
    did_you_mean,
    reason,
)
from sparkml_lifecycle.evaluators import choice
from sparkml_lifecycle.flavors.base import Flavor, Saved, SaveOptions
from sparkml_lifecycle.loaded import PyFuncModel
from sparkml_lifecycle.model import example, manifest
from sparkml_lifecycle.model.example import Example
from sparkml_lifecycle.model.manifest import Manifest
from sparkml_lifecycle.model.signature import Column, Signature, infer_signature
from sparkml_lifecycle.model_code import ModelCode, code_of
from sparkml_lifecycle.settings import Settings

__all__ = ["Description", "PyFuncModel", "flavor_for", "load_native", "read", "save"]


@dataclass(frozen=True)
class Description:
    """What a caller says about a model beside the model itself.

    Attributes
    ----------
    flavor : str, optional
        The flavor's name; found by the model's type where it is not given.
    signature : Signature, optional
        Inferred from ``input_example`` and the model's answers to it where it is not given.
    input_example : DataFrame, Arrow table, array, dict or list, optional
        A few rows; at most 20 are kept. A pair ``(rows, params)`` gives parameters with their defaults too.
    requirements : sequence of str, optional
        Replaces the inferred requirement lines.
    code_paths : sequence of path
        Python files or packages to ship under ``code/``; they run only with consent.
    metadata : mapping
        Anything a person wants to keep in ``MLmodel``.
    run_id, artifact_path : str, optional
        The run that logs the model.
    allow_code : bool, optional
        Consent to a pickle; ``SPARKML_ALLOW_CODE`` where it is None.
    options : mapping
        The flavor's own options.
    """

    flavor: str | None = None
    signature: Signature | None = None
    input_example: Any = None
    requirements: Sequence[str] | None = None
    code_paths: Sequence[str | Path] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    artifact_path: str | None = None
    allow_code: bool | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def consent(self) -> bool:
        """Whether code may be saved and run."""
        return Settings.load().allow_code if self.allow_code is None else self.allow_code


# -- writing -------------------------------------------------------------------------------------------------------------


def save(model: Any, path: str | Path, description: Description) -> Manifest:
    """Write ``model`` as a new directory at ``path``.

    Raises
    ------
    AlreadyExists
        If something is there that is not an empty directory.
    ConsentRequired
        If the model can only be pickled and nobody agreed to that.
    InvalidInput
        If no flavor saves such a model, or the example does not go through it.
    StorageError
        If the disk refuses; nothing is left behind.
    """
    target = _target(path)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise AlreadyExists(f"{str(target)!r} is there already. Choose another path or remove it first.")
    flavor = flavors.by_name(description.flavor) if description.flavor else flavors.flavor_of(model)
    _check_options(flavor, description.options)
    beside = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.saving"
    try:
        beside.mkdir(parents=True)
        written = _write(model, flavor, beside, description)
        _move(beside, target)
    except ConsentRequired as error:
        raise ConsentRequired(f"{error}{_without_pickle(model, flavor)}") from error
    except LifecycleError:
        raise
    except OSError as error:
        raise StorageError(
            f"The model cannot be saved at {str(target)!r}: {reason(error)}. Nothing was left there."
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return written


def _move(beside: Path, target: Path) -> None:
    if not (target.exists() and target.samefile(Path.cwd())):
        # over an empty directory as well
        os.rename(beside, target)
        return
    # a process cannot lose the directory it is in; the manifest, which makes it a model, comes last
    for path in sorted(beside.iterdir(), key=lambda path: path.name == manifest.FILE):
        os.rename(path, target / path.name)


def _check_options(flavor: Flavor, options: Mapping[str, Any]) -> None:
    known = ("signature", "input_example", "pip_requirements", "code_paths", "metadata", "allow_code", *flavor.options)
    for name in options:
        if name not in flavor.options:
            shown = ", ".join(option for option in known if option != "fetch")
            raise InvalidInput(
                f"A {flavor.name} model is saved without an option {name!r}.{did_you_mean(name, known)} There are: {shown}."
            )


def _target(path: str | Path) -> Path:
    # absolute: frameworks join what they are given with directories of their own
    place = uris.parse(path)
    if not isinstance(place, uris.StorageUri) or not place.is_local:
        raise InvalidInput(
            f"A model is saved as a directory on this machine, found {str(path)!r}. With a run, wherever its artifacts lie: "
            "ml.log_model(model, 'model')."
        )
    return Path(place.text).resolve()


def _without_pickle(model: Any, flavor: Flavor) -> str:
    """What to say where another flavor is the model's own."""
    try:
        own = flavors.flavor_of(model).name
    except InvalidInput:
        return ""
    if own in (flavor.name, manifest.PYTHON_FUNCTION):
        return ""
    return f" Its own format needs no consent: ml.log_model (or ml.{own}.log_model), and save_model likewise."


def _write(model: Any, flavor: Flavor, directory: Path, description: Description) -> Manifest:
    if isinstance(model, (str, Path)) and flavor.name == manifest.PYTHON_FUNCTION and not description.consent:
        raise ConsentRequired(
            f"A model from a source file runs its code, also for the trial at saving: agree with allow_code=True ({str(model)!r})."
        )
    saved = flavor.save(model, directory, SaveOptions(description.consent, description.options))
    has_code = _write_code(saved, directory, description)
    needed = environment.requirements_of(model, flavor.packages)
    for name, text in environment.environment_files(description.requirements or needed).items():
        (directory / name).write_text(text)
    found = _manifest(flavor, saved, description, has_code, flavor.tuning(model))
    manifest.write(found, directory)
    given = Example.of(description.input_example)
    sample = example.write(given, directory, flavor.feature_names(model) if flavor.names_at_saving else None)
    found = replace(found, signature=_complete_signature(found, directory, description.signature, given, sample))
    manifest.write(found, directory)
    if choice.may_read(flavor.name):
        found = _with_trial(found, directory)
        manifest.write(found, directory)
    return found


def _with_trial(found: Manifest, directory: Path) -> Manifest:
    """With how the trial of its evaluator ended, so that workers on such a machine need not repeat it."""
    record = read(directory, allow_code=True, found=found, warn=False).evaluation.record()
    return found if record is None else replace(found, ours={**found.ours, "evaluator": record})


def _manifest(
    flavor: Flavor, saved: Saved, description: Description, has_code: bool, tuning: Mapping[str, Any]
) -> Manifest:
    python_function = {
        "loader_module": flavor.loader_module,
        "python_version": sys.version.split()[0],
        "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
        **saved.pyfunc,
        **({"code": "code"} if has_code else {}),
    }
    native = (
        {}
        if flavor.name == manifest.PYTHON_FUNCTION
        else {flavor.name: {**saved.conf, "code": "code" if has_code else None}}
    )
    ours: dict[str, Any] = {"flavor": flavor.name, "versions": environment.versions_of(flavor.packages)}
    if saved.runs_code or description.code_paths:
        ours["runs_code"] = True
    if tuning:
        ours["tuning"] = dict(tuning)
    others: dict[str, Any] = {
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        "model_uuid": uuid.uuid4().hex,
        "metadata": dict(description.metadata) or None,
    }
    others |= {
        key: value
        for key, value in (("run_id", description.run_id), ("artifact_path", description.artifact_path))
        if value
    }
    return Manifest({manifest.PYTHON_FUNCTION: python_function, **native}, None, ours, others)


def _write_code(saved: Saved, directory: Path, description: Description) -> bool:
    shipped: Mapping[str, bytes] = getattr(saved, "code", {})
    if not shipped and not description.code_paths:
        return False
    code = directory / "code"
    code.mkdir()
    for name, content in shipped.items():
        (code / name).write_bytes(content)
    for source in map(Path, description.code_paths):
        if not source.exists():
            raise InvalidInput(f"code_paths names {str(source)!r}, which does not exist.")
        if (code / source.name).exists():
            raise InvalidInput(
                f"code_paths names two files or folders called {source.name!r}; a model has one of each name: rename one, or put both into a package."
            )
        if source.is_dir():
            shutil.copytree(source, code / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, code / source.name)
    return True


def _complete_signature(
    found: Manifest, directory: Path, said: Signature | None, given: Example, sample: Any
) -> Signature | None:
    """The given signature, or one of the example; with outputs by asking the saved model itself, which also shows that it loads."""
    if sample is None:
        return said
    wanted = said or infer_signature(given.given if given.is_schema_rich else sample, params=given.params)
    loaded = read(
        directory,
        allow_code=True,
        found=replace(found, signature=Signature(wanted.inputs, None, wanted.params)),
        warn=False,
        evaluator=choice.NATIVE,
    )
    try:
        outputs = loaded.predict_columns(sample, given.params)
    except LifecycleError as error:
        raise InvalidInput(f"The model does not answer its own input example: {error}") from error
    if wanted.outputs:
        return wanted
    described = infer_signature(None, outputs).outputs
    if described and len(described) == 1 and isinstance(described[0], Column) and described[0].name == "prediction":
        described = (replace(described[0], name=None),)
    return Signature(wanted.inputs, described, wanted.params)


# -- reading -------------------------------------------------------------------------------------------------------------


def read(
    directory: str | Path,
    *,
    allow_code: bool | None = None,
    found: Manifest | None = None,
    warn: bool = True,
    hide_errors: bool = False,
    evaluator: str = "auto",
    known_digest: str | None = None,
) -> PyFuncModel:
    """Load the model of a directory on this machine.

    Parameters
    ----------
    directory : path
    allow_code : bool, optional
        Consent to code out of the directory; ``SPARKML_ALLOW_CODE`` where it is None.
    found : Manifest, optional
        Read from the directory where it is not given.
    warn : bool
        Whether other versions of the framework than those at saving are warned about.
    hide_errors : bool
        Whether the text of an error that the model raises is left out, because it may quote the data: on executors,
        whose errors end in logs.
    evaluator : {"auto", "fast", "native"}
        Whether the framework itself predicts, or a faster evaluator that was verified against it.
    known_digest : str, optional
        The directory's content digest, where somebody knows it.

    Raises
    ------
    NotFound, FormatError
        If there is no readable model.
    MissingLibrary
        If its framework is not installed; the message has the pip line.
    ConsentRequired
        If loading would run code out of the directory.
    InvalidInput
        If ``evaluator="fast"`` cannot be had for it.
    """
    directory = Path(directory)
    found = found or manifest.read(directory)
    consent = Settings.load().allow_code if allow_code is None else allow_code
    flavor = flavor_for(found)
    model, code = _load(directory, found, flavor, consent)
    if warn:
        environment.warn_about_versions(found.ours.get("versions") or {}, directory.name)
    loaded = PyFuncModel(
        model, flavor, found, directory, code, hide_errors=hide_errors, evaluator=evaluator, known_digest=known_digest
    )
    if evaluator == choice.FAST:
        _ = loaded.evaluator  # who asks for it is told now
    return loaded


def flavor_for(found: Manifest) -> Flavor:
    """The flavor that reads the ``python_function`` of a manifest."""
    loader = found.python_function.get("loader_module")
    if found.python_function and not loader:
        raise FormatError(
            "The python_function flavor in MLmodel names no loader_module, so nothing can load the model."
        )
    if not loader:
        raise FormatError(
            f"The model has no python_function flavor, so it cannot predict. Its flavors: {', '.join(found.flavors)}."
        )
    flavor = flavors.by_loader(str(loader))
    if flavor is None:
        known = [name for entry in flavors.FLAVORS.values() for name in entry.loaders]
        raise FormatError(
            f"The model is loaded by {loader!r}, which no flavor here reads. Known: {', '.join(known)}.{did_you_mean(str(loader), known)}"
        )
    return flavor


def load_native(directory: Path, found: Manifest, flavor: Flavor, consent: bool) -> Any:
    """The framework's own object; the code beside it stays importable."""
    model, code = _load(directory, found, flavor, consent)
    code.stay()
    return model


def _load(directory: Path, found: Manifest, flavor: Flavor, consent: bool) -> tuple[Any, ModelCode]:
    flavors.require(flavor.name)
    code = code_of(directory, found, consent)
    entry = {**found.python_function, **found.flavors.get(flavor.name, {}), "tuning": found.ours.get("tuning") or {}}
    try:
        with code.importable():
            return flavor.load(directory, entry, consent), code
    except ModuleNotFoundError as error:
        raise MissingLibrary(
            f"The model needs the module {error.name!r}, which is not installed here: pip install {error.name} (see its requirements.txt)."
        ) from error
    except LifecycleError:
        raise
    except Exception as error:
        raise FormatError(
            f"The {flavor.name} model at {str(directory)!r} cannot be loaded; its files are damaged or need other versions "
            f"(see its requirements.txt): {type(error).__name__}: {str(error)[:200]}"
        ) from error
