"""Which evaluator is chosen, and what is remembered of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xgboost
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from sparkml_lifecycle import package
from sparkml_lifecycle.errors import InvalidInput
from sparkml_lifecycle.evaluators import choice, compiled, verification
from sparkml_lifecycle.evaluators.scorer import TreesScorer
from sparkml_lifecycle.evaluators.trees import link_kernel
from sparkml_lifecycle.package import Description
from tests.evaluators.models import save_booster, three_columns


@pytest.fixture
def frame():
    return three_columns(500)


@pytest.fixture
def directory(frame, tmp_path):
    return save_booster(frame, tmp_path / "model", trees=10)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Compiled code stays where it is; what was tried is forgotten."""
    monkeypatch.setattr(choice, "_memory", lambda candidate, circumstances: tmp_path / "tried" / "one.json")
    (tmp_path / "tried").mkdir()
    return tmp_path / "tried" / "one.json"


def forget(directory):
    """As if the model had been saved on another kind of CPU."""
    text = (directory / "MLmodel").read_text()
    (directory / "MLmodel").write_text(text.replace(compiled.cpu(), "another-cpu"))


def test_the_trial_is_written_down_when_the_model_is_saved(directory, monkeypatch):
    monkeypatch.setattr(choice, "_tried", None)
    model = package.read(directory)
    assert model.manifest.ours["evaluator"]["name"] == "trees"
    assert model.evaluator.name == "trees"
    assert "equal to the last bit" in model.evaluator.why


def test_another_kind_of_cpu_tries_again_and_remembers(directory, cache, monkeypatch):
    forget(directory)
    assert package.read(directory).evaluator.name == "trees"
    assert json.loads(cache.read_text())["name"] == "trees"
    monkeypatch.setattr(choice, "_tried", None)
    assert package.read(directory).evaluator.name == "trees"


def test_an_evaluator_that_differs_is_not_used(directory, cache, frame, monkeypatch):
    forget(directory)
    right = TreesScorer.answer
    monkeypatch.setattr(
        TreesScorer, "answer", lambda self, table, method: np.nextafter(right(self, table, method), np.float32(9e9))
    )
    model = package.read(directory)
    assert model.evaluator.name == "native"
    assert "8192 of 8192 answers differ" in model.evaluator.why
    np.testing.assert_array_equal(model.predict(frame), model.unwrap().predict(frame))
    with pytest.raises(InvalidInput, match="did not pass its trial"):
        _ = package.read(directory, evaluator="fast").evaluator


def test_a_slower_one_is_not_used(directory, cache, monkeypatch):
    forget(directory)
    seconds = iter([1.0, 2.0])
    monkeypatch.setattr(choice, "_cpu_seconds", lambda call: next(seconds))
    assert "slower here" in package.read(directory).evaluator.why


def test_native_is_the_framework_alone(directory, frame, monkeypatch):
    monkeypatch.setattr(choice, "_found", None)
    model = package.read(directory, evaluator="native")
    assert str(model.evaluator) == "native: asked for"
    assert len(model.predict(frame)) == 500
    with pytest.raises(InvalidInput, match="'auto', 'fast' or 'native'"):
        package.read(directory, evaluator="quick")


def test_models_without_one_say_why(frame, tmp_path, monkeypatch):
    package.save(SVR().fit(frame, frame.a), tmp_path / "m", Description(input_example=frame.head(2)))
    assert "SVR" in package.read(tmp_path / "m").evaluator.why
    monkeypatch.setattr(compiled, "missing", lambda: "numba is not installed: pip install 'sparkml-lifecycle[fast]'")
    package.save(
        HistGradientBoostingRegressor(max_iter=3).fit(frame, frame.a),
        tmp_path / "h",
        Description(input_example=frame.head(2)),
    )
    model = package.read(tmp_path / "h")
    assert "numba is not installed" in model.evaluator.why
    assert "evaluator" not in model.manifest.ours
    assert len(model.predict(frame)) == 500


