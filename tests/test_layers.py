"""DESIGN.md section 2: a module imports only from lines below its own; inside a line only where an arrow is drawn."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import sparkml_lifecycle

PACKAGE = Path(sparkml_lifecycle.__file__).parent
NAME = "sparkml_lifecycle"

LINES = (
    ("cli", "server", "testing"),
    ("projects", "promotion", "monitoring", "maintenance", "card", "transfer"),
    ("pyfunc", "models", "frameworks"),
    ("scoring",),
    ("saving", "fluent", "registered", "data", "artifacts"),
    ("client",),
    ("registry", "tracking", "rest"),
    ("package", "loaded", "nulls", "model_code"),
    ("flavors", "evaluators", "environment"),
    ("lake",),
    ("model", "wire", "entities"),
    ("spark", "storage", "uris", "current", "origin"),
    ("settings", "errors", "exceptions", "absent"),
)
ARROWS = {
    ("package", "loaded"),
    ("package", "nulls"),
    ("package", "model_code"),
    ("loaded", "nulls"),
    ("loaded", "model_code"),
    ("saving", "fluent"),
    ("exceptions", "errors"),
    ("absent", "errors"),
    ("registry", "tracking"),
    ("rest", "tracking"),
    ("wire", "entities"),
    ("storage", "uris"),
    ("settings", "errors"),
}
# upward on purpose: MLflow's scripts say mlflow.tracking.MlflowClient
NAMED = {("tracking", "client")}
LINE_OF = {module: number for number, line in enumerate(LINES) for module in line}


def imports(source: str, module: str) -> Iterator[tuple[int, str]]:
    """Line number and top module of every import from this package, in functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [_absolute(node, alias.name, module) for alias in node.names]
        elif isinstance(node, ast.Call) and _is_import_call(node):
            names = [
                argument.value
                for argument in node.args[:1]
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            ]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == NAME and len(parts) > 1:
                yield node.lineno, parts[1]


def _absolute(node: ast.ImportFrom, name: str, module: str) -> str:
    base = module.split(".")[: -node.level] if node.level else []
    return ".".join([*base, *([node.module] if node.module else []), name])


def _is_import_call(node: ast.Call) -> bool:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in ("import_module", "__import__")


def allowed(importer: str, imported: str) -> bool:
    if importer == imported or (importer, imported) in ARROWS | NAMED:
        return True
    return LINE_OF[imported] > LINE_OF[importer]


def _files() -> list[Path]:
    found = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]
    # a model's own code: it runs where this package may not be installed
    return [path for path in found if path.name != "sparkml_h2o_mojo.py"]


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join((NAME, *parts))


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    module = _module(path)
    importer = module.split(".")[1]
    assert importer in LINE_OF, f"{importer} is in no line of the drawing in DESIGN.md section 2"
    # `from sparkml_lifecycle import __version__` names the package itself
    found = [(line, name) for line, name in imports(path.read_text(), module) if name in LINE_OF]
    wrong = [f"{path.name}:{line} imports {name}" for line, name in found if not allowed(importer, name)]
    assert wrong == []


def test_the_model_loader_that_travels_imports_nothing_of_the_package() -> None:
    path = PACKAGE / "flavors" / "genmodel" / "sparkml_h2o_mojo.py"
    assert list(imports(path.read_text(), _module(path))) == []


@pytest.mark.parametrize(
    ("source", "module", "expected"),
    [
        ("from sparkml_lifecycle import client, uris", "lake.table", ["client", "uris"]),
        ("import sparkml_lifecycle.client.runs as c", "lake.table", ["client"]),
        ("def f():\n    from sparkml_lifecycle.server import app", "lake.table", ["server"]),
        ("if TYPE_CHECKING:\n    from ..scoring.job import run_job", "lake.table", ["scoring"]),
        ("importlib.import_module('sparkml_lifecycle.fluent')", "lake.table", ["fluent"]),
        ("import pyarrow as pa\nfrom pathlib import Path", "lake.table", []),
    ],
)
def test_every_form_of_import_is_seen(source: str, module: str, expected: list[str]) -> None:
    assert [name for _, name in imports(source, f"{NAME}.{module}")] == expected


def test_an_upward_import_is_refused() -> None:
    assert not allowed("lake", "client")
    assert not allowed("flavors", "environment")
    assert not allowed("uris", "storage")
    assert allowed("storage", "uris")
    assert allowed("client", "lake")
