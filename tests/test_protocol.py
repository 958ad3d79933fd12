"""The optimiser's update and the learning rate, against a few lines of numpy and the paper."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from omegaconf import OmegaConf

from degradation.config import CONF
from degradation.training.protocol import SGD, LearningRate

SHAPES = [(3, 3, 2, 4), (4,), (4, 5), (5,)]  # a convolution, gamma or beta, a dense layer, its bias


# ---------------------------------------------------------------- the update


@pytest.mark.parametrize("momentum", [0.9, 0.0])
@pytest.mark.parametrize("decay", ["all", "kernels"])
def test_updates_by_hand(momentum, decay):
    """v = m v - r (g + d w), w = w + v, with the rate inside the velocity: it shows at a drop.

    Six updates, the last three at a tenth of the rate; a decay large enough to matter.
    """
    chance = np.random.default_rng(0)
    variables = [keras.Variable(chance.normal(size=s).astype(np.float32)) for s in SHAPES]
    optimizer = SGD(0.1, momentum, l2=0.05, decay=decay)
    optimizer.build(variables)
    update = tf.function(lambda gradients: optimizer.apply(gradients, variables))
    weights = [variable.numpy().astype(np.float64) for variable in variables]
    velocities = [np.zeros(shape) for shape in SHAPES]
    for rate in (0.1, 0.1, 0.1, 0.01, 0.01, 0.01):
        optimizer.learning_rate = rate
        gradients = [chance.normal(size=shape).astype(np.float32) for shape in SHAPES]
        update([tf.constant(gradient) for gradient in gradients])
        for i, gradient in enumerate(gradients):
            decays = decay == "all" or weights[i].ndim > 1
            step = gradient + (0.05 if decays else 0.0) * weights[i]
            velocities[i] = momentum * velocities[i] - rate * step
            weights[i] += velocities[i]
            np.testing.assert_allclose(variables[i], weights[i], rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- the learning rate


@pytest.mark.parametrize(
    ("iteration", "rate"),
    [(0, 0.1), (31_999, 0.1), (32_000, 0.01), (47_999, 0.01), (48_000, 0.001), (63_999, 0.001)],
)
def test_the_papers_rates_at_their_edges(iteration, rate):
    """Updates count from 0, and the rates are the exact numbers that a row shows."""
    schedule = OmegaConf.load(CONF / "schedule" / "paper.yaml")
    assert schedule.iterations == 64_000
    assert LearningRate(0.1, list(schedule.drops), None, 80)(iteration) == rate


def observe(rate, errors):
    for error in errors:
        rate.observe(error)


def test_warm_up_lasts_until_the_error_is_below_80():
    """At the mean of a window: one lucky batch, or exactly 80 %, does not end it."""
    rate = LearningRate(0.1, [32_000, 48_000], 0.01, 80)
    assert rate(0) == 0.01
    observe(rate, [90.0] * 99 + [0.0])
    assert rate(100) == 0.01
    observe(rate, [80.0] * 100)
    assert rate(200) == 0.01
    observe(rate, [79.0] * 99)
    assert rate(299) == 0.01
    observe(rate, [79.0])
    assert rate(300) == 0.1
    observe(rate, [100.0] * 200)
    assert rate(500) == 0.1, "the warm-up never comes back"
    assert (rate(32_000), rate(48_000)) == (0.01, 0.001)


def test_without_a_warm_up_drops_alone_decide():
    """And a warm-up is never above the rate of its time."""
    rate = LearningRate(0.1, [10], None, 80)
    observe(rate, [100.0] * 100)
    assert (rate(0), rate(9), rate(10)) == (0.1, 0.1, 0.01)
    rate = LearningRate(0.1, [4, 6], 0.01, 80)
    assert [rate(k) for k in (0, 4, 6)] == [0.01, 0.01, 0.001]
