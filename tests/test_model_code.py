"""Each model has its own modules, in a process that holds several models."""

import sys
import threading

import pandas as pd
import pytest

from sparkml_lifecycle import errors, package
from sparkml_lifecycle.package import Description

LAZY = "from sparkml_lifecycle import models\ndef predict(x):\n    import helpers_of_a_test\n    return x['x'] * helpers_of_a_test.FACTOR\nmodels.set_model(predict)\n"
EAGER = "from sparkml_lifecycle import models\nfrom helpers_of_a_test import FACTOR\ndef predict(x):\n    return x['x'] * FACTOR\nmodels.set_model(predict)\n"


def saved(tmp_path, factor, source):
    folder = tmp_path / str(factor)
    folder.mkdir()
    (folder / "helpers_of_a_test.py").write_text(f"FACTOR = {factor}\n")
    (folder / "model.py").write_text(source)
    description = Description("python_function", code_paths=[folder / "helpers_of_a_test.py"], allow_code=True)
    package.save(str(folder / "model.py"), folder / "m", description)
    return folder / "m"


@pytest.mark.parametrize("source", [LAZY, EAGER])
def test_two_models_with_a_module_of_the_same_name_each_use_their_own(tmp_path, source):
    frame = pd.DataFrame({"x": [1.0]})
    models = [package.read(saved(tmp_path, factor, source), allow_code=True) for factor in (1, 100)]
    for _ in range(2):
        assert [float(model.predict(frame)[0]) for model in models] == [1.0, 100.0]
    assert "helpers_of_a_test" not in sys.modules
    assert not any(str(tmp_path) in entry for entry in sys.path)
    found = []
    threads = [threading.Thread(target=lambda m=m: found.append(float(m.predict(frame)[0]))) for m in models * 10]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [1.0] * 10 + [100.0] * 10


def test_two_files_of_one_name_are_refused(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.py").write_text("")
    paths = [tmp_path / "one" / "same.py", tmp_path / "two" / "same.py"]
    with pytest.raises(errors.InvalidInput, match=r"called 'same\.py'"):
        package.save(lambda x: x, tmp_path / "m", Description(code_paths=paths, allow_code=True))
