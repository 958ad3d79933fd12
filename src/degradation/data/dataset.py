"""Labelled images held in memory, their byte order on disk and their fingerprint."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

SIDE = 32  # pixels
CHANNELS = 3  # red, green, blue
RECORD_BYTES = 1 + CHANNELS * SIDE * SIDE


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images in two parts, to train on and to test on, in their official order.

    Images are uint8 `[n, 32, 32, 3]`, labels int32 `[n]` in 0..9; all four arrays are read-only.
    `label` is what a caption or a manifest calls the data; `canonical` says whether the files are
    those of the official archive.
    """

    name: str
    label: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: tuple[str, ...]
    fingerprint: str
    canonical: bool

    def __post_init__(self):
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            array.setflags(write=False)

    @cached_property
    def mean_image(self) -> np.ndarray:
        """Per-pixel mean of the training images: float32 `[32, 32, 3]`."""
        return np.mean(self.train_images, axis=0, dtype=np.float64).astype(np.float32)

    def holdout(self, n: int) -> "Dataset":
        """Hold out the last `n` training images as the test part: a validation set (section 4.2).

        0 keeps the official split. The fingerprint stays that of the whole data.
        """
        if n == 0:
            return self
        return replace(
            self,
            train_images=self.train_images[:-n],
            train_labels=self.train_labels[:-n],
            test_images=self.train_images[-n:],
            test_labels=self.train_labels[-n:],
        )


def pack_records(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Lay images and labels out as the binary version of CIFAR-10 does: uint8 `[n, 3073]`.

    A record is the label's byte, then the red, the green and the blue plane, row by row.
    """
    records = np.empty((len(images), RECORD_BYTES), np.uint8)
    records[:, 0] = labels
    records[:, 1:] = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return records


def unpack_records(records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Undo `pack_records`: give images, uint8 `[n, 32, 32, 3]`, and labels, int32 `[n]`."""
    planes = records[:, 1:].reshape(-1, CHANNELS, SIDE, SIDE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), records[:, 0].astype(np.int32)


def fingerprint(records: np.ndarray) -> str:
    """SHA-256 over all records, training before test: that of the six `.bin` files in a row."""
    return f"sha256:{hashlib.sha256(records).hexdigest()}"
