"""Small files in CIFAR-10's official layouts, archives of them, and what a refusal looks like."""

import io
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from degradation.data import layouts
from degradation.data.cifar10 import load_dataset
from degradation.data.dataset import pack_records
from degradation.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[1]
SIZE = 20  # images a file, instead of 10,000
BINARY, PICKLED = layouts.BINARY, layouts.PICKLED
NOWHERE = "file:///nowhere/cifar-10-python.tar.gz"


def small_parts(monkeypatch):
    """Draw images and labels for six small files, two images a class in each; expect that size."""
    monkeypatch.setattr(layouts, "IMAGES_PER_FILE", SIZE)
    chance = np.random.default_rng(0)
    return [
        (
            chance.integers(0, 256, (SIZE, 32, 32, 3), np.uint8),
            chance.permutation(SIZE).astype(np.int32) % 10,
        )
        for _ in range(6)
    ]


def planes(images):
    """Give the rows of the pickled layout's `data`: all red, all green, all blue, row by row."""
    return np.stack([image.transpose(2, 0, 1).ravel() for image in images])


def write_binary(folder, parts):
    folder.mkdir(parents=True)
    for name, part in zip(BINARY.digests, parts, strict=True):
        (folder / name).write_bytes(pack_records(*part).tobytes())
    (folder / BINARY.class_names).write_text("\n".join(layouts.CLASS_NAMES) + "\n")
    return folder


def write_pickled(folder, parts, dump):
    folder.mkdir(parents=True)
    for name, part in zip(PICKLED.digests, parts, strict=True):
        (folder / name).write_bytes(dump(*part))
    (folder / PICKLED.class_names).write_bytes(pickle.dumps({"label_names": layouts.CLASS_NAMES}))
    return folder


def dump_python2(images, labels):
    """Write the opcodes that Python 2's cPickle wrote for the official files."""

    def text(value):
        if len(value) < 256:
            return b"U" + bytes([len(value)]) + value
        return b"T" + struct.pack("<i", len(value)) + value

    rows = planes(images)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        + b"(K\x01"
        + b"M%sM%s\x86" % (struct.pack("<H", rows.shape[0]), struct.pack("<H", rows.shape[1]))
        + b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN"
        + b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + b"\x89"
        + text(rows.tobytes())
        + b"tb"
    )
    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    names = b"".join(text(b"image_%d.png" % k) for k in range(len(labels)))
    return (
        b"\x80\x02}("
        + (text(b"batch_label") + text(b"training batch 1 of 5"))
        + (text(b"labels") + b"](" + numbers + b"e")
        + (text(b"data") + array)
        + (text(b"filenames") + b"](" + names + b"e")
        + b"u."
    )


def dump_python3(protocol, key=str, order="C", label=int):
    def dump(images, labels):
        rows = np.asarray(planes(images), order=order)
        batch = {key("data"): rows, key("labels"): [label(k) for k in labels]}
        return pickle.dumps(batch, protocol=protocol)

    return dump


DUMPS = {
    "python 2": dump_python2,
    **{f"protocol {p}": dump_python3(p) for p in range(6)},
    "bytes as keys": dump_python3(2, key=str.encode),
    "column-major": dump_python3(4, order="F"),
    "column-major, protocol 5": dump_python3(5, order="F"),
    "numpy labels": dump_python3(4, label=np.int64),
}


def load(folder, **options):
    options = {"dir": str(folder), "url": NOWHERE, **options}
    return load_dataset("cifar10", root=REPOSITORY, **options)


def assert_holds(dataset, parts):
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    np.testing.assert_array_equal(dataset.train_images, images[: 5 * SIZE])
    np.testing.assert_array_equal(dataset.train_labels, labels[: 5 * SIZE])
    np.testing.assert_array_equal(dataset.test_images, images[5 * SIZE :])
    np.testing.assert_array_equal(dataset.test_labels, labels[5 * SIZE :])
    assert dataset.train_images.dtype == dataset.test_images.dtype == np.uint8
    assert dataset.train_labels.dtype == dataset.test_labels.dtype == np.int32


def refusal(call, *arguments, code=2, **options):
    """Return the message of the UserError that a call ends with, which is one line."""
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    message = str(caught.value)
    assert caught.value.exit_code == code
    assert "\n" not in message
    return message


def archive(path, members):
    """Write a .tar.gz of (TarInfo or name, bytes) pairs."""
    with tarfile.open(path, "w:gz") as tar:
        for member, content in members:
            if not isinstance(member, tarfile.TarInfo):
                member = tarfile.TarInfo(member)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def official_members(folder):
    return [(f"{folder.name}/{path.name}", path.read_bytes()) for path in sorted(folder.iterdir())]


def special(name, kind, target=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member
