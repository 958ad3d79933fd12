"""Damaged and malicious data files: each is refused in one line that names it, and runs nothing."""

import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
from cifar10_files import (
    BINARY,
    PYTHON,
    dump_python2,
    load,
    make_official,
    refusal,
    small_parts,
    write_binary,
    write_python,
)

from degradation.data.archives import read_files


@pytest.fixture
def parts(monkeypatch):
    return small_parts(monkeypatch)


def damage(path, change):
    path.write_bytes(change(path.read_bytes()))
    return path


@pytest.mark.parametrize(
    ("index", "change"),
    [(0, lambda raw: b""), (5, lambda raw: raw[:-1]), (5, lambda raw: raw + b"\0")],
    ids=["empty", "truncated", "a byte too many"],
)
def test_damaged_file_is_refused_by_name(change, index, parts, tmp_path, monkeypatch):
    """A file that is truncated or something else ends in one line with its name."""
    binary = write_binary(tmp_path / "bin", parts)
    python = write_python(tmp_path / "py", parts, monkeypatch)
    for folder, archive in ((binary, BINARY), (python, PYTHON)):
        path = damage(folder / list(archive.digests)[index], change)
        assert refusal(load, folder).startswith(f"{path}: ")


def test_changed_file_among_official_ones_is_refused(parts, tmp_path, monkeypatch):
    """A flipped bit does not turn the official data into a copy."""
    folder = write_binary(tmp_path / "a", parts)
    make_official(monkeypatch, BINARY, folder)
    path = damage(folder / "data_batch_4.bin", lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]))
    assert refusal(load, folder).startswith(f"{path}: not the official file, though others here")


@pytest.mark.parametrize("label", [lambda old: (old + 1) % 10, lambda old: 10])
def test_classes_are_counted(label, parts, tmp_path):
    """Classes of unequal size, and labels that CIFAR-10 does not have, are refused."""
    for name, index in (("data_batch_4.bin", 3), ("test_batch.bin", 5)):
        folder = write_binary(tmp_path / name, parts)
        wrong = bytes([label(parts[index][1][0])])
        path = damage(folder / name, lambda raw, wrong=wrong: wrong + raw[1:])
        place, each = (path, 2) if index == 5 else (folder, 10)
        message = refusal(load, folder)
        assert message.startswith(f"{place}: ")
        assert message.endswith(f"not CIFAR-10, which has {each} images of each class there")


class Evil:
    """Pickled, it asks the reader to create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda evil: evil,
        lambda evil: {b"data": np.array([evil], dtype=object), b"labels": [1]},
    ],
    ids=["bare", "in an object array"],
)
def test_malicious_pickle_runs_nothing(wrap, protocol, parts, tmp_path, monkeypatch):
    """Not where it is not official, nor if it were; the control shows that it would run."""
    folder, marker = write_python(tmp_path / "a", parts, monkeypatch), tmp_path / "marker"
    path = folder / "data_batch_2"
    path.write_bytes(pickle.dumps(wrap(Evil(marker)), protocol=protocol))
    message = refusal(load, folder)
    assert message.startswith(f"{path}: not the official file")
    assert message.endswith("a copy in the binary layout, cifar-10-batches-bin")
    make_official(monkeypatch, PYTHON, folder)
    with pytest.raises(pickle.UnpicklingError, match="is in no file of CIFAR-10"):
        load(folder)
    assert not marker.exists()
    pickle.loads(path.read_bytes())
    assert marker.exists()


def test_official_pickles_are_those_of_the_given_digests(parts, tmp_path, monkeypatch):
    """The same images, pickled by another program, are refused: their digests are others."""
    folder = write_python(tmp_path / "a", parts, monkeypatch)
    own = replace(PYTHON, digests=dict(PYTHON.digests))
    assert read_files(folder, own)[1]
    path = folder / "test_batch"
    again = pickle.loads(dump_python2(*parts[5]), encoding="bytes")
    path.write_bytes(pickle.dumps(again, protocol=2))
    assert refusal(read_files, folder, own).startswith(f"{path}: not the official file")
