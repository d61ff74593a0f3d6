"""How long ``import sparkml_lifecycle`` takes in a fresh interpreter: ``python -m tests.bench.import_time``."""

import subprocess
import sys
import time


def seconds(statement: str, repeats: int = 7) -> float:
    """The best of several fresh interpreters."""
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True)
        best = min(best, time.perf_counter() - started)
    return best


if __name__ == "__main__":
    bare = seconds("pass")
    for statement in ("import sparkml_lifecycle", "import sparkml_lifecycle.cli as cli; cli.app()"):
        print(
            f"{statement:36} {1000 * (seconds(statement) - bare):6.0f} ms over an empty interpreter's {1000 * bare:.0f} ms"
        )