SCORE = """
import sys
from pathlib import Path
from sparkml_lifecycle import package
import pyarrow as pa
model = package.read(sys.argv[1], evaluator="fast")
print(model.predict(pa.table({"a": [1.0], "b": [2.0], "c": [3.0]}))[0], "numba" in sys.modules)
"""


def test_scoring_does_not_import_the_compiler(directory):
    ran = subprocess.run([sys.executable, "-c", SCORE, str(directory)], capture_output=True, text=True, check=True)
    assert ran.stdout.split()[1] == "False"


def test_processes_on_an_empty_cache_wait_for_the_one_that_compiles(directory, tmp_path):
    environment = {**os.environ, "SPARKML_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", SCORE, str(directory)]
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [one.communicate()[0].split() for one in running]
    assert len({answer for answer, _ in said}) == 1
    assert sorted(compiled_here for _, compiled_here in said) == ["False", "False", "True"]
    assert len(list((tmp_path / "cache" / "compiled").glob("*.o"))) == 1


def test_a_cache_that_cannot_be_written_or_is_open_to_others_is_not_used(directory, tmp_path, monkeypatch):
    open_to_all = tmp_path / "cache" / "compiled"
    open_to_all.mkdir(parents=True)
    open_to_all.chmod(0o777)
    monkeypatch.setenv("SPARKML_CACHE", str(tmp_path / "cache"))
    assert compiled.directory() != open_to_all
    monkeypatch.setenv("SPARKML_CACHE", "/proc/nothing")
    assert compiled.directory().is_dir()


BROKEN = """
import sys
from sparkml_lifecycle import package
model = package.read(sys.argv[1])
import pyarrow as pa
print(model.evaluator, model.predict(pa.table({"a": [1.0], "b": [2.0], "c": [3.0]})).tolist(), sep="|")
"""


def test_a_numba_that_cannot_be_imported_leaves_the_framework_and_nothing_is_written_down(frame, directory, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "numba.py").write_text("raise ImportError('numba needs another numpy')")
    environment = {**os.environ, "SPARKML_CACHE": str(tmp_path / "empty"), "PYTHONPATH": f"{broken}:{os.getcwd()}"}
    text = (directory / "MLmodel").read_text()
    (directory / "MLmodel").write_text(text.replace(compiled.cpu(), "another-cpu"))
    ran = subprocess.run(
        [sys.executable, "-c", BROKEN, str(directory)], env=environment, capture_output=True, text=True, check=True
    )
    why, answer = ran.stdout.strip().split("|")
    assert why.startswith("native: Nothing can be compiled here (ImportError: numba needs another numpy)")
    rows = pa.table({"a": [1.0], "b": [2.0], "c": [3.0]})
    assert answer == str(package.read(directory, evaluator="native").predict(rows).tolist())
    assert package.read(directory).evaluator.name == "trees"


