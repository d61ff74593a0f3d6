"""Which files of a local directory are copied, and what is said before any is."""

import os
import socket

import pytest

from sparkml_lifecycle.errors import InvalidInput, NotFound
from sparkml_lifecycle.storage import open_storage


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source" / "deep").mkdir(parents=True)
    (tmp_path / "source" / "a.txt").write_text("a")
    (tmp_path / "source" / "deep" / "b.txt").write_text("b")
    return tmp_path / "source"


@pytest.fixture
def storage(tmp_path):
    return open_storage(tmp_path / "store")


def _stored(storage):
    return [file.path for file in storage.list(recursive=True) if not file.is_dir]


def test_links_are_followed(source, storage, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "inner.txt").write_text("i")
    (source / "linked").symlink_to("../real")
    (source / "again").symlink_to("deep")
    (source / "best.txt").symlink_to("a.txt")
    storage.upload(source, "up")
    assert _stored(storage) == [
        "up/a.txt", "up/again/b.txt", "up/best.txt", "up/deep/b.txt", "up/linked/inner.txt",
    ]  # fmt: skip
    assert storage.read_bytes("up/linked/inner.txt") == b"i"


def _socket(place):
    with socket.socket(socket.AF_UNIX) as one:
        here = os.open(place.parent, os.O_RDONLY)
        # the path of a socket may have some 100 characters only
        one.bind(f"/proc/self/fd/{here}/{place.name}")
        os.close(here)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda place: place.symlink_to("nowhere"), "z' is a link to nothing"),
        (lambda place: place.symlink_to("z"), "z' is a link to nothing"),
        (os.mkfifo, "z' is a pipe, socket or device"),
        (_socket, "z' is a pipe, socket or device"),
        (lambda place: place.symlink_to("../.."), "leads back to .*source', in which it lies"),
        (lambda place: place.symlink_to("."), "leads back to .*deeper', in which it lies"),
        (lambda place: (place.parent / "back\\slash").touch(), "backslash"),
        (lambda place: place.with_name("é").rename(place.parent / "\udcff"), "no UTF-8"),
    ],
    ids=["dangling", "itself", "pipe", "socket", "loop", "short loop", "backslash", "no UTF-8"],
)
def test_what_cannot_be_copied_is_said_before_anything_is(source, storage, make, said):
    (source / "deeper").mkdir()
    (source / "deeper" / "é").touch()
    make(source / "deeper" / "z")
    with pytest.raises(InvalidInput, match=said):
        storage.upload(source, "up")
    assert not storage.exists()


def test_a_pipe_is_not_read(source, storage):
    os.mkfifo(source / "pipe")
    with pytest.raises(InvalidInput, match="pipe' is a pipe"):
        storage.upload(source / "pipe", "up")
    with pytest.raises(NotFound, match="no file or directory"):
        storage.upload(source / "nothing", "up")
