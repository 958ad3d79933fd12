"""CIFAR-10: what is read, what it is called, what is refused, and where it is looked for."""

import hashlib
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from cifar10_files import (
    BINARY,
    NOWHERE,
    PYTHON,
    assert_holds,
    load,
    make_official,
    write_binary,
    write_python,
)
from command_line import REPOSITORY, refusal
from omegaconf import OmegaConf

from degradation.data import load_dataset

# ---------------------------------------------------------------- what is read


def test_binary_layout(parts, tmp_path):
    """The binary layout gives the images it was written from, red first, row by row."""
    dataset = load(write_binary(tmp_path / "any name", parts))
    assert_holds(dataset, parts)
    assert dataset.name == "cifar10"
    assert dataset.classes[3] == "cat"
    raw = (tmp_path / "any name" / "data_batch_1.bin").read_bytes()
    assert raw[1 + 1024 + 32 + 5] == dataset.train_images[0, 1, 5, 1]


def test_official_files(parts, tmp_path, monkeypatch, recwarn):
    """From either archive images, labels and fingerprint are the same, and no copy's."""
    binary = write_binary(tmp_path / "cifar-10-batches-bin", parts)
    make_official(monkeypatch, BINARY, binary)
    python = write_python(tmp_path / "cifar-10-batches-py", parts, monkeypatch)
    for dataset in (load(binary), load(python)):
        assert_holds(dataset, parts)
        assert dataset.canonical
        assert dataset.label == "CIFAR-10"
    assert load(python).fingerprint == load(binary).fingerprint
    assert not recwarn.list


def test_fingerprint_is_that_of_the_binary_files_in_a_row(parts, tmp_path):
    """Anyone can check a fingerprint with `cat … | sha256sum`; one pixel changes it."""
    folder = write_binary(tmp_path / "a", parts)
    whole = b"".join((folder / name).read_bytes() for name in BINARY.digests)
    assert load(folder).fingerprint == f"sha256:{hashlib.sha256(whole).hexdigest()}"
    parts[2][0][7, 0, 0, 0] ^= 1
    assert load(write_binary(tmp_path / "b", parts)).fingerprint != load(folder).fingerprint


def test_holdout_takes_the_last_training_images(parts, tmp_path):
    """The paper's validation set (section 4.2) in official order; 0 keeps the official split."""
    dataset = load(write_binary(tmp_path / "a", parts))
    held = dataset.holdout(30)
    for kind in ("images", "labels"):
        whole = getattr(dataset, f"train_{kind}")
        np.testing.assert_array_equal(getattr(held, f"train_{kind}"), whole[:70])
        np.testing.assert_array_equal(getattr(held, f"test_{kind}"), whole[70:])
    assert held.fingerprint == dataset.fingerprint
    for part in (dataset, held):  # nothing can change the images behind the fingerprint's back
        with pytest.raises(ValueError, match="read-only"):
            part.train_images[0] = 0
    assert dataset.holdout(0) is dataset


# ---------------------------------------------------------------- what it is called


def test_other_copies_say_so(parts, tmp_path):
    """A copy is named as one, with the number of images that its own list says are from JPEG."""
    folder = write_binary(tmp_path / "copy" / "cifar-10-batches-bin", parts)
    dataset = load(tmp_path / "copy")
    assert not dataset.canonical
    assert dataset.label == "CIFAR-10, not the canonical archive"
    indices = json.dumps({"train": [3, 5, 8], "test": [1]})
    (tmp_path / "copy" / "jpeg_indices.json").write_text(indices)
    assert load(folder).label == "CIFAR-10, 4 of 120 images from JPEG"


@pytest.mark.parametrize("text", ["", "[]", '{"train": [1]}'])
def test_a_list_of_images_that_cannot_be_read_is_refused(text, parts, tmp_path):
    folder = write_binary(tmp_path / "cifar-10-batches-bin", parts)
    (tmp_path / "jpeg_indices.json").write_text(text)
    assert refusal(load, folder).startswith(f"{tmp_path}/jpeg_indices.json: cannot be read: ")


