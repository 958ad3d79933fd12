"""Generated images with CIFAR-10's shape, for tests and smoke runs."""

import numpy as np

from degradation.data.dataset import SIDE, Dataset, fingerprint, pack_records
from degradation.schema import CLASSES

SEED = 1512_03385  # not the run's: the data is the same in every run
FREQUENCY = 3  # the highest in a class's pattern, in cycles an image


def make_synthetic(*, train_images: int = 2000, test_images: int = 500) -> Dataset:
    """Generate ten classes of patterns, equally many images of each if sizes are multiples of 10.

    A class is a smooth coloured pattern, symmetric about a vertical axis so that a flip keeps it,
    and without a mean colour of its own. An image shows it shifted, with a contrast and a tint of
    its own, under noise.
    """
    chance = np.random.default_rng(SEED)
    patterns = _patterns(chance)
    parts = [_draw(chance, patterns, size) for size in (train_images, test_images)]
    (train, train_labels), (test, test_labels) = parts
    return Dataset(
        name="synthetic",
        label="synthetic data, not CIFAR-10",
        train_images=train,
        train_labels=train_labels,
        test_images=test,
        test_labels=test_labels,
        classes=tuple(f"pattern {k}" for k in range(CLASSES)),
        fingerprint=fingerprint(np.concatenate([pack_records(*part) for part in parts])),
        canonical=False,
    )


def _patterns(chance: np.random.Generator) -> np.ndarray:
    """One pattern a class, `[10, 32, 32, 3]`, of mean 0 and standard deviation 1 in each channel.

    Whole cycles only, so that a pattern shifted round the edges keeps its mean.
    """
    turns = 2 * np.pi * np.arange(SIDE) / SIDE
    cycles = np.arange(FREQUENCY + 1)[:, None]
    across = np.cos(cycles * turns)
    down = np.concatenate([np.cos(cycles * turns), np.sin(cycles[1:] * turns)])
    weights = chance.normal(size=(CLASSES, 3, len(down), len(across)))
    weights[:, :, 0, 0] = 0.0
    patterns = np.einsum("kcvu,vy,ux->kyxc", weights, down, across)
    return patterns / patterns.std(axis=(1, 2), keepdims=True)


def _draw(
    chance: np.random.Generator, patterns: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw `size` images, uint8 `[size, 32, 32, 3]`, and their labels, int32 `[size]`."""
    labels = chance.permutation(np.arange(size, dtype=np.int32) % CLASSES)
    rows, columns = (np.arange(SIDE) + chance.integers(-4, 5, (2, size, 1))) % SIDE
    shifted = patterns[labels[:, None, None], rows[:, :, None], columns[:, None, :]]
    contrast = chance.uniform(20.0, 50.0, (size, 1, 1, 1))
    tint = chance.normal(0.0, 20.0, (size, 1, 1, 3))
    noise = chance.normal(0.0, 20.0, shifted.shape)
    images = np.clip(np.rint(128.0 + tint + contrast * shifted + noise), 0, 255)
    return images.astype(np.uint8), labels
