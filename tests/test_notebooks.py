"""Every notebook runs from top to bottom in an empty directory, and a notebook's cells share a run."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Runs a notebook in a real kernel of this interpreter; gives what it printed, cell by cell."""
    from nbclient import NotebookClient

    kernel = tmp_path / "jupyter" / "kernels" / "here"
    kernel.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "here", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))

    def executed(book):
        NotebookClient(book, timeout=300, kernel_name="here", resources={"metadata": {"path": str(tmp_path)}}).execute()
        return [output["text"] for cell in book.cells for output in cell.get("outputs", []) if "text" in output]

    return executed


@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_a_notebook_runs(path, execute):
    import nbformat

    printed = "".join(execute(nbformat.read(path, as_version=4)))
    assert "prediction" in printed
    assert "r2" in printed
    assert all(not cell.get("outputs") for cell in nbformat.read(path, as_version=4).cells), (
        "notebooks are committed without outputs"
    )


@pytest.mark.filterwarnings("ignore")
def test_the_cells_of_a_notebook_share_a_run(execute, tmp_path, monkeypatch):
    import nbformat

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("SPARKML_TRACKING_URI", str(tmp_path / "lake"))
    cells = [
        "import asyncio\nfrom sparkml_lifecycle import fluent as ml\nrun = ml.start_run()",
        "ml.log_metric('plain', 1)",
        "await asyncio.sleep(0)\nml.log_metric('awaited', 1)",
        "await asyncio.create_task(asyncio.to_thread(ml.log_metric, 'thread', 1))",
        "try:\n    ml.start_run()\nexcept ValueError as error:\n    print(error)",
        "async def job():\n    with ml.start_run(nested=True) as one:\n        await asyncio.sleep(0.01)\n    return one",
        "inner = await asyncio.gather(job(), job())",
        "print([ml.get_parent_run(one.info.run_id).info.run_id == run.info.run_id for one in inner])",
        "ml.end_run()\nprint(ml.active_run(), sorted(ml.get_run(run.info.run_id).data.metrics))",
    ]
    refused, parents, end = execute(nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells))))
    assert "is active" in refused
    assert parents == "[True, True]\n"
    assert end == "None ['awaited', 'plain', 'thread']\n"