# ---------------------------------------------------------------- what is refused


def damage(path, change):
    path.write_bytes(change(path.read_bytes()))
    return path


@pytest.mark.parametrize(
    ("index", "change"),
    [
        *((0, lambda raw: b""), (5, lambda raw: raw[:-1]), (5, lambda raw: raw + b"\0")),
        (1, lambda raw: b"\x0a" + raw[1:]),
    ],
    ids=["empty", "truncated", "a byte too many", "an eleventh class"],
)
def test_damaged_file_is_refused_by_name(change, index, parts, tmp_path, monkeypatch):
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


class Evil:
    """Pickled, it asks the reader to create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_pickle_that_is_not_official_runs_nothing(parts, tmp_path, monkeypatch):
    """The control shows that it would run."""
    folder, marker = write_python(tmp_path / "a", parts, monkeypatch), tmp_path / "marker"
    path = damage(folder / "data_batch_2", lambda raw: pickle.dumps(Evil(marker)))
    message = refusal(load, folder)
    assert message.startswith(f"{path}: not the official file")
    assert message.endswith("a copy in the binary layout, cifar-10-batches-bin")
    assert not marker.exists()
    pickle.loads(path.read_bytes())
    assert marker.exists()


# ---------------------------------------------------------------- where it is looked for


def test_places_are_searched_in_order(parts, tmp_path, monkeypatch):
    """The first place that has CIFAR-10 wins, here the official one; empty entries are left out."""
    root = tmp_path / "repository"
    root.mkdir()
    write_binary(tmp_path / "shared" / "cifar10", parts)
    search = [None, "", "missing", "../shared/cifar10", "data/cifar10"]
    options = {"dir": None, "search": search, "url": NOWHERE, "root": root}
    assert not load_dataset("cifar10", **options).canonical

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write_python(tmp_path / "home/d/cifar-10-batches-py", parts, monkeypatch)
    options["search"] = ["~/d", *search]
    assert load_dataset("cifar10", **options).canonical


def test_dir_is_the_only_place(parts, tmp_path, monkeypatch):
    """`data.dir` counts from the current directory, and nothing else is tried."""
    write_binary(tmp_path / "data/cifar10", parts)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert_holds(load("data/cifar10"), parts)
    for wrong in ("empty", "missing", "data/cifar10/test_batch.bin"):
        message = refusal(load_dataset, "cifar10", root=tmp_path, dir=wrong, url=NOWHERE)
        assert message.startswith(f"data.dir={wrong}: ")
        assert "cifar-10-batches-bin or cifar-10-batches-py" in message


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: damage(path, lambda raw: raw[:-1])])
def test_a_defective_place_does_not_hide_the_next(spoil, parts, tmp_path, capsys):
    """A line tells it. Where no place is whole, it is the error; nothing is downloaded over it."""
    folder = write_binary(tmp_path / "first", parts)
    spoil(folder / "data_batch_3.bin")
    options = {"search": ["first", "second"], "url": NOWHERE, "root": tmp_path}
    for given in (options, {**options, "dir": str(folder)}):
        message = refusal(load_dataset, "cifar10", **given)
        assert message.startswith(f"{folder / 'data_batch_3.bin'}: ")
    write_binary(tmp_path / "second", parts)
    assert_holds(load_dataset("cifar10", **options), parts)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {folder / 'data_batch_3.bin'}: ")
    assert line.endswith(f"; going on with {tmp_path / 'second'}")


def test_one_layout_is_enough(parts, tmp_path, monkeypatch):
    folder = write_binary(tmp_path / "data", parts)
    (folder / "test_batch.bin").unlink()
    write_python(folder / "cifar-10-batches-py", parts, monkeypatch)
    assert_holds(load(folder), parts)


def resolved(name):
    config = OmegaConf.load(REPOSITORY / "conf" / "data" / f"{name}.yaml")
    options = OmegaConf.to_container(config, resolve=True)
    assert options.pop("holdout") == 0
    return options


@pytest.mark.parametrize("inner", ["", "cifar-10-batches-py-target"])
def test_configured_places(inner, parts, tmp_path, monkeypatch):
    """The YAML file finds Keras' cache, of Keras 2 and 3, and before it `$CIFAR10_DIR`."""
    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    root = tmp_path / "repository"
    root.mkdir()
    folder = tmp_path / "keras" / "datasets" / inner / "cifar-10-batches-py"
    write_python(folder, parts, monkeypatch)
    assert load_dataset(**resolved("cifar10"), root=root).canonical
    monkeypatch.setenv("CIFAR10_DIR", "")
    assert load_dataset(**resolved("cifar10"), root=root).canonical
    monkeypatch.setenv("CIFAR10_DIR", str(write_binary(tmp_path / "mine", parts)))
    assert not load_dataset(**resolved("cifar10"), root=root).canonical


