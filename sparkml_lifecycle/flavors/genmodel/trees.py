"""A MOJO's trees as plain arrays in one file beside it: who scores with them needs no Java."""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparkml_lifecycle.flavors.genmodel import MOJO

FILE = "trees.npz"
_FORMAT = 1
_NODES: dict[str, Any] = {
    "left": np.int32,
    "right": np.int32,
    "column": np.int32,
    "cut": np.float32,
    "value": np.float32,
}
_NODES |= {"missing_right": np.bool_, "set_at": np.int64}
_TREES: dict[str, Any] = {"end": np.int64, "output": np.int32}
_KINDS: dict[str, Any] = {**_NODES, **_TREES, "sets": np.uint8}
ATTRIBUTES = ("features", "domains", "outputs", "labels", "category", "algorithm", "version", "response", "offset")


class TreesError(ValueError):
    """The file is damaged, of another format, or of another MOJO."""


@dataclass(frozen=True)
class MojoTrees:
    """The trees of one GBM, DRF or XGBoost.

    Attributes
    ----------
    attributes : mapping
        Those of a :class:`~sparkml_lifecycle.flavors.genmodel.sparkml_h2o_mojo.MojoScorer`.
    facts : mapping
        What makes answers of sums, as ``Trees.java`` names it; and for each feature its position among the columns of the
        model itself (``positions``), with what an explicit encoding makes of its levels (``encoded``).
    arrays : mapping of str to numpy array
        Per node ``left``, ``right``, ``column``, ``cut``, ``value``, ``missing_right`` and ``set_at``; per tree ``end`` and
        ``output``; and the bytes of ``sets``.
    """

    attributes: Mapping[str, Any]
    facts: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


def write(scorer: Any, directory: Path) -> bool:
    """Write the trees of the MOJO in ``directory``; False if it has none that are known.

    Parameters
    ----------
    scorer : MojoScorer
        Of this MOJO.
    directory : Path
    """
    import jpype

    java = scorer._java
    try:
        trees = java.trees()
    except jpype.JException:  # a form that our Java does not know
        return False
    if trees is None:
        return False
    arrays = {name: np.asarray(getattr(trees, _java_name(name)), kind) for name, kind in _KINDS.items()}
    header = {
        "format": _FORMAT,
        "mojo": _digest(directory / MOJO),
        "attributes": {name: getattr(scorer, name) for name in ATTRIBUTES},
        "facts": _facts(trees) | {"positions": _numbers(java.positions()), "encoded": _encoded(java)},
    }
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez_compressed(directory / FILE, allow_pickle=False, **arrays)
    return True


def read(directory: Path) -> MojoTrees | None:
    """The trees beside a MOJO; None if there is no such file.

    Raises
    ------
    TreesError
    """
    path = directory / FILE
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(file["header"].tobytes())
            arrays = {name: file[name] for name in _KINDS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise TreesError(f"its {FILE} cannot be read ({type(error).__name__})") from error
    if header.get("format") != _FORMAT:
        raise TreesError(f"its {FILE} has the format {header.get('format')}, and {_FORMAT} is known")
    if header["mojo"] != _digest(directory / MOJO):
        raise TreesError(f"its {FILE} belongs to another {MOJO}")
    _check(arrays, header)
    return MojoTrees(header["attributes"], header["facts"], arrays)


def _check(arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    nodes, trees = len(arrays["left"]), len(arrays["end"])
    sizes = {**dict.fromkeys(_NODES, nodes), **dict.fromkeys(_TREES, trees)}
    whole = all(arrays[name].shape == (size,) for name, size in sizes.items())
    kinds = all(arrays[name].dtype == np.dtype(kind) for name, kind in _KINDS.items())
    if not whole or not kinds or not trees or arrays["end"][-1] != nodes or set(ATTRIBUTES) - set(header["attributes"]):
        raise TreesError(f"its {FILE} is damaged")


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _java_name(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _facts(trees: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {name: _text(getattr(trees, name)()) for name in ("family", "link")}
    facts["objective"] = _text(trees.objective)
    facts |= {name: float(getattr(trees, name)()) for name in ("init", "threshold", "least")}
    facts |= {name: int(getattr(trees, name)()) for name in ("width", "classes", "groups")}
    facts |= {name: _numbers(getattr(trees, name)()) for name in ("sizes", "prior", "balanced", "platt")}
    facts |= {"double_trees": bool(trees.doubleTrees()), "base": float(trees.base), "offsets": _numbers(trees.offsets)}
    return facts | {"sparse": bool(trees.sparse), "all_levels": bool(trees.allLevels)}


def _encoded(java: Any) -> list[Any]:
    found: list[Any] = []
    for number in range(len(java.features())):
        positions = java.encodedPositions(number)
        if positions is None:
            found.append(None)
        else:
            values = java.encodedValues(number)
            found.append([[_numbers(one) for one in positions], [_numbers(one) for one in values]])
    return found


def _numbers(values: Any) -> list[Any] | None:
    return None if values is None else np.asarray(values).tolist()


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
