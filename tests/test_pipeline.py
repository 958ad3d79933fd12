"""The input pipeline: which images, which crops and flips, and what becomes of the pixels."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from degradation.data.pipeline import Sampler, augment, mean_image, preprocess

SIZE, BATCH = 50_000, 128  # of CIFAR-10's training set, and of the paper's batches
EPOCH = SIZE // BATCH + 1  # batches that an epoch touches


def assert_same(plan, other):
    for ours, theirs in zip(plan, other, strict=True):
        np.testing.assert_array_equal(ours, theirs)


# ---------------------------------------------------------------- which images


@pytest.mark.parametrize(("size", "batch"), [(50, 16), (10, 32), (9, 1)])
def test_every_image_once_an_epoch(size, batch):
    """Epochs are permutations put end to end; batches are cut from that without a gap.

    So too where a batch spans two epochs, or several.
    """
    sampler = Sampler(size, batch, seed=5)
    epochs = 8
    plans = [sampler.plan(k) for k in range(-(-epochs * size // batch))]
    assert all(plan.indices.shape == (batch,) for plan in plans)
    stream = np.concatenate([plan.indices for plan in plans])[: epochs * size]
    orders = stream.reshape(epochs, size)
    np.testing.assert_array_equal(np.sort(orders), np.tile(np.arange(size), (epochs, 1)))
    for epoch, order in enumerate(orders):
        expected = np.random.default_rng([5, epoch]).permutation(size)
        np.testing.assert_array_equal(order, expected)


def test_a_batch_is_a_function_of_seed_and_iteration():
    """Asked for in order, out of order or alone, by one sampler or a new one: the same."""
    in_order = Sampler(50, 16, seed=1)
    plans = [in_order.plan(k) for k in range(12)]
    out_of_order = Sampler(50, 16, seed=1)
    for k in (7, 3, 11, 3, 0, 10, 4):
        assert_same(out_of_order.plan(k), plans[k])
        assert_same(Sampler(50, 16, seed=1).plan(k), plans[k])


@pytest.mark.parametrize(
    ("size", "batch", "count"), [(50_000, 128, 40), (100, 16, 6), (16, 16, 1), (10, 16, 1)]
)
def test_averaging_draws_each_image_once_where_it_can(size, batch, count):
    """Up to 40 batches; a training set that is smaller than one batch fills it all the same."""
    plans = Sampler(size, batch, seed=1).plan_averaging(7)
    assert len(plans) == count
    drawn = np.concatenate([plan.indices for plan in plans])
    assert drawn.shape == (count * batch,) and drawn.max() < size
    assert len(np.unique(drawn)) == min(size, count * batch)


def test_averaging_is_a_function_of_seed_and_iteration_in_a_stream_of_its_own():
    sampler = Sampler(500, 16, seed=1)
    plans = sampler.plan_averaging(3)
    sampler.plan(3)
    for plan, again in zip(plans, Sampler(500, 16, seed=1).plan_averaging(3), strict=True):
        assert_same(plan, again)
    for other in (sampler.plan_averaging(4), Sampler(500, 16, seed=2).plan_averaging(3)):
        assert (other[0].indices != plans[0].indices).any()
    assert (sampler.plan(3).offsets != plans[0].offsets).any()


def batch_of_each_image(seed, epoch):
    """Number of the batch that each image is in during an epoch of 50,000."""
    sampler = Sampler(SIZE, BATCH, seed)
    batches = np.empty(SIZE, np.int64)
    first = epoch * SIZE // BATCH
    for k in range(first, first + EPOCH + 1):
        places = k * BATCH + np.arange(BATCH) - epoch * SIZE
        inside = (places >= 0) & (places < SIZE)
        batches[sampler.plan(k).indices[inside]] = k - first
    return batches


def pairs(counts):
    return (counts * (counts - 1) // 2).sum()


def test_batch_mates_meet_again_as_often_as_chance_has_it():
    """Pairs of images that share a batch in two epochs, or under two seeds: within 5 %.

    About 8,000 are expected of each two orders, with a standard deviation of 1.1 %. Neighbouring
    seeds and epochs, whose random streams a careless rule would make akin (or, by seed + epoch,
    the same), are among them.
    """
    orders = [batch_of_each_image(seed, epoch) for seed in range(3) for epoch in range(3)]
    for one, other in itertools.combinations(orders, 2):
        shared = [pairs(np.bincount(batches)) for batches in (one, other)]
        expected = shared[0] * shared[1] / pairs(np.array([SIZE]))
        again = pairs(np.unique(one * 1000 + other, return_counts=True)[1])
        assert 7_500 < expected < 8_500
        assert again == pytest.approx(expected, rel=0.05)


# ---------------------------------------------------------------- which crops and flips


@pytest.fixture(scope="module")
def plans():
    """400 batches of 128 under each of two seeds."""
    return [[Sampler(SIZE, BATCH, seed).plan(k) for k in range(400)] for seed in (0, 1)]


def test_offsets_and_flips_are_uniform_and_independent(plans):
    """9 x 9 corners, flipped or not: all 162 cases equally often, by a chi-squared test."""
    for of_seed in plans:
        offsets = np.concatenate([plan.offsets for plan in of_seed])
        flips = np.concatenate([plan.flips for plan in of_seed])
        assert offsets.min() == 0
        assert offsets.max() == 8
        cases = (offsets[:, 0] * 9 + offsets[:, 1]) * 2 + flips
        counts = np.bincount(cases, minlength=162)
        assert len(counts) == 162
        assert 1e-3 < stats.chisquare(counts).pvalue < 1 - 1e-3


def test_augmentation_differs_between_batches_and_seeds(plans):
    """Two batches agree in an image's corner and flip once in 162 times, like strangers."""
    cases = np.array([[(*plan.offsets.T, plan.flips) for plan in of_seed] for of_seed in plans])
    neighbours = (cases[:, :-1] == cases[:, 1:]).all(axis=2)
    across_seeds = (cases[0] == cases[1]).all(axis=1)
    diagonal = (cases[0, 1:] == cases[1, :-1]).all(axis=1)
    for same in (neighbours, across_seeds, diagonal):
        assert same.mean() == pytest.approx(1 / 162, rel=0.25)


