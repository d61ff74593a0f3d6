"""A real HDFS on this machine: Hadoop's jars from Maven Central, a NameNode and a DataNode on free loopback ports.

The jars are fetched once, by the Ivy that ships inside pyspark (so Java is all that is needed), and kept under
``~/.cache/sparkml-tests``.
"""

import itertools
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from xml.sax.saxutils import escape

VERSION = "3.4.1"
MODULES = ("hadoop-hdfs", "hadoop-hdfs-client", "hadoop-common")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparkml-tests"
_SERVER = "org.apache.hadoop.hdfs.server"


def jars() -> Path:
    """The directory of Hadoop's jars, filled if this machine has none."""
    target = CACHE / f"hadoop-hdfs-{VERSION}"
    if not target.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            found = Path(folder) / "jars"
            said = _by_ivy(Path(folder), found)
            assert list(found.glob(f"hadoop-hdfs-{VERSION}.jar")), f"Hadoop's jars cannot be fetched: {said[-3000:]}"
            try:
                found.rename(target)
            except OSError:
                assert target.is_dir(), "somebody else was first, and there is nothing"
    return target


def _by_ivy(folder: Path, target: Path) -> str:
    import pyspark

    [ivy] = (Path(pyspark.__file__).parent / "jars").glob("ivy-*.jar")
    wanted = "".join(
        f'<dependency org="org.apache.hadoop" name="{name}" rev="{VERSION}" conf="default->default"/>'
        for name in MODULES
    )
    module = f'<ivy-module version="2.0"><info organisation="tests" module="hdfs"/><dependencies>{wanted}</dependencies></ivy-module>'
    (folder / "ivy.xml").write_text(module)
    pattern = f"{target}/[artifact]-[revision](-[classifier]).[ext]"
    command = ["java", "-jar", str(ivy), "-cache", str(folder / "ivy"), "-ivy", "ivy.xml", "-types", "jar", "bundle"]
    return _run([*command, "-retrieve", pattern], folder)


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return f"{' '.join(command[:3])} … ended with {done.returncode}: {done.stdout}{done.stderr}"


@contextmanager
def cluster(root: Path) -> Iterator[str]:
    """A running HDFS whose files lie under ``root``; gives its URI and ends its two processes."""
    name, *others = (free_port() for _ in range(5))
    java = _configured(root, name, others)
    formatted = subprocess.run(
        [*java, f"{_SERVER}.namenode.NameNode", "-format", "-nonInteractive"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert formatted.returncode == 0, formatted.stderr[-3000:]
    with ExitStack() as stack:
        started = []
        for server in ("namenode.NameNode", "datanode.DataNode"):
            log = stack.enter_context((root / f"{server}.log").open("w"))
            started.append(subprocess.Popen([*java, f"{_SERVER}.{server}"], cwd=root, stdout=log, stderr=log))
            stack.callback(end, started[-1])
        uri = f"hdfs://127.0.0.1:{name}"
        _wait_until_it_writes(uri, started, root)
        yield uri


def _configured(root: Path, name: int, others: list[int]) -> list[str]:
    conf = root / "conf"
    for web in ("hdfs", "datanode"):
        (conf / "webapps" / web).mkdir(parents=True)
    web, data, data_web, data_ipc = (f"127.0.0.1:{port}" for port in others)
    core = {"fs.defaultFS": f"hdfs://127.0.0.1:{name}", "hadoop.tmp.dir": root / "tmp"}
    hdfs = {
        "dfs.replication": 1, "dfs.permissions.enabled": "false", "dfs.namenode.safemode.extension": 0,
        "dfs.namenode.name.dir": (root / "name").as_uri(), "dfs.datanode.data.dir": (root / "data").as_uri(),
        "dfs.namenode.rpc-address": f"127.0.0.1:{name}", "dfs.namenode.http-address": web,
        "dfs.datanode.address": data, "dfs.datanode.http.address": data_web, "dfs.datanode.ipc.address": data_ipc,
    }  # fmt: skip
    for file, said in (("core-site.xml", core), ("hdfs-site.xml", hdfs)):
        entries = (f"<property><name>{k}</name><value>{escape(str(v))}</value></property>" for k, v in said.items())
        (conf / file).write_text(f"<configuration>{''.join(entries)}</configuration>")
    return ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", f"{conf}:{jars()}/*"]


def _wait_until_it_writes(uri: str, started: list["subprocess.Popen[bytes]"], root: Path) -> None:
    from hdfs_native import Client

    until = time.monotonic() + 120
    said = ""
    for number in itertools.count():
        logs = "".join(log.read_text()[-1500:] for log in root.glob("*.log"))
        assert all(server.poll() is None for server in started), logs
        assert time.monotonic() < until, f"{said}\n{logs}"
        try:
            with Client(uri).create(f"/ready-{number}") as file:
                file.write(b"yes")
            return
        except Exception as error:  # the NameNode is not up, or has no DataNode yet
            said = str(error)
            time.sleep(0.3)


def end(server: "subprocess.Popen[bytes]") -> None:
    """End a process that was started here, and wait for it."""
    server.terminate()
    try:
        server.wait(timeout=20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
