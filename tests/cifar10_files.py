"""Small files of CIFAR-10 as its two archives hold them."""

import hashlib
import pickle

import numpy as np
from command_line import REPOSITORY

from degradation.data import load_dataset
from degradation.data.archives import BINARY, PYTHON
from degradation.data.dataset import pack_records

SIZE = 20  # images a file, instead of 10,000
NOWHERE = f"http://127.0.0.1:9/{PYTHON.name}"  # nobody listens there


def draw_parts():
    """Draw images and labels for six small files, two images a class in each."""
    chance = np.random.default_rng(0)
    return [
        (
            chance.integers(0, 256, (SIZE, 32, 32, 3), np.uint8),
            chance.permutation(SIZE).astype(np.int32) % 10,
        )
        for _ in range(6)
    ]


def write_binary(folder, parts):
    folder.mkdir(parents=True)
    for name, part in zip(BINARY.digests, parts, strict=True):
        (folder / name).write_bytes(pack_records(*part).tobytes())
    return folder


def write_python(folder, parts, monkeypatch):
    """Write pickles that pass for the official ones."""
    folder.mkdir(parents=True)
    for name, (images, labels) in zip(PYTHON.digests, parts, strict=True):
        content = {b"labels": labels.tolist(), b"data": pack_records(images, labels)[:, 1:]}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    make_official(monkeypatch, PYTHON, folder)
    return folder


def make_official(monkeypatch, archive, folder):
    """Have an archive's files in `folder` pass for the official ones."""
    for name in archive.digests:
        digest = hashlib.new(archive.algorithm, (folder / name).read_bytes()).hexdigest()
        monkeypatch.setitem(archive.digests, name, digest)


def load(folder, **options):
    return load_dataset("cifar10", root=REPOSITORY, dir=str(folder), url=NOWHERE, **options)


def assert_holds(dataset, parts):
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    np.testing.assert_array_equal(dataset.train_images, images[: 5 * SIZE])
    np.testing.assert_array_equal(dataset.train_labels, labels[: 5 * SIZE])
    np.testing.assert_array_equal(dataset.test_images, images[5 * SIZE :])
    np.testing.assert_array_equal(dataset.test_labels, labels[5 * SIZE :])
    assert dataset.train_images.dtype == dataset.test_images.dtype == np.uint8
    assert dataset.train_labels.dtype == dataset.test_labels.dtype == np.int32
