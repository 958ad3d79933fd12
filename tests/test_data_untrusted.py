"""Damaged and malicious data files: each is refused in one line that names it, and runs nothing."""

import hashlib
import os
import pickle

import numpy as np
import pytest
from cifar10_files import (
    BINARY,
    PICKLED,
    SIZE,
    dump_python2,
    load,
    refusal,
    small_parts,
    write_binary,
    write_pickled,
)

from degradation.data.safe_pickle import read_pickle
from degradation.errors import UserError


@pytest.fixture
def parts(monkeypatch):
    return small_parts(monkeypatch)


# ---------------------------------------------------------------- damaged files


def damage(folder, layout, index, change):
    path = folder / list(layout.digests)[index]
    path.write_bytes(change(path.read_bytes()))
    return path


@pytest.mark.parametrize("layout", [BINARY, PICKLED], ids=lambda layout: layout.folder)
@pytest.mark.parametrize(
    "change",
    [
        lambda raw: b"",
        lambda raw: raw[:-1],
        lambda raw: raw[:1000],
        lambda raw: b"<html>404 Not Found</html>",
        lambda raw: b"\x93NUMPY" + raw[6:],
        lambda raw: raw * 6,
    ],
    ids=["empty", "a byte short", "truncated", "a web page", "foreign", "huge"],
)
@pytest.mark.parametrize("index", [0, 5])
def test_damaged_file_is_refused_by_name(layout, change, index, parts, tmp_path):
    """A file that is truncated or something else ends in one line with its name."""
    folder = tmp_path / "a"
    if layout is BINARY:
        write_binary(folder, parts)
    else:
        write_pickled(folder, parts, dump_python2)
    path = damage(folder, layout, index, change)
    assert refusal(load, folder).startswith(f"{path}: ")


def test_byte_too_many(parts, tmp_path):
    """A binary file that is too long is refused as well."""
    folder = write_binary(tmp_path / "a", parts)
    path = damage(folder, BINARY, 2, lambda raw: raw + b"\0")
    message = refusal(load, folder)
    assert message.startswith(f"{path}: not a file of CIFAR-10: it has 61,461 bytes, not 61,460")


def test_labels_and_counts_are_checked(parts, tmp_path):
    """A label out of range names file and image; unequal classes name the class."""
    folder = write_binary(tmp_path / "a", parts)
    path = damage(folder, BINARY, 1, lambda raw: raw[:3073] + b"\x0a" + raw[3074:])
    assert refusal(load, folder).startswith(f"{path}: not a file of CIFAR-10: image 1 has a label")
    for index, whose in ((3, folder), (5, folder / "test_batch.bin")):
        folder = write_binary(tmp_path / f"b{index}", parts)
        label = parts[index][1][0]
        other = bytes([(label + 1) % 10])
        path = damage(folder, BINARY, index, lambda raw, other=other: other + raw[1:])
        message = refusal(load, folder)
        whose = path if index == 5 else folder
        assert message.startswith(f"{whose}: ")
        assert "images of class" in message


def test_listed_hashes_are_checked(parts, tmp_path):
    """A flipped bit is found where a `SHA256SUMS` lies in the folder or above it."""
    folder = write_binary(tmp_path / "copy" / "cifar-10-batches-bin", parts)
    sums = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in BINARY.digests
    }
    above = "".join(f"{digest}  {folder.name}/{name}\n" for name, digest in sums.items())
    inside = "".join(f"{digest} *./{name}\n" for name, digest in sums.items())
    (tmp_path / "copy" / "SHA256SUMS").write_text(above)
    load(folder)
    path = damage(folder, BINARY, 4, lambda raw: raw[:99] + bytes([raw[99] ^ 4]) + raw[100:])
    assert refusal(load, folder).startswith(f"{path}: its hash is not the one in SHA256SUMS")
    (tmp_path / "copy" / "SHA256SUMS").unlink()
    load(folder)
    (folder / "SHA256SUMS").write_text(inside)
    assert refusal(load, folder).startswith(f"{path}: its hash is not the one in SHA256SUMS")


