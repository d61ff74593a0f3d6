"""What is shipped beside an H2O model, and which of it is known to be ours or H2O's."""

import hashlib
from pathlib import Path

from sparkml_lifecycle.errors import MissingLibrary

_HERE = Path(__file__).parent
MOJO, GENMODEL = "model.zip", "h2o-genmodel.jar"
LOADER = _HERE / "sparkml_h2o_mojo.py"
SCORER_JAR = _HERE / "sparkml-scorer.jar"
SOURCES = (_HERE / "BatchScorer.java", _HERE / "Trees.java")

# sha256 of h2o-genmodel.jar as H2O publishes it. A jar is code: one that is not named here needs consent to be loaded.
KNOWN_GENMODEL = {"3de87b826b8d8ec0fcde386a6526baa1cb6585a2dc68a651717dd7efeec978bf": "3.46.0.11"}


def is_our_loader(content: bytes) -> bool:
    """Whether a file of a model directory's ``code/`` is the loader that we ship, which needs no consent."""
    return hashlib.sha256(content).digest() == hashlib.sha256(LOADER.read_bytes()).digest()


def is_known_genmodel(content: bytes) -> bool:
    """Whether a jar is a genmodel that H2O published."""
    return hashlib.sha256(content).hexdigest() in KNOWN_GENMODEL


def genmodel_jar() -> bytes:
    """The genmodel jar inside the installed h2o package.

    Raises
    ------
    MissingLibrary
        If the package is not installed.
    """
    import zipfile
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        path = distribution("h2o").locate_file("h2o/backend/bin/h2o.jar")
    except PackageNotFoundError as error:
        raise MissingLibrary(
            "H2O's genmodel jar is in the h2o package: pip install h2o==3.46.0.11 (or 'sparkml-lifecycle[h2o]')."
        ) from error
    with zipfile.ZipFile(str(path)) as jar:
        return jar.read("www/3/h2o-genmodel.jar")
