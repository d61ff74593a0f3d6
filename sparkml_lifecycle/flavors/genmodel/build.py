"""``python -m sparkml_lifecycle.flavors.genmodel.build``: compile our Java into the jar that is shipped.

Needs javac (11 or newer) and the h2o package, which brings H2O's genmodel jar. The same compiler gives the same bytes.
"""

import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from sparkml_lifecycle.flavors.genmodel import SCORER_JAR, SOURCES, genmodel_jar

RELEASE = "11"


def compile_classes(sources: Sequence[Path] = SOURCES) -> dict[str, bytes]:
    """The class files of the sources by their path inside the jar."""
    with tempfile.TemporaryDirectory() as work:
        jar = Path(work, "h2o-genmodel.jar")
        jar.write_bytes(genmodel_jar())
        out = Path(work, "classes")
        command = ["javac", "--release", RELEASE, "-g:none", "-proc:none", "-cp", str(jar), "-d", str(out)]
        subprocess.run([*command, *map(str, sources)], check=True, capture_output=True, text=True)
        return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*.class"))}


def pack(classes: dict[str, bytes]) -> bytes:
    """A jar whose bytes depend on nothing but the classes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as jar:
        for name, content in {"META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\r\n\r\n", **classes}.items():
            jar.writestr(zipfile.ZipInfo(name, (1980, 2, 1, 0, 0, 0)), content)
    return buffer.getvalue()


if __name__ == "__main__":
    try:
        SCORER_JAR.write_bytes(pack(compile_classes()))
    except subprocess.CalledProcessError as error:
        sys.exit(error.stderr)