# ---------------------------------------------------------------- the pixels


def assert_true_crops(images, offsets, flips, results):
    padded = np.pad(images, [(0, 0), (4, 4), (4, 4), (0, 0)])
    for image, (top, left), flip, result in zip(padded, offsets, flips, results, strict=True):
        crop = image[top : top + 32, left : left + 32]
        np.testing.assert_array_equal(result, crop[:, ::-1] if flip else crop)


def test_every_corner_flipped_or_not():
    """All 162 augmentations of different images are true crops of the padded ones, bit for bit."""
    cases = np.array(list(itertools.product(range(9), range(9), (0, 1))), np.int32)
    offsets, flips = cases[:, :2], cases[:, 2].astype(bool)
    images = np.random.default_rng(0).uniform(1, 2, (162, 32, 32, 3)).astype(np.float32)
    results = augment(images, offsets, flips).numpy()
    assert_true_crops(images, offsets, flips, results)
    # No zeros but the padding's, and those where they belong.
    for (top, left), flip, result in zip(offsets, flips, results, strict=True):
        inside = (32 - abs(top - 4)) * (32 - abs(left - 4)) * 3
        assert np.count_nonzero(result) == inside
        unflipped = result[:, ::-1] if flip else result
        assert not unflipped[: max(0, 4 - top)].any()
        assert not unflipped[:, : max(0, 4 - left)].any()


def test_augmentation_in_a_graph_of_any_batch_size():
    signature = [
        tf.TensorSpec([None, 32, 32, 3]),
        tf.TensorSpec([None, 2], tf.int32),
        tf.TensorSpec([None], tf.bool),
    ]
    compiled = tf.function(augment, input_signature=signature)
    images = np.random.default_rng(0).normal(size=(16, 32, 32, 3)).astype(np.float32)
    plan = Sampler(16, 16, seed=0).plan(0)
    for count in (16, 5):
        arguments = images[:count], plan.offsets[:count], plan.flips[:count]
        assert_true_crops(*arguments, compiled(*arguments).numpy())


def test_mean_of_the_training_set_is_subtracted_pixel_by_pixel():
    """Then one constant scales everything."""
    images = np.random.default_rng(0).integers(0, 256, (500, 32, 32, 3), np.uint8)
    mean = mean_image(images)
    assert (mean.dtype, mean.shape) == (np.float32, (32, 32, 3))
    np.testing.assert_allclose(mean, images.astype(np.float64).mean(axis=0), rtol=1e-7)
    results = preprocess(images, mean).numpy()
    np.testing.assert_allclose(results.mean(axis=0), np.zeros((32, 32, 3)), atol=1e-5)
    ratios = (images.astype(np.float64) - mean) / np.where(results == 0, np.nan, results)
    assert np.nanmin(ratios) == pytest.approx(np.nanmax(ratios), rel=1e-4)


def test_mean_of_many_images_is_exact():
    """So many that their sum in float32, one by one, would be off."""
    images = np.full((300_000, 1, 1, 2), 201, np.uint8)
    np.testing.assert_array_equal(mean_image(images), [[[201, 201]]])
