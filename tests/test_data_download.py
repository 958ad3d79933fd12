"""The download of CIFAR-10: what is unpacked, what is refused, and that nothing is left behind."""

import io
import os
import resource
import signal
import tarfile
import threading
from dataclasses import replace
from hashlib import md5
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cifar10_files import BINARY, NOWHERE, PYTHON, assert_holds, write_binary, write_python
from command_line import files, refusal

from degradation.data import cifar10, load_dataset
from degradation.errors import Stopped
from degradation.training.interrupts import stop_requests


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        content = self.server.contents.get(self.path[1:])
        if content is None:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        half = len(content) // 2
        self.wfile.write(content[:half])
        if self.server.halfway() != "hang up":
            self.wfile.write(content[half:])

    def log_message(self, *_):
        pass


def archive_of(folder, *others):
    """Make a .tar.gz of a folder, and of others' empty files."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        tar.add(folder, folder.name)
        for name in others:
            tar.addfile(tarfile.TarInfo(name))
    return file.getvalue()


@pytest.fixture
def mirror(parts, tmp_path, monkeypatch):
    """Serve small archives that pass for the official ones, on this machine alone.

    They are `contents` by name; `halfway` is called when half of one is sent.
    """
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    contents = {
        PYTHON.name: archive_of(write_python(tmp_path / PYTHON.folder, parts, monkeypatch)),
        BINARY.name: archive_of(write_binary(tmp_path / BINARY.folder, parts)),
    }
    small = [replace(a, md5=md5(contents[a.name]).hexdigest()) for a in (PYTHON, BINARY)]
    monkeypatch.setattr(cifar10, "ARCHIVES", small)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.contents, server.halfway = contents, lambda: None
        server.url = lambda archive=PYTHON: f"http://127.0.0.1:{server.server_port}/{archive.name}"
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def root(tmp_path):
    """Give an empty repository."""
    (tmp_path / "repository").mkdir()
    return tmp_path / "repository"


@pytest.mark.parametrize("archive", [PYTHON, BINARY], ids=lambda archive: archive.name)
def test_download_fills_the_cache(archive, mirror, parts, root, capfd):
    """CIFAR-10 that is nowhere is downloaded, once, to where the next search finds it."""
    dataset = load_dataset("cifar10", root=root, url=mirror.url(archive))
    assert_holds(dataset, parts)
    (line,) = capfd.readouterr().err.splitlines()
    assert mirror.url(archive) in line
    again = load_dataset("cifar10", root=root, url=NOWHERE)
    assert again.fingerprint == dataset.fingerprint
    assert list((root / "data/cifar10").iterdir()) == [root / "data/cifar10" / archive.folder]


def test_offline_names_every_place_and_what_to_do(tmp_path, root):
    """Without data and without network, one line helps."""
    search = [None, "data/cifar10", "../elsewhere", str(tmp_path / "abs")]
    message = refusal(load_dataset, "cifar10", root=root, search=search, url=NOWHERE)
    for place in (root / "data/cifar10", tmp_path / "elsewhere", tmp_path / "abs"):
        assert str(place) in message
    for word in (NOWHERE, "Connection refused", "data.dir", "CIFAR10_DIR"):
        assert word in message
    assert files(root) == {}


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", f"must end in {BINARY.name} or {PYTHON.name}"),
        (f"gopher://a/{PYTHON.name}", "gives no official archive"),
        (f"http://[/{PYTHON.name}", "gives no official archive"),
    ],
)
def test_address_that_is_none(url, words, root):
    message = refusal(load_dataset, "cifar10", root=root, url=url)
    assert f"data.url={url}" in message and words in message


def test_archive_that_is_not_official_is_neither_unpacked_nor_kept(mirror, tmp_path, root):
    evil = ("../../../evil", str(tmp_path / "evil"))
    for content in (archive_of(tmp_path / PYTHON.folder, *evil), b"<html>", None):
        mirror.contents[PYTHON.name] = content
        message = refusal(load_dataset, "cifar10", root=root, url=mirror.url())
        assert ("404" if content is None else md5(content).hexdigest()) in message
    assert files(root) == {}
    assert not list(tmp_path.rglob("evil"))


def test_connection_lost_halfway(mirror, root):
    mirror.halfway = lambda: "hang up"
    assert "data.url=" in refusal(load_dataset, "cifar10", root=root, url=mirror.url())
    assert files(root) == {}


def test_signal_halfway_is_no_fault_of_the_download(mirror, root):
    """It ends the command as it does elsewhere, and nothing is left."""
    mirror.halfway = lambda: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Stopped, match="^stopped by SIGTERM before") as stop, stop_requests():
        load_dataset("cifar10", root=root, url=mirror.url())
    assert stop.value.exit_code == 143
    assert files(root) == {}


def test_what_a_killed_download_left_is_no_data(mirror, parts, tmp_path, root):
    left = root / "data/cifar10/.download-abc"
    left.mkdir(parents=True)
    (tmp_path / PYTHON.folder / "test_batch").unlink()
    (tmp_path / PYTHON.folder).rename(left / PYTHON.folder)
    assert_holds(load_dataset("cifar10", root=root, url=mirror.url()), parts)


def test_download_into_a_full_disk(mirror, root):
    """A download that cannot be stored says so and leaves nothing."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        message = refusal(load_dataset, "cifar10", root=root, url=mirror.url(), code=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert f"{root / 'data/cifar10'}: cannot be written (File too large)" in message
    assert files(root) == {}


def test_download_into_a_folder_of_something_else(mirror, root):
    """Its place is taken, and what is there is not CIFAR-10."""
    other = root / "data/cifar10" / PYTHON.folder / "batches.meta"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"")
    message = refusal(load_dataset, "cifar10", root=root, url=mirror.url(), code=1)
    assert "data/cifar10: cannot be written (" in message
    assert list(files(root)) == [other.relative_to(root).as_posix()]


def test_download_beside_another_one(mirror, parts, tmp_path, root):
    """Where another process has put the data into place in the meantime, that is used."""
    target = root / "data/cifar10" / PYTHON.folder
    mirror.halfway = lambda: (tmp_path / PYTHON.folder).rename(target)
    assert_holds(load_dataset("cifar10", root=root, url=mirror.url()), parts)
    assert list(target.parent.iterdir()) == [target]
