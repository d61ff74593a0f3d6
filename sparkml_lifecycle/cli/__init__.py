"""The command line, ``sparkml``; one file per noun."""

import io
import sys
from collections.abc import Sequence
from typing import Annotated, Any

from sparkml_lifecycle import __version__
from sparkml_lifecycle.errors import ConfigError, LifecycleError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error of the package is one line on stderr and exit code 1.

    Parameters
    ----------
    arguments : sequence of str, optional
        The process's own arguments where they are not given.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # a terminal that cannot show a name still shows the rest
            stream.reconfigure(errors="replace")
    try:
        app()(given or ["--help"], prog_name="sparkml")
    except LifecycleError as error:
        if "--debug" in given:
            raise
        if isinstance(error, ConfigError):
            print(f"sparkml: {error}", file=sys.stderr)
            sys.exit(2)
        sys.exit(f"sparkml: {error}")


def app() -> Any:
    """The typer application with all commands.

    Raises
    ------
    MissingLibrary
        If typer or rich is not installed.
    """
    from sparkml_lifecycle.errors import MissingLibrary

    try:
        import rich  # noqa: F401
        import typer
    except ImportError as error:
        raise MissingLibrary(
            "The command line needs typer and rich, which are not installed: pip install 'sparkml-lifecycle[cli]'."
        ) from error
    from sparkml_lifecycle.cli import experiments, models, runs
    from sparkml_lifecycle.cli.demo import demo
    from sparkml_lifecycle.cli.doctor import doctor
    from sparkml_lifecycle.cli.maintain import gc, maintain
    from sparkml_lifecycle.cli.score import score

    made = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    def say_version(wanted: bool) -> None:
        if wanted:
            typer.echo(f"sparkml {__version__}")
            raise typer.Exit

    def options(
        debug: bool = False,
        version: Annotated[bool, typer.Option("--version", callback=say_version, is_eager=True)] = False,
    ) -> None:
        """Track, package and score models on Spark and Delta. With --debug an error shows where it was raised."""

    made.callback()(options)
    made.command()(doctor)
    made.command()(demo)
    made.command()(score)
    made.command()(maintain)
    made.command()(gc)
    made.add_typer(experiments.commands, name="experiments")
    made.add_typer(runs.commands, name="runs")
    made.add_typer(models.commands, name="models")
    return made
