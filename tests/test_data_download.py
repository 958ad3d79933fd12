"""The download of CIFAR-10: what is unpacked, what is refused, and that nothing is left behind."""

import hashlib
import resource
import tarfile

import pytest
from cifar10_files import (
    BINARY,
    NOWHERE,
    PICKLED,
    archive,
    assert_holds,
    dump_python2,
    load,
    official_members,
    refusal,
    small_parts,
    special,
    write_binary,
    write_pickled,
)

from degradation.data import download
from degradation.data.cifar10 import load_dataset


@pytest.fixture
def parts(monkeypatch):
    return small_parts(monkeypatch)


def test_unpack_ignores_all_but_the_expected_files(parts, tmp_path):
    """Members outside the target, links and devices have no effect."""
    folder = write_binary(tmp_path / "in" / BINARY.folder, parts)
    strange = [
        ("../evil", b"x"),
        (f"{BINARY.folder}/../../evil", b"x"),
        (str(tmp_path / "evil"), b"x"),
        (special(f"{BINARY.folder}/link", tarfile.SYMTYPE, str(tmp_path)), b""),
        (f"{BINARY.folder}/link/evil", b"x"),
        (special(f"{BINARY.folder}/device", tarfile.CHRTYPE), b""),
        (special(f"{BINARY.folder}/pipe", tarfile.FIFOTYPE), b""),
    ]
    path = archive(tmp_path / "a.tar.gz", [*strange, *official_members(folder), *strange])
    target = tmp_path / "out" / "here"
    target.mkdir(parents=True)
    download.unpack(path, BINARY, target)
    assert_holds(load(target), parts)
    assert sorted(p.name for p in (target / BINARY.folder).iterdir()) == sorted(
        p.name for p in folder.iterdir()
    )
    assert not list(tmp_path.rglob("evil"))
    assert {p.name for p in tmp_path.iterdir()} == {"in", "out", "a.tar.gz"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_unpack_refuses_an_expected_file_that_is_none(kind, parts, tmp_path):
    """A link in place of a data file is not followed."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    member = special(f"{BINARY.folder}/test_batch.bin", kind, str(secret))
    path = archive(tmp_path / "a.tar.gz", [(member, b"")])
    (tmp_path / "out").mkdir()
    assert "test_batch.bin is no file" in refusal(download.unpack, path, BINARY, tmp_path / "out")


@pytest.mark.parametrize(
    "change",
    [lambda raw: b"no archive", lambda raw: raw[:-2000], lambda raw: raw[:5000] + raw[5001:]],
    ids=["foreign", "truncated", "a byte lost"],
)
def test_unpack_refuses_a_damaged_archive(change, parts, tmp_path):
    """What cannot be unpacked whole is refused by name."""
    folder = write_binary(tmp_path / "in" / BINARY.folder, parts)
    path = archive(tmp_path / "a.tar.gz", official_members(folder))
    path.write_bytes(change(path.read_bytes()))
    (tmp_path / "out").mkdir()
    message = refusal(download.unpack, path, BINARY, tmp_path / "out")
    assert message.startswith(f"{path}: not an archive of CIFAR-10")


def test_unpack_refuses_an_archive_without_all_files(parts, tmp_path):
    """A file that is not in the archive is named."""
    folder = write_binary(tmp_path / "in" / BINARY.folder, parts)
    path = archive(tmp_path / "a.tar.gz", official_members(folder)[:-1])
    (tmp_path / "out").mkdir()
    message = refusal(download.unpack, path, BINARY, tmp_path / "out")
    assert message.endswith(f"no {BINARY.folder}/test_batch.bin in it")


@pytest.fixture
def mirror(parts, tmp_path, monkeypatch):
    """The address of an archive in the pickled layout, which is accepted as official."""
    folder = write_pickled(tmp_path / "official" / PICKLED.folder, parts, dump_python2)
    path = archive(tmp_path / "official" / "a.tar.gz", official_members(folder))
    monkeypatch.setitem(download.ARCHIVES, hashlib.md5(path.read_bytes()).hexdigest(), PICKLED)
    return path.as_uri()


def empty_repository(tmp_path):
    root = tmp_path / "repository"
    root.mkdir()
    return root


def test_download_fills_the_cache(mirror, parts, tmp_path, capsys):
    """CIFAR-10 that is nowhere is downloaded, once, to where the next search finds it."""
    root = empty_repository(tmp_path)
    dataset = load_dataset("cifar10", root=root, search=["data/cifar10"], url=mirror)
    assert_holds(dataset, parts)
    assert dataset.source == root / "data/cifar10/cifar-10-batches-py"
    assert mirror in capsys.readouterr().err
    again = load_dataset("cifar10", root=root, search=["data/cifar10"], url=NOWHERE)
    assert again.fingerprint == dataset.fingerprint
    assert [p.name for p in root.iterdir()] == ["data"]
    assert [p.name for p in (root / "data/cifar10").iterdir()] == ["cifar-10-batches-py"]


def test_offline_names_every_place_and_what_to_do(tmp_path):
    """Without data and without network, one line helps."""
    root = empty_repository(tmp_path)
    search = [None, "data/cifar10", "../elsewhere", str(tmp_path / "abs")]
    message = refusal(load_dataset, "cifar10", root=root, search=search, url=NOWHERE)
    for place in (root / "data/cifar10", tmp_path / "elsewhere", tmp_path / "abs"):
        assert str(place) in message
    assert NOWHERE in message
    assert "data.dir" in message
    assert "CIFAR10_DIR" in message
    assert not list(root.iterdir())


@pytest.mark.parametrize("url", ["", "no address", "http://", "gopher://a/b", "http://[", None])
def test_wrong_addresses(url, tmp_path):
    """An address that is none ends in the same line."""
    root = empty_repository(tmp_path)
    refusal(load_dataset, "cifar10", root=root, url=url)
    assert not list(root.iterdir())


def test_download_with_another_hash_is_refused(mirror, tmp_path):
    """A file that is not an official archive to the last bit is neither unpacked nor kept."""
    root = empty_repository(tmp_path)
    path = tmp_path / "official" / "a.tar.gz"
    path.write_bytes(path.read_bytes() + b"\0")
    message = refusal(load_dataset, "cifar10", root=root, url=mirror)
    assert hashlib.md5(path.read_bytes()).hexdigest() in message
    assert not list(root.iterdir())


def test_download_into_a_full_disk(mirror, tmp_path):
    """A download that cannot be stored says so and leaves nothing."""
    root = empty_repository(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        message = refusal(load_dataset, "cifar10", root=root, url=mirror, code=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert f"{root / 'data/cifar10'}: cannot be written" in message
    assert not list(root.iterdir())


def test_download_where_no_folder_can_be(mirror, tmp_path):
    """A file in place of the data folder is a fault too."""
    root = empty_repository(tmp_path)
    (root / "data").write_text("not a folder")
    message = refusal(load_dataset, "cifar10", root=root, url=mirror, code=1)
    assert "cannot be written" in message
    assert [p.name for p in root.iterdir()] == ["data"]


def test_download_beside_another_one(mirror, parts, tmp_path, monkeypatch):
    """Where another process has put the data into place in the meantime, that is used."""
    root = empty_repository(tmp_path)
    unpack = download.unpack

    def unpack_late(*arguments):
        unpack(*arguments)
        write_pickled(root / "data/cifar10/cifar-10-batches-py", parts, dump_python2)

    monkeypatch.setattr(download, "unpack", unpack_late)
    assert_holds(load_dataset("cifar10", root=root, url=mirror), parts)
    assert [p.name for p in root.iterdir()] == ["data"]