def test_flipped_bytes_never_crash_the_reader(parts, tmp_path):
    """Whichever byte of a pickle is flipped, it is read as CIFAR-10 or refused by name."""
    folder = write_pickled(tmp_path / "a", parts, dump_python2)
    path = folder / "data_batch_1"
    good = path.read_bytes()
    start = good.index(b"cnumpy")
    chance = np.random.default_rng(1)
    places = [*range(0, start + 240, 2), *range(len(good) - 400, len(good), 3)]
    refused = 0
    for place, bit in zip(places, chance.integers(0, 8, len(places)), strict=True):
        path.write_bytes(good[:place] + bytes([good[place] ^ (1 << bit)]) + good[place + 1 :])
        try:
            load(folder)
        except UserError as error:
            refused += 1
            assert str(folder) in str(error)
            assert "\n" not in str(error)
    assert refused > len(places) // 4


# ---------------------------------------------------------------- malicious pickles


class Evil:
    """Pickled, it asks the reader to create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class EvilEval(Evil):
    def __reduce__(self):
        return eval, (f"open({str(self.path)!r}, 'w').close()",)


def object_array(evil):
    array = np.empty(SIZE, dtype=object)
    array[:] = evil
    return array


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", [Evil, EvilEval])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda evil: evil,
        lambda evil: {"data": evil, "labels": []},
        lambda evil: {"data": object_array(evil), "labels": object_array(evil)},
        lambda evil: [evil, {evil: 1}],
    ],
    ids=["bare", "as data", "in an object array", "nested"],
)
def test_malicious_pickle_runs_nothing(protocol, kind, wrap, parts, tmp_path):
    """Code in a pickle is not run, wherever it hides; the control shows that it would be."""
    folder = write_pickled(tmp_path / "a", parts, dump_python2)
    marker = tmp_path / "marker"
    path = folder / "data_batch_2"
    path.write_bytes(pickle.dumps(wrap(kind(marker)), protocol=protocol))
    message = refusal(load, folder)
    assert message.startswith(f"{path}: not a file of CIFAR-10: it names ")
    assert not marker.exists()
    pickle.loads(path.read_bytes())
    assert marker.exists()


def state(kind, data, byte_order="'|'"):
    """Write a pickle of an array whose type and bytes are what the attacker wants, as text."""
    return (
        b"(dp0\nS'data'\ncnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        b"(I1\n(I2\ntcnumpy\ndtype\n(S'"
        + kind
        + b"'\nI0\nI1\ntR(I3\nS"
        + byte_order.encode()
        + b"\nNNNI-1\nI-1\nI63\ntbI00\nS'"
        + data
        + b"'\ntbs."
    )


@pytest.mark.parametrize(
    "raw",
    [
        state(b"O8", b"A" * 16),
        state(b"|O", b"A" * 16),
        state(b"V16", b"A" * 32),
        state(b"u1,O", b"A" * 32),
        state(b"M8[D]", b"A" * 16),
        state(b"u1", b"A"),
        state(b"u1", b"AAA"),
        state(b"u8", b"A" * 15),
        state(b"no such type", b"A"),
        state(b"u8", b"A" * 16, "'?'"),
    ],
)
def test_forged_arrays_are_refused(raw):
    """Pointers passed off as an array's bytes, and arrays larger than their bytes, are refused."""
    with pytest.raises(ValueError, match="^it "):
        read_pickle(raw)
    np.testing.assert_array_equal(read_pickle(state(b"u1", b"AB"))["data"], [65, 66])


@pytest.mark.parametrize(
    "raw",
    [
        b"\x80\x04\x8c\x05numpy\x8c\x18core.multiarray.os.system\x93.",  # a dotted name
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(I0\ndb.",  # state for the name itself
        b"\x80\x02cnumpy\ndtype\n}(U\x08__call__I1\nub.",
        b"\x80\x02}r\xff\xff\xff\x7f.",  # a memo index that would take gigabytes
        b"\x80\x02(lp0\ng0\na.",  # a list that holds itself
        b"\x80\x02Pname\n.",  # a persistent name
        b"\x80\x02\x82\x01.",  # an extension code
        b"\x80\x04\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",  # a byte array of eight exabytes
        b"(" * 100_000,
        b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".",
        b"\x80\x63.",
    ],
)
def test_strange_pickles_are_refused(raw):
    """What no writer of CIFAR-10 would write ends in the one kind of error."""
    with pytest.raises(ValueError, match="^[^\n]*$"):
        content = read_pickle(raw)
        raise ValueError(f"read as {content}")
