"""``sparkml`` itself: its version, its help, one line for an error."""

import pytest

from sparkml_lifecycle import __version__
from sparkml_lifecycle.cli import main


@pytest.mark.parametrize("arguments", [["--version"], [], ["--help"]])
def test_asking_for_version_or_help_is_no_error(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code in (0, None)
    said = capsys.readouterr().out
    assert said == f"sparkml {__version__}\n" if arguments == ["--version"] else "doctor" in said


def test_a_wrong_command_is_an_error(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["demmo"])
    assert ended.value.code == 2
    assert "demmo" in capsys.readouterr().err
