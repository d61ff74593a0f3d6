"""The command line as a person calls it, over real lakes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sparkml_lifecycle import cli


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        def no_constant(name: str) -> None:
            raise ValueError(f"{name} is no JSON")

        return json.loads(self.out, parse_constant=no_constant)


@pytest.fixture
def sparkml(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Runs the real ``main``; an exit with a text is what the interpreter makes of it: exit code 1 and the text on stderr."""

    def run(*arguments: object) -> Said:
        with pytest.raises(SystemExit) as ended:
            cli.main([str(one) for one in arguments])
        out, err = capsys.readouterr()
        code = ended.value.code
        return Said(1, out, err + code) if isinstance(code, str) else Said(int(code or 0), out, err)

    return run