def test_a_disk_that_is_full_at_saving_is_not_remembered(frame, tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("SPARKML_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compiled.Path, "write_bytes", full)
    kernel = compiled.Kernel("sparkml_lifecycle.evaluators.trees.link_kernel")
    values = np.zeros((1, 2))
    kernel.function("link", "exp64", ("address", "whole", "whole", "real"))(values.ctypes.data, 1, 2, 0.0)
    assert values.tolist() == [[1.0, 1.0]]  # it is compiled for this process, though it cannot be kept
    monkeypatch.setattr(choice, "scorer_of", lambda candidate: full(None, None))
    model = HistGradientBoostingRegressor(max_iter=3).fit(frame, frame.a)
    package.save(model, tmp_path / "m", Description(input_example=frame.head(2)))
    found = package.read(tmp_path / "m")
    assert "evaluator" not in found.manifest.ours
    assert "No space left" in found.evaluator.why
    monkeypatch.undo()
    assert package.read(tmp_path / "m").evaluator.name == "trees"


def test_a_pipeline_is_tried_again_with_another_version_of_its_last_step(frame, tmp_path):
    model = make_pipeline(StandardScaler(), xgboost.XGBRegressor(n_estimators=3)).fit(frame, frame.a)
    package.save(model, tmp_path / "m", Description(input_example=frame.head(2), allow_code=True))
    found = package.read(tmp_path / "m", allow_code=True)
    assert found.manifest.ours["evaluator"]["tried_with"]["versions"]["xgboost"] == xgboost.__version__


def test_who_asks_for_fast_is_told_when_the_model_is_loaded(frame, tmp_path):
    package.save(SVR().fit(frame, frame.a), tmp_path / "m", Description(input_example=frame.head(2)))
    with pytest.raises(InvalidInput, match="'fast' cannot be had for this model: there is none for SVR"):
        package.read(tmp_path / "m", evaluator="fast")


def test_a_kernel_that_was_changed_under_a_running_process_is_not_compiled(tmp_path, monkeypatch):
    monkeypatch.setenv("SPARKML_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "a_kernel.py"
    path.write_bytes(Path(link_kernel.__file__).read_bytes())
    kernel = compiled.Kernel("a_kernel")
    path.write_text(path.read_text() + "\n# the package was upgraded\n")
    with pytest.raises(compiled.Unavailable, match="was changed while this process runs"):
        kernel.function("link", "exp64", ("address", "whole", "whole", "real"))
    values = np.zeros((1, 3))
    compiled.Kernel("a_kernel").function("link", "exp64", ("address", "whole", "whole", "real"))(
        values.ctypes.data, 1, 3, 0.0
    )
    assert values.tolist() == [[1.0, 1.0, 1.0]]


def test_what_cannot_be_compiled_at_the_first_rows_is_left_to_the_framework(directory, monkeypatch):
    model = package.read(directory, evaluator="fast")
    rows = pa.table({"a": [1.0], "b": [2.0], "c": [3.0]})
    expected = package.read(directory, evaluator="native").predict(rows)

    def fails(table, method):
        raise compiled.Unavailable("No disk.")

    monkeypatch.setattr(model.evaluator.scorer, "answer", fails)
    assert model.predict(rows).tolist() == expected.tolist()
    assert str(model.evaluator) == "native: No disk"


def test_a_damaged_file_of_compiled_code_is_made_anew(directory, tmp_path):
    environment = {**os.environ, "SPARKML_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", SCORE, str(directory)]
    first = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    (path,) = (tmp_path / "cache" / "compiled").glob("*.o")
    content = path.read_bytes()
    path.write_bytes(content[:500] + b"\x90" + content[501:])
    second = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert first.split() == second.split() == [first.split()[0], "True"]
    assert path.read_bytes() == content


def test_several_threads_share_a_model(directory, frame):
    from concurrent.futures import ThreadPoolExecutor

    model = package.read(directory)
    expected = model.predict(frame)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: model.predict(frame), range(200)):
            np.testing.assert_array_equal(found, expected)


FORKED = """
import os, sys
import pyarrow as pa
from sparkml_lifecycle import package
rows = pa.table({"a": [1.0], "b": [2.0], "c": [3.0]})
model = package.read(sys.argv[1], evaluator="fast")
expected = model.predict(rows)[0]
child = os.fork()
if child == 0:
    # OpenMP, which the framework loads with, does not work in a forked child
    os._exit(0 if model.predict(rows)[0] == expected else 1)
print(os.waitpid(child, 0)[1])
"""


def test_a_forked_process_scores(directory):
    ran = subprocess.run([sys.executable, "-c", FORKED, str(directory)], capture_output=True, text=True, timeout=120)
    assert ran.stdout.split() == ["0"], ran.stderr


def test_differences_are_told():
    one, other = np.array([1.0, 2.0]), np.array([1.0, 2.0 + 1e-13])
    assert verification.difference(one, one, None) is None
    assert "1 of 2 answers differ" in verification.difference(one, other, None)
    assert verification.difference(one, other, np.full(2, 1e-12)) is None
    assert "float32" in verification.difference(one, one.astype(np.float32), None)
    assert "other names" in verification.difference({"a": one}, {"b": one}, None)
    assert verification.difference({"a": one}, {"a": one}, None) is None
    assert verification.difference(np.array([np.nan]), np.array([np.nan]), None) is None
    assert "differ" in verification.difference(np.array(["a"]), np.array(["b"]), None)