def test_configured_address_is_the_official_one():
    assert resolved("cifar10")["url"] == f"https://www.cs.toronto.edu/~kriz/{PYTHON.name}"


# ---------------------------------------------------------------- synthetic data


def test_synthetic_is_the_same_every_time(tmp_path):
    """Sizes come from the YAML file; images, labels and fingerprint never change."""
    first, second = (load_dataset(**resolved("synthetic"), root=tmp_path) for _ in range(2))
    assert first.train_images.shape == (2000, 32, 32, 3)
    assert first.test_images.shape == (500, 32, 32, 3)
    assert first.train_images.dtype == np.uint8
    assert first.train_labels.dtype == np.int32
    np.testing.assert_array_equal(first.train_images, second.train_images)
    assert first.fingerprint == second.fingerprint
    assert first.label == "synthetic data, not CIFAR-10"
    assert not first.canonical
    assert len(first.classes) == 10
    for labels, each in ((first.train_labels, 200), (first.test_labels, 50)):
        assert np.bincount(labels).tolist() == [each] * 10


def test_synthetic_is_learnable_but_not_by_colour(tmp_path):
    """Patterns tell the classes apart, flipped or not; an image's mean colour tells nothing.

    By the test error of the nearest class mean.
    """
    data = load_dataset("synthetic", root=tmp_path)
    train, test = (images.astype(np.float32) for images in (data.train_images, data.test_images))

    def error(train, test):
        means = np.stack([train[data.train_labels == k].mean(axis=0).ravel() for k in range(10)])
        distances = ((test.reshape(len(test), 1, -1) - means) ** 2).sum(axis=2)
        return 100 * np.mean(distances.argmin(axis=1) != data.test_labels)

    assert error(train.mean(axis=(1, 2)), test.mean(axis=(1, 2))) > 80
    assert 2 < error(train, test) < 50
    assert 2 < error(train, test[:, :, ::-1]) < 50


# ---------------------------------------------------------------- the real thing


def test_real_cifar10(real_cifar10):
    """CIFAR-10 on this machine is read as what it is: sizes, first labels, mean colours."""
    dataset = load(real_cifar10)
    assert dataset.train_images.shape == (50_000, 32, 32, 3)
    assert dataset.test_images.shape == (10_000, 32, 32, 3)
    assert dataset.train_labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert dataset.test_labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    slice_ = dataset.train_images[::50].reshape(-1, 3)
    np.testing.assert_allclose(slice_.mean(axis=0), [125.3, 123.0, 113.9], atol=3)
    assert len(dataset.holdout(5000).train_images) == 45_000
    assert dataset.canonical == (dataset.label == "CIFAR-10")
    listed = real_cifar10 / "jpeg_indices.json"
    if listed.exists() and not dataset.canonical:
        count = sum(map(len, json.loads(listed.read_text()).values()))
        assert dataset.label == f"CIFAR-10, {count} of 60,000 images from JPEG"
