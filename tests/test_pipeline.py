"""The input pipeline: which images, which crops and flips, and what becomes of the pixels."""

import itertools

import numpy as np
import pytest
from scipy import stats

from degradation.data.pipeline import Sampler, augment


def assert_same(plan, other):
    for ours, theirs in zip(plan, other, strict=True):
        np.testing.assert_array_equal(ours, theirs)


# ---------------------------------------------------------------- which images


@pytest.mark.parametrize(("size", "batch"), [(50, 16), (10, 32), (9, 1)])
def test_every_image_once_an_epoch(size, batch):
    """Epochs are permutations put end to end; batches are cut from that without a gap.

    So too where a batch spans two epochs, or several.
    """
    sampler, epochs = Sampler(size, batch, seed=5), 8
    found = np.concatenate([sampler.plan(k).indices for k in range(-(-epochs * size // batch))])
    orders = [np.random.default_rng([5, epoch]).permutation(size) for epoch in range(epochs)]
    np.testing.assert_array_equal(found[: epochs * size], np.concatenate(orders))


def test_a_batch_is_a_function_of_seed_and_iteration():
    """Asked for in order, out of order or alone, by one sampler or a new one: the same."""
    in_order, out_of_order = Sampler(50, 16, seed=1), Sampler(50, 16, seed=1)
    plans = [in_order.plan(k) for k in range(12)]
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


# ---------------------------------------------------------------- which crops and flips


def test_offsets_and_flips_are_uniform_and_independent():
    """9 x 9 corners, flipped or not: all 162 cases equally often, by a chi-squared test."""
    sampler = Sampler(50_000, 128, seed=0)
    plans = [sampler.plan(k) for k in range(400)]
    offsets, flips = (np.concatenate([p[part] for p in plans]) for part in (1, 2))
    counts = np.bincount((offsets[:, 0] * 9 + offsets[:, 1]) * 2 + flips)
    assert len(counts) == 162
    assert 1e-3 < stats.chisquare(counts).pvalue < 1 - 1e-3


def test_augmentation_differs_between_batches_and_seeds():
    """Neighbours, too, which a rule such as seed + iteration would make the same."""
    plans = [Sampler(50_000, 128, seed).plan(k) for seed in range(3) for k in range(3)]
    for one, other in itertools.combinations(plans, 2):
        same = (one.offsets == other.offsets).all(axis=1) & (one.flips == other.flips)
        assert same.mean() < 0.1  # by chance one in 162


# ---------------------------------------------------------------- the pixels


def test_every_corner_flipped_or_not():
    """All 162 augmentations of different images are true crops of the padded ones, bit for bit."""
    cases = np.array(list(itertools.product(range(9), range(9), (0, 1))), np.int32)
    offsets, flips = cases[:, :2], cases[:, 2].astype(bool)
    images = np.random.default_rng(0).uniform(1, 2, (162, 32, 32, 3)).astype(np.float32)
    padded = np.pad(images, [(0, 0), (4, 4), (4, 4), (0, 0)])
    expected = [
        image[top : top + 32, left : left + 32][:, :: -1 if flip else 1]
        for image, (top, left), flip in zip(padded, offsets, flips, strict=True)
    ]
    np.testing.assert_array_equal(augment(images, offsets, flips), expected)
