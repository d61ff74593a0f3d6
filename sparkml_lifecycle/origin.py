"""Where a run comes from: who started which program, at which git commit."""

import sys
from pathlib import Path

from sparkml_lifecycle.settings import Settings


def tags() -> dict[str, str]:
    """MLflow's tags of this process's user, program or notebook, and the commit that is checked out there."""
    import getpass

    source = sys.argv[0] if sys.argv and sys.argv[0] else sys.executable
    notebook = "ipykernel" in sys.modules
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    said = {
        "mlflow.user": Settings.load().user or user,
        "mlflow.source.name": source,
        "mlflow.source.type": "NOTEBOOK" if notebook else "LOCAL",
    }
    commit = _git_commit(Path.cwd() if notebook else Path(source).absolute().parent)
    said |= {"mlflow.source.git.commit": commit} if commit else {}
    return {key: readable(value) for key, value in said.items()}


def readable(text: str) -> str:
    """What the system says (a login name, a program's path) as text that can be written; a byte of it that is no UTF-8 is ``?``."""
    return text.encode(errors="replace").decode()


def _git_commit(directory: Path) -> str | None:
    # read from the files: asking git itself would take longer than starting the run
    for place in (directory, *directory.parents):
        git = place / ".git"
        if not git.is_dir():
            continue
        try:
            head = (git / "HEAD").read_text().strip()
            if not head.startswith("ref: "):
                return head
            loose = git / head[5:]
            if loose.is_file():
                return loose.read_text().strip()
            packed = (line.split(" ", 1) for line in (git / "packed-refs").read_text().splitlines() if " " in line)
            return next((commit for commit, name in packed if name == head[5:]), None)
        except (OSError, UnicodeDecodeError):
            return None
    return None
