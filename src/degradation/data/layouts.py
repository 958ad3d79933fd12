"""The two layouts in which CIFAR-10 is published: recognise a folder, verify it, read it."""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from degradation.data.dataset import (
    CHANNELS,
    CLASSES,
    RECORD_BYTES,
    SIDE,
    Fingerprint,
    unpack_records,
)
from degradation.data.safe_pickle import read_pickle
from degradation.errors import UserError

IMAGES_PER_FILE = 10_000
CLASS_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


@dataclass(frozen=True)
class Layout:
    """One published form of CIFAR-10: five training files and a test file, 10,000 images each."""

    folder: str  # its name in the archive
    class_names: str  # the one file beside the images
    algorithm: str  # of the digests
    digests: dict[str, str]  # of the official files, training files first, in their order
    decode: Callable[[bytes], np.ndarray]  # a file's bytes -> records; ValueError if it is none


def _decode_binary(raw: bytes) -> np.ndarray:
    if len(raw) != IMAGES_PER_FILE * RECORD_BYTES:
        expected = f"{IMAGES_PER_FILE * RECORD_BYTES:,}"
        raise ValueError(f"it has {len(raw):,} bytes, not {expected}: truncated or not CIFAR-10")
    return np.frombuffer(raw, np.uint8).reshape(IMAGES_PER_FILE, RECORD_BYTES)


def _decode_pickled(raw: bytes) -> np.ndarray:
    batch = read_pickle(raw)
    data, labels = batch.get("data"), batch.get("labels")
    shape = (IMAGES_PER_FILE, RECORD_BYTES - 1)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape != shape:
        raise ValueError(f"its 'data' is not a uint8 array of {shape[0]} x {shape[1]}")
    labels = np.array(labels) if isinstance(labels, list | np.ndarray) else np.empty(0)
    if labels.shape != shape[:1] or labels.dtype.kind not in "ui":
        raise ValueError(f"its 'labels' are not {shape[0]} integers")
    # What does not fit a byte becomes 255, which the check of the labels refuses.
    labels = np.where((labels < 0) | (labels > 255), 255, labels).astype(np.uint8)
    return np.concatenate([labels[:, None], data], axis=1)


BINARY = Layout(
    folder="cifar-10-batches-bin",
    class_names="batches.meta.txt",
    algorithm="sha1",  # these are in Apache MXNet, python/mxnet/gluon/data/vision/datasets.py
    digests={
        "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
        "data_batch_2.bin": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
        "data_batch_3.bin": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
        "data_batch_4.bin": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
        "data_batch_5.bin": "26e2849e66a845b7f1e4614ae70f4889ae604628",
        "test_batch.bin": "67eb016db431130d61cd03c7ad570b013799c88c",
    },
    decode=_decode_binary,
)
PICKLED = Layout(
    folder="cifar-10-batches-py",
    class_names="batches.meta",
    algorithm="md5",  # these are in torchvision, torchvision/datasets/cifar.py
    digests={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
    decode=_decode_pickled,
)
LAYOUTS = (BINARY, PICKLED)


def find_layout(place: Path) -> tuple[Path, Layout] | None:
    """Look for CIFAR-10 in `place` and in the layouts' own folders there; None if there is none.

    Raises UserError for a folder that holds some of the files of a layout but no layout complete.
    """
    incomplete = None
    for layout in LAYOUTS:
        for folder in (place, place / layout.folder):
            missing = [name for name in layout.digests if not os.path.isfile(folder / name)]
            if not missing:
                return folder, layout
            if len(missing) < len(layout.digests):
                incomplete = incomplete or folder / missing[0]
    if incomplete:
        raise UserError(
            f"{incomplete}: missing, though other files of CIFAR-10 are there: complete the folder,"
            " remove it, or set data.dir to another"
        )
    return None


class Contents(NamedTuple):
    """What a layout's six files hold, the test file's 10,000 images last."""

    images: np.ndarray  # uint8 [60000, 32, 32, 3]
    labels: np.ndarray  # int32 [60000]
    fingerprint: str
    official: bool  # every file has the published digest


def read_layout(folder: Path, layout: Layout) -> Contents:
    """Read and verify the six files of a layout.

    Raises UserError, which names the file, for one that is unreadable, truncated, foreign or
    malicious, for one whose hash is not that listed in a `SHA256SUMS` beside it, and for one that
    is not official though others are; and for classes that are not equally large.
    """
    listed = _listed_hashes(folder)
    images = np.empty((len(layout.digests), IMAGES_PER_FILE, SIDE, SIDE, CHANNELS), np.uint8)
    labels = np.empty((len(layout.digests), IMAGES_PER_FILE), np.int32)
    fingerprint, unofficial = Fingerprint(), []
    for k, (name, digest) in enumerate(layout.digests.items()):
        path = folder / name
        raw = _read_file(path)
        if name in listed and hashlib.sha256(raw).hexdigest() != listed[name]:
            raise UserError(f"{path}: its hash is not the one in SHA256SUMS: damaged or changed")
        if hashlib.new(layout.algorithm, raw, usedforsecurity=False).hexdigest() != digest:
            unofficial.append(path)
        records = _decode(layout, raw, path)
        labels[k] = unpack_records(records, images[k])
        fingerprint.update(records)
    damaged = [path for path in unofficial if path.name not in listed]
    if damaged and len(unofficial) < len(labels):
        raise UserError(f"{damaged[0]}: not the official file, though others here are: damaged")
    _check_balance(labels[:-1], f"{folder}: its training files have")
    _check_balance(labels[-1], f"{path}: it has")
    images = images.reshape(-1, SIDE, SIDE, CHANNELS)
    return Contents(images, labels.ravel(), str(fingerprint), not unofficial)


def _decode(layout: Layout, raw: bytes, path: Path) -> np.ndarray:
    try:
        records = layout.decode(raw)
    except ValueError as error:
        raise UserError(f"{path}: not a file of CIFAR-10: {error}") from error
    wrong = np.flatnonzero(records[:, 0] >= CLASSES)
    if len(wrong):
        raise UserError(
            f"{path}: not a file of CIFAR-10: image {wrong[0]} has a label outside 0 to 9"
        )
    return records


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # An official file is under 31.1 MB; a pickle written as text takes up to four times it.
            limit = 5 * IMAGES_PER_FILE * RECORD_BYTES
            raw = file.read(limit + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if len(raw) > limit:
        raise UserError(f"{path}: not a file of CIFAR-10: it has more than {limit:,} bytes")
    return raw


def _listed_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 by file name, from the output of `sha256sum` in the folder or the one above."""
    folder = folder.resolve()
    listed = {}
    for place, prefix in ((folder.parent, f"{folder.name}/"), (folder, "")):
        try:
            text = (place / "SHA256SUMS").read_text("utf-8", errors="replace")
        except OSError:
            continue
        line = rf"^([0-9a-f]{{64}}) [ *](?:\./)?{re.escape(prefix)}([^/\n]+)$"
        listed |= {name: digest for digest, name in re.findall(line, text, re.MULTILINE)}
    return listed


def _check_balance(labels: np.ndarray, whose: str) -> None:
    counts, expected = np.bincount(labels.ravel(), minlength=CLASSES), labels.size // CLASSES
    for name, count in zip(CLASS_NAMES, counts.tolist(), strict=True):
        if count != expected:
            raise UserError(
                f"{whose} {count:,} images of class {name} instead of {expected:,}: not CIFAR-10"
            )
