"""The README's Python runs, in its order, in an empty directory."""

import re
from pathlib import Path

import pytest

import sparkml_lifecycle as ml

README = (Path(__file__).parent.parent / "README.md").read_text()
SNIPPETS = re.findall(r"^## ([^\n]+)$|^```python\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)

# what a section takes as given: a model with the columns a and b, and with the probabilities early and late
GIVEN = {
    "Spark functions": """
import pandas as pd
few = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [0.0, 1.0, 0.0, 1.0]})
few_model = RidgeClassifier().fit(few, ["early", "late", "early", "late"])
from sklearn.linear_model import LogisticRegression
ml.save_model(LogisticRegression().fit(few, ["early", "late", "early", "late"]), "few", input_example=few)
uri = "few"
df = spark.createDataFrame(few.assign(other=1))
""",
}


@pytest.mark.spark
@pytest.mark.slow
def test_the_python_of_the_readme_runs(spark, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    section, run = "", []
    for heading, code in SNIPPETS:
        if heading:
            section = heading
            exec(GIVEN.get(heading, ""), scope)
            continue
        exec(compile(code, f"README.md, {section}", "exec"), scope)
        run.append(section)
    if ml.active_run():
        ml.end_run()
    ml.LifecycleClient().close()
    assert {"Twelve lines", "Tracking", "Models", "Spark functions"} <= set(run)
    assert "auc" in capsys.readouterr().out
    assert (tmp_path / "mllake" / "metrics").is_dir()


def test_links_into_the_repository_lead_somewhere():
    root = Path(__file__).parent.parent
    named = re.findall(r"`((?:notebooks|jobs|conf|tests)/[\w./]+)`", README)
    assert named
    assert [name for name in named if not (root / name).exists()] == []
