"""From images to batches: which images, which crops and flips, and the augmentation itself."""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

PADDING = 4  # pixels on every side (He et al. 2015, section 4.2)
AVERAGED = 40  # batches that the moments for testing are averaged over, at most
SCALE = 64.0  # about one standard deviation of CIFAR-10's pixels around the mean image


class BatchPlan(NamedTuple):
    """Which images a batch holds and how each is augmented; everything chance decides about it."""

    indices: np.ndarray  # int32 [batch]: positions in the training set
    offsets: np.ndarray  # int32 [batch, 2]: top and left corner of the crop in the padded image
    flips: np.ndarray  # bool [batch]: mirrored left to right


class Sampler:
    """Batches as a pure function of (seed, iteration): batch k needs no batch before it.

    Every epoch visits each of `size` images once, in an order of its own; a batch that spans two
    epochs ends one order and begins the next.
    """

    def __init__(self, size: int, batch: int, seed: int):
        self.size, self.batch, self.seed = size, batch, seed
        self._order = functools.lru_cache(maxsize=2)(
            lambda epoch: np.random.default_rng([seed, epoch]).permutation(size)
        )

    def plan(self, iteration: int) -> BatchPlan:
        """Plan the batch of update `iteration`, counted from 0."""
        epochs, places = np.divmod(iteration * self.batch + np.arange(self.batch), self.size)
        pairs = zip(epochs.tolist(), places.tolist(), strict=True)
        indices = [self._order(epoch)[place] for epoch, place in pairs]
        # A third word keeps this stream apart from the orders', whose seeds have two.
        chance = np.random.default_rng([self.seed, iteration, 1])
        return self._plan(indices, chance)

    def plan_averaging(self, iteration: int) -> list[BatchPlan]:
        """Plan the batches whose moments an evaluation after `iteration` updates averages over.

        As many as the training set fills, up to `AVERAGED`; no image is drawn twice, unless the
        training set is smaller than one batch.
        """
        chance = np.random.default_rng([self.seed, iteration, 2])
        count = min(AVERAGED, max(1, self.size // self.batch))
        drawn = np.resize(chance.permutation(self.size), (count, self.batch))
        return [self._plan(indices, chance) for indices in drawn]

    def _plan(self, indices, chance: np.random.Generator) -> BatchPlan:
        return BatchPlan(
            np.asarray(indices, np.int32),
            chance.integers(0, 2 * PADDING + 1, (self.batch, 2), np.int32),
            chance.integers(0, 2, self.batch, np.int32).astype(bool),
        )


def preprocess(images: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
    """Subtract the mean image and scale to about unit variance.

    `images` is uint8 `[n, 32, 32, 3]`, `mean` float32 `[32, 32, 3]`; gives float32.
    """
    return (tf.cast(images, tf.float32) - mean) / SCALE


def augment(images: tf.Tensor, offsets: tf.Tensor, flips: tf.Tensor) -> tf.Tensor:
    """Crop every image of `[batch, size, size, 3]`, zero-padded by 4, at its offset; flip some.

    `offsets` is int32 `[batch, 2]` in 0..8, (4, 4) being the image itself; `flips` bool `[batch]`.
    A gather of rows and one of columns, for the whole batch at once; a flip reverses the columns.
    """
    size = images.shape[1]
    padded = tf.pad(images, [[0, 0], [PADDING, PADDING], [PADDING, PADDING], [0, 0]])
    along = tf.range(size)
    rows = offsets[:, :1] + along
    columns = offsets[:, 1:] + tf.where(flips[:, None], size - 1 - along, along)
    return tf.gather(tf.gather(padded, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)
