"""Batch normalisation and shortcut A, against Keras' layers and numbers written out by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from degradation.models import layers
from degradation.models.layers import BatchNormalization, Conv2D, ZeroPadShortcut

# Relative to the largest value. bfloat16 keeps eight bits; the moving averages are float32 anyway.
TOLERANCE = {"float32": 2e-6, "mixed_bfloat16": 1.5e-2}


def assert_close(ours, stock, tolerance):
    ours, stock = (np.asarray(tf.cast(value, tf.float32)) for value in (ours, stock))
    np.testing.assert_allclose(ours, stock, rtol=0, atol=tolerance * np.abs(stock).max())


def output_and_gradients(layer, images, directions, training):
    images = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = layer(images, training=training)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32) * directions)
    return outputs, *tape.gradient(loss, [images, layer.gamma.value, layer.beta.value])


def test_batch_normalisation_is_keras_own(policy):
    """Outputs, the three gradients and moving averages over five steps, in training and after it.

    With 18 pixels a channel, the factor (n-1)/n between the two variances is far from 1.
    """
    chance = np.random.default_rng(0)
    gamma, beta = chance.normal(1, 0.3, 8), chance.normal(0, 0.3, 8)
    # Keras' with our constants, in float32 whatever the policy.
    stock = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype="float32")
    ours = BatchNormalization()
    for layer in (ours, stock):
        layer.build((2, 3, 3, 8))
        layer.gamma.assign(gamma)
        layer.beta.assign(beta)
    for _ in range(5):
        images = chance.normal(2, 3, (2, 3, 3, 8)).astype(np.float32)
        if policy == "mixed_bfloat16":
            # The same images for both, such as that precision can hold.
            images = tf.cast(tf.cast(images, tf.bfloat16), tf.float32)
        directions = chance.normal(size=(2, 3, 3, 8)).astype(np.float32)
        for training in (True, False):
            results = (output_and_gradients(x, images, directions, training) for x in (ours, stock))
            for our_value, stock_value in zip(*results, strict=True):
                assert_close(our_value, stock_value, TOLERANCE[policy])
        assert_close(ours.moving_mean, stock.moving_mean, TOLERANCE["float32"])
        assert_close(ours.moving_variance, stock.moving_variance, TOLERANCE["float32"])


def test_one_pixel_a_channel():
    """A batch of one pixel has variance 0, not the 0/0 of an unbiased one."""
    layer = BatchNormalization()
    outputs = layer(np.full((1, 1, 1, 2), 7, np.float32), training=True)
    np.testing.assert_array_equal(outputs, np.zeros((1, 1, 1, 2)))
    np.testing.assert_allclose(layer.moving_variance, [0.9, 0.9], rtol=1e-6)


def test_frozen_layer_infers():
    """As in Keras, `trainable=False` means the moving averages, which then stand still."""
    layer = BatchNormalization()
    images = np.random.default_rng(0).normal(3, 2, (2, 2, 2, 3)).astype(np.float32)
    layer.build(images.shape)
    layer.trainable = False
    np.testing.assert_allclose(layer(images, training=True), images / np.sqrt(1 + 1e-5), rtol=1e-6)
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(3))
    np.testing.assert_array_equal(layer.moving_variance, np.ones(3))


@pytest.mark.parametrize("size", [(4, 4), (5, 7)])
def test_shortcut_a_and_its_gradient(size, policy):
    """Bit for bit the subsampled images; the gradient goes back to the picked pixels alone.

    Of nine new channels four come before, five after.
    """
    chance = np.random.default_rng(0)
    layer = ZeroPadShortcut(17, stride=2)
    dtype = layer.compute_dtype
    images = tf.cast(chance.normal(size=(3, *size, 8)), dtype)
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = layer(images)
    expected = np.zeros(outputs.shape)
    expected[..., 4:12] = tf.cast(images, tf.float32)[:, ::2, ::2]
    np.testing.assert_array_equal(tf.cast(outputs, tf.float32), expected)
    assert layer(keras.Input((*size, 8))).shape[1:] == outputs.shape[1:]

    directions = tf.cast(chance.normal(size=outputs.shape), dtype)
    gradient = tape.gradient(outputs, images, output_gradients=directions)
    expected = np.zeros(images.shape)
    expected[:, ::2, ::2] = tf.cast(directions, tf.float32)[..., 4:12]
    np.testing.assert_array_equal(tf.cast(gradient, tf.float32), expected)


def test_bfloat16_convolves_alike_on_every_processor(set_policy, monkeypatch):
    """Output and gradients: where it is not in hardware, too, only sums are rounded."""
    set_policy("mixed_bfloat16")
    chance = np.random.default_rng(0)
    images, directions = (chance.normal(size=(4, 8, 8, 16)).astype("float32") for _ in range(2))
    layer = Conv2D(16, 3, padding="same", use_bias=False)
    exact = keras.layers.Conv2D(16, 3, padding="same", use_bias=False, dtype="float32")
    for each in (layer, exact):
        each.build(images.shape)
    layer.kernel.assign(tf.cast(tf.cast(layer.kernel, tf.bfloat16), tf.float32))
    exact.kernel.assign(layer.kernel)

    def results(layer):
        given = tf.cast(tf.cast(images, tf.bfloat16), layer.compute_dtype)
        with tf.GradientTape() as tape:
            tape.watch(given)
            output = layer(given)
            loss = tf.reduce_sum(output * tf.cast(tf.cast(directions, tf.bfloat16), output.dtype))
        return output, *tape.gradient(loss, [given, layer.kernel.value])

    expected = [tf.cast(value, tf.bfloat16) for value in results(exact)]
    for native in {False, layers.cpu_has_bf16()}:
        monkeypatch.setattr(layers, "cpu_has_bf16", lambda native=native: native)
        for ours, wanted in zip(results(layer), expected, strict=True):
            assert_close(ours, wanted, 2**-7 if native else 2**-8)
