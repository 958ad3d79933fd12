"""One update and one evaluation, from uint8 images on, against softmax regression in numpy."""

import keras
import numpy as np
import pytest

from degradation.data.pipeline import Sampler, preprocess
from degradation.training.protocol import SGD
from degradation.training.steps import make_evaluation, make_update


def linear_model():
    """Softmax regression: a model whose updates take a few lines of numpy."""
    layers = [keras.layers.Flatten(), keras.layers.Dense(10)]
    return keras.Sequential([keras.Input((32, 32, 3)), *layers])


def crop(images, plan):
    """The batch that a plan describes, image by image."""
    padded = np.pad(images, [(0, 0), (4, 4), (4, 4), (0, 0)])
    crops = [
        padded[index, top : top + 32, left : left + 32, :][:, :: -1 if flip else 1]
        for index, (top, left), flip in zip(*plan, strict=True)
    ]
    return np.stack(crops)


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
