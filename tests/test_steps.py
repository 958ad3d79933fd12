"""One update and one evaluation, from uint8 images on, against softmax regression in numpy."""

import math

import keras
import numpy as np
import pytest

from degradation.data import Dataset, load_dataset
from degradation.data.pipeline import BatchPlan, Sampler, preprocess
from degradation.models import build_model
from degradation.training.protocol import SGD
from degradation.training.steps import make_evaluation, make_update


@pytest.fixture(scope="module")
def synthetic():
    return load_dataset("synthetic", root=None, train_images=100, test_images=30)


def make_dataset(train_images, train_labels):
    """A data set of these training images, with one of them to test on."""
    return Dataset(
        name="made up",
        label="made up for a test",
        train_images=train_images,
        train_labels=train_labels,
        test_images=train_images[:1].copy(),
        test_labels=train_labels[:1].copy(),
        classes=tuple("0123456789"),
        fingerprint="none",
        canonical=False,
        source=None,
    )


def linear_model():
    """Softmax regression: a model whose updates take a few lines of numpy."""
    layers = [keras.layers.Flatten(), keras.layers.Dense(10)]
    return keras.Sequential([keras.Input((32, 32, 3)), *layers])


def softmax_regression(model, images, labels):
    """Losses, predictions and the two gradients on preprocessed images, in float64."""
    kernel, bias = (weight.astype(np.float64) for weight in model.get_weights())
    pixels = images.reshape(len(images), -1).astype(np.float64)
    logits = pixels @ kernel + bias
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    losses = -np.log(odds[np.arange(len(labels)), labels])
    errors = (odds - np.eye(10)[labels]) / len(labels)
    return losses, logits.argmax(axis=1), [pixels.T @ errors, errors.sum(axis=0)]


def crop(images, plan):
    """The batch that a plan describes, image by image."""
    padded = np.pad(images, [(0, 0), (4, 4), (4, 4), (0, 0)])
    crops = [
        padded[index, top : top + 32, left : left + 32, :][:, :: -1 if flip else 1]
        for index, (top, left), flip in zip(*plan, strict=True)
    ]
    return np.stack(crops)


def test_updates_by_hand(synthetic):
    """From uint8 images to changed weights: four updates of softmax regression, in numpy too.

    The loss is that before the update and has no L2 term; the rate drops half-way.
    """
    model = linear_model()
    update = make_update(model, optimizer := SGD(0.01, l2=0.5, decay="all"), synthetic)
    mean = synthetic.train_images.mean(axis=0)
    images = (synthetic.train_images - mean) / 64
    velocities = [0.0, 0.0]
    sampler = Sampler(100, 16, seed=0)
    for k, rate in enumerate((0.01, 0.01, 0.001, 0.001)):
        optimizer.learning_rate = rate
        plan = sampler.plan(k)
        labels = synthetic.train_labels[plan.indices]
        losses, predictions, gradients = softmax_regression(model, crop(images, plan), labels)
        before = model.get_weights()
        loss, wrong = update(plan)
        assert loss == pytest.approx(losses.mean(), rel=1e-5)
        assert wrong == np.sum(predictions != labels)
        for i, gradient in enumerate(gradients):
            velocities[i] = 0.9 * velocities[i] - rate * (gradient + 0.5 * before[i])
            expected = before[i] + velocities[i]
            np.testing.assert_allclose(model.get_weights()[i], expected, rtol=1e-4, atol=1e-6)


def test_padding_is_zero_after_the_mean_is_subtracted():
    """If all images are equal, nothing is left of them, and the padding must not stand out."""
    images = np.full((10, 32, 32, 3), 200, np.uint8)
    labels = np.arange(10, dtype=np.int32)
    update = make_update(linear_model(), SGD(0.1), make_dataset(images, labels))
    corners = BatchPlan(labels, np.tile(np.int32([0, 8]), (10, 1)), np.zeros(10, bool))
    loss, wrong = update(corners)
    assert loss == pytest.approx(math.log(10), rel=1e-6)
    assert wrong == 9


@pytest.mark.parametrize("total", [1, 1201])
def test_evaluation_by_hand(total):
    """Each image once, in order, as it is, the training set's mean subtracted; of any total."""
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (total, 32, 32, 3), np.uint8)
    labels = chance.integers(0, 10, total).astype(np.int32)
    mean = chance.uniform(100, 150, (32, 32, 3)).astype(np.float32)
    model = linear_model()
    losses, predictions = make_evaluation(model, images, labels, mean)()
    expected = softmax_regression(model, preprocess(images, mean).numpy(), labels)
    np.testing.assert_allclose(losses, expected[0], rtol=1e-3, atol=1e-4)
    assert np.mean(predictions == expected[1]) > 0.99  # but for ties within rounding
    assert losses.shape == predictions.shape == (total,)


def test_evaluation_leaves_the_network_as_it_is(synthetic):
    """Moving averages included, which it also uses."""
    model = build_model("resnet20", depth=8)
    before = model.get_weights()
    images, labels = synthetic.test_images, synthetic.test_labels
    evaluate = make_evaluation(model, images, labels, synthetic.mean_image)
    first, again = evaluate(), evaluate()
    np.testing.assert_array_equal(first[0], again[0])
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_a_network_learns_one_batch(synthetic):
    """A few updates at a small rate on the same images lower the loss and the errors."""
    keras.utils.set_random_seed(0)
    update = make_update(build_model("plain20", depth=8), SGD(0.05), synthetic)
    plan = Sampler(100, 50, seed=0).plan(0)
    results = [update(plan) for _ in range(30)]
    assert results[0][0] == pytest.approx(math.log(10), abs=0.1)
    assert results[-1][0] < results[0][0] - 0.2
    assert results[-1][1] < results[0][1] - 5
