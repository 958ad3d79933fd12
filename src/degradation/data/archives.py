"""The two archives in which CIFAR-10 is published: recognise their files, verify and read them."""

import hashlib
import os
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from degradation.data.dataset import RECORD_BYTES
from degradation.errors import UserError
from degradation.schema import CLASSES

IMAGES_PER_FILE = 10_000
FOLDER = "a folder that is or contains cifar-10-batches-bin or cifar-10-batches-py"


@dataclass(frozen=True)
class Archive:
    """A published form of CIFAR-10: five training files and a test file, 10,000 images each."""

    name: str  # at https://www.cs.toronto.edu/~kriz/, which gives its MD5, too
    md5: str
    folder: str  # what it holds
    pickled: bool  # its files are pickles; else they are records, as `pack_records` makes them
    algorithm: str  # of the digests
    digests: dict[str, str]  # of the files, training files first, in their order


BINARY = Archive(
    name="cifar-10-binary.tar.gz",
    md5="c32a1d4ab5d03f1284b67883e8d87530",
    folder="cifar-10-batches-bin",
    pickled=False,
    algorithm="sha1",  # these are in Apache MXNet, python/mxnet/gluon/data/vision/datasets.py
    digests={
        "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
        "data_batch_2.bin": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
        "data_batch_3.bin": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
        "data_batch_4.bin": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
        "data_batch_5.bin": "26e2849e66a845b7f1e4614ae70f4889ae604628",
        "test_batch.bin": "67eb016db431130d61cd03c7ad570b013799c88c",
    },
)
PYTHON = Archive(
    name="cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",
    folder="cifar-10-batches-py",
    pickled=True,
    algorithm="md5",  # these are in torchvision, torchvision/datasets/cifar.py
    digests={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
)
ARCHIVES = (BINARY, PYTHON)


def find_files(place: Path) -> tuple[Path, Archive] | None:
    """Look for CIFAR-10's files in `place` and in the archives' own folders there.

    Gives their folder and the archive that they are of; None if there are none. Raises UserError
    for a folder that holds some of an archive's files, if none holds all.
    """
    incomplete = []
    for archive in ARCHIVES:
        for folder in (place, place / archive.folder):
            missing = [name for name in archive.digests if not os.path.isfile(folder / name)]
            if not missing:
                return folder, archive
            if len(missing) < len(archive.digests):
                incomplete.append(folder / missing[0])
    if incomplete:
        raise UserError(
            f"{incomplete[0]}: missing, though other files of CIFAR-10 are there: complete the "
            "folder, remove it, or set data.dir to another"
        )
    return None


def read_files(folder: Path, archive: Archive) -> tuple[np.ndarray, bool]:
    """Read the six files of an archive and verify them by its digests.

    Gives uint8 records `[60000, 3073]` as `pack_records` makes them, the test file's 10,000 last,
    and whether the files are the official ones. Others than those are read if they are binary.
    Raises UserError, which names the file, for one that cannot be read, is truncated or foreign,
    for a pickle that is not official, and for a file that is not though others are.
    """
    parts, changed = [], []
    for name, digest in archive.digests.items():
        path = folder / name
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error
        if hashlib.new(archive.algorithm, raw, usedforsecurity=False).hexdigest() != digest:
            changed.append(path)
        if archive.pickled and changed:
            raise UserError(
                f"{path}: not the official file, and other pickles may hold code; allowed: the "
                f"official files, or a copy in the binary layout, {BINARY.folder}"
            )
        parts.append(_unpickle(raw) if archive.pickled else _split(raw, path))
    if 0 < len(changed) < len(parts):
        raise UserError(f"{changed[0]}: not the official file, though others here are: damaged")
    return np.concatenate(parts), not changed


def _split(raw: bytes, path: Path) -> np.ndarray:
    expected = IMAGES_PER_FILE * RECORD_BYTES
    if len(raw) != expected:
        raise UserError(
            f"{path}: has {len(raw):,} bytes, not {expected:,}: truncated or not CIFAR-10"
        )
    records = np.frombuffer(raw, np.uint8).reshape(-1, RECORD_BYTES)
    if (largest := records[:, 0].max()) >= CLASSES:
        raise UserError(f"{path}: has the label {largest}, not 0 to {CLASSES - 1}: not CIFAR-10")
    return records


def _unpickle(raw: bytes) -> np.ndarray:
    batch = pickle.loads(raw, encoding="bytes")  # Python 2 wrote it
    return np.column_stack([np.array(batch[b"labels"], np.uint8), batch[b"data"]])
