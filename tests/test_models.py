"""Networks: their structure and their arithmetic."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_networks import build_small, draw_images, of_type, shake

from degradation.models import build_model

PARAMETERS = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962}
FAMILIES = ("plain", "resnet")
# Plain, and residual with each option, as (name, keywords), 14 layers deep: two blocks a stage.
VARIANTS = [("plain20", {}), *(("resnet20", {"shortcut": option}) for option in "ABC")]


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_variables)


# ---------------------------------------------------------------- structure


@pytest.mark.parametrize("depth", PARAMETERS)
def test_parameter_counts(depth):
    """The paper's counts, exactly, and the same for plain and residual networks."""
    for kind in FAMILIES:
        assert trainable(build_model(f"{kind}{depth}")) == PARAMETERS[depth]


@pytest.mark.parametrize(("option", "more"), [("B", 2_752), ("C", 14_240)])
def test_projections_are_the_only_further_parameters(option, more):
    """B: 16·32+2·32 and 32·64+2·64. C: these, 3·(16²+2·16), 2·(32²+2·32) and 2·(64²+2·64)."""
    assert trainable(build_model("resnet20", shortcut=option)) == PARAMETERS[20] + more


def test_residual_differs_from_plain_in_the_additions_alone():
    """Without additions and their shortcuts: the same layers and, of one seed, the same weights."""
    models = []
    for name in ("plain20", "resnet20"):
        keras.utils.set_random_seed(0)
        models.append(build_small(name))
    plain, residual = models
    added = ("Add", "ZeroPadShortcut")
    shared = [layer.name for layer in residual.layers if type(layer).__name__ not in added]
    assert [layer.name for layer in plain.layers] == shared
    for ours, theirs in zip(plain.weights, residual.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


# ---------------------------------------------------------------- arithmetic


def reference_logits(model, images, shortcut):
    """Section 4.2 in TensorFlow's own ops, in training mode; weights in `model.layers`' order."""
    kernels = iter([x.kernel.value for x in of_type(model, keras.layers.Conv2D)])
    norms = iter(of_type(model, keras.layers.BatchNormalization))

    def conv(x, stride=1):
        kernel = next(kernels)
        border = [kernel.shape[0] // 2] * 2
        return tf.nn.conv2d(x, kernel, stride, [[0, 0], border, border, [0, 0]])

    def norm(x):
        layer = next(norms)
        mean, variance = tf.nn.moments(x, [0, 1, 2])
        return tf.nn.batch_normalization(x, mean, variance, layer.beta, layer.gamma, 1e-5)

    x = tf.nn.relu(norm(conv(images)))
    for width in (16, 32, 64):
        for _ in range(2):
            stride = 1 if x.shape[-1] == width else 2
            y = tf.nn.relu(norm(conv(x, stride)))
            y = conv(y)
            if shortcut == "C" or (shortcut == "B" and stride == 2):
                # model.layers walks both paths side by side, the main one first.
                added = conv(x, stride)
                y = norm(y)
                y += norm(added)
            else:
                y = norm(y)
                if shortcut == "A" or (shortcut == "B" and stride == 1):
                    new = (width - x.shape[-1]) // 2
                    y += tf.pad(x[:, ::stride, ::stride], [[0, 0], [0, 0], [0, 0], [new, new]])
            x = tf.nn.relu(y)
    dense = model.layers[-1]
    return tf.reduce_mean(x, [1, 2]) @ dense.kernel + dense.bias


@pytest.mark.parametrize(("name", "settings"), VARIANTS)
def test_logits_of_a_network_written_out(name, settings):
    """An independent forward pass over the same weights gives the same logits.

    With one pixel of zeros on both sides of each map, where `padding="same"` pads only after.
    """
    model = shake(build_small(name, **settings))
    logits = model(draw_images(), training=True)
    expected = reference_logits(model, draw_images(), settings.get("shortcut"))
    assert np.std(expected) > 1e-3
    np.testing.assert_allclose(logits, expected, atol=1e-3 * np.abs(expected).max())
