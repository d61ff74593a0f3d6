"""The command line: ``sparkml doctor``, ``sparkml demo``; one file per noun."""

import sys


def main() -> None:
    """Run the command line; an error of the package is one line on stderr and exit code 1."""
    from sparkml_lifecycle.errors import LifecycleError

    try:
        import typer
    except ImportError:
        sys.exit("sparkml needs typer and rich: pip install 'sparkml-lifecycle[cli]'")
    from sparkml_lifecycle.cli import demo, doctor

    app = typer.Typer(
        help="Track, package and score models on Spark and Delta.", no_args_is_help=True, add_completion=False
    )
    app.command("doctor")(doctor.doctor)
    app.command("demo")(demo.demo)
    try:
        app()
    except LifecycleError as error:
        sys.exit(f"sparkml: {error}")
