"""Real servers for every kind of storage; each ends exactly the processes that it started."""

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from sparkml_lifecycle.storage import Storage, open_storage

SECRET = "sesame-open"
# what the same tests run on; each names a fixture
KINDS = ["local", "s3", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("hdfs", "azure", "gcs"))]


@dataclass(frozen=True)
class Place:
    """Where a test may write, and the options to get there."""

    uri: str
    options: dict[str, str] = field(default_factory=dict, repr=False)

    def storage(self, path: str) -> Storage:
        return open_storage(f"{self.uri}/{path}", self.options)


@contextmanager
def s3_server(mode: str) -> Iterator[tuple[str, str]]:
    """The URLs of the server, which has one bucket, and of the proxy before it."""
    import boto3

    command = [sys.executable, "-m", "tests.storage.s3server", mode]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        direct, front = (f"http://127.0.0.1:{port}" for port in server.stdout.readline().decode().split())
        access = {"aws_access_key_id": "it", "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
        boto3.client("s3", endpoint_url=direct, **access).create_bucket(Bucket="bucket")
        yield direct, front
    finally:
        server.communicate(timeout=30)


def post(url: str) -> None:
    """Tell the proxy before the S3 server something: ``…/_cut`` or ``…/_go``."""
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=60):
        pass


def s3_options(endpoint: str) -> dict[str, str]:
    return {"endpoint_url": endpoint, "access_key_id": "it", "secret_access_key": SECRET, "region": "us-east-1"}


@pytest.fixture(scope="session")
def s3_urls() -> Iterator[tuple[str, str]]:
    with s3_server("honour") as urls:
        yield urls


@pytest.fixture(scope="session")
def s3(s3_urls: tuple[str, str]) -> Place:
    return Place("s3://bucket", s3_options(s3_urls[0]))


@pytest.fixture(scope="session")
def overwriting_s3() -> Iterator[Place]:
    """An S3 that ignores If-None-Match, as old look-alikes do."""
    with s3_server("ignore") as (_, front):
        yield Place("s3://bucket", s3_options(front))


@pytest.fixture(scope="session")
def hdfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    from tests.storage.hdfs import cluster

    with cluster(tmp_path_factory.mktemp("hdfs")) as uri:
        yield Place(uri)


@pytest.fixture(scope="session")
def azure() -> Iterator[Place]:
    from tests.storage.azurite import ACCOUNT, KEY, server

    with server() as url:
        place = Place(f"abfss://bucket@{ACCOUNT}.dfs.core.windows.net", {"account_key": KEY, "endpoint_url": url})
        place.storage("x").arrow()[0].create_dir("bucket")
        yield place


@pytest.fixture(scope="session")
def gcs() -> Iterator[Place]:
    from tests.storage.fakegcs import server

    with server() as url:
        yield Place("gs://bucket", {"endpoint_url": url, "anonymous": "true"})
