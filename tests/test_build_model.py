"""The contract of `build_model`: initial weights, precision, saving, and what is refused."""

import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from command_line import refusal
from small_networks import build_small, draw_images, of_type, shake

import degradation.models.layers
from degradation.config import validate
from degradation.models import build_model, to_float32
from experiments.compose import compose

# ---------------------------------------------------------------- initial weights


def test_initial_weights():
    """He normal (fan-in) convolutions, a dense layer of N(0, 0.01²), neutral batch norm."""
    keras.utils.set_random_seed(0)
    model = build_model("resnet56")
    scaled = []
    for layer in of_type(model, keras.layers.Conv2D):
        fan_in = np.prod(layer.kernel.shape[:3])
        draws = layer.kernel.numpy().ravel() * np.sqrt(fan_in / 2)
        assert abs(draws.std() - 1) < 4 / np.sqrt(2 * draws.size)
        scaled.append(draws)
    pooled = np.concatenate(scaled)
    assert pooled.std() == pytest.approx(1, abs=0.005)
    assert pooled.mean() == pytest.approx(0, abs=0.005)
    # No two layers drew the same numbers.
    assert len({draws[:5].tobytes() for draws in scaled}) == len(scaled)
    dense = model.layers[-1]
    assert dense.kernel.numpy().std() == pytest.approx(0.01, rel=0.1)
    np.testing.assert_array_equal(dense.bias, np.zeros(10))
    for norm in of_type(model, keras.layers.BatchNormalization):
        assert (norm.epsilon, norm.momentum) == (1e-5, 0.9)
        for weight, value in zip(norm.weights, (1, 0, 0, 1), strict=True):
            np.testing.assert_array_equal(weight, np.full(weight.shape, value))


# ---------------------------------------------------------------- contract


def test_precision_comes_from_the_global_policy(policy):
    """Float32 images in and logits out, convolutions in the policy's precision between them."""
    model = build_small("resnet20", depth=8)
    assert keras.mixed_precision.global_policy().name == policy
    assert model.inputs[0].dtype == "float32"
    assert model.inputs[0].shape == (None, 32, 32, 3)
    logits = model(draw_images())
    assert logits.dtype == tf.float32
    assert logits.shape == (4, 10)
    expected = {"float32": "float32", "mixed_bfloat16": "bfloat16"}[policy]
    assert {x.compute_dtype for x in of_type(model, keras.layers.Conv2D)} == {expected}
    assert {weight.dtype for weight in model.weights} == {"float32"}


def test_a_float32_twin_of_a_network_trained_in_bfloat16(set_policy):
    """The same weights and layers, in float32 under whatever policy, and almost the same logits."""
    set_policy("mixed_bfloat16")
    half = shake(build_small("resnet20"))
    twin = to_float32(half)
    around = to_float32(keras.Model(images := keras.Input((32, 32, 3)), half(images)))
    assert {layer.compute_dtype for layer in around.layers[1].layers[1:]} == {"float32"}
    assert [layer.name for layer in twin.layers] == [layer.name for layer in half.layers]
    assert {layer.compute_dtype for layer in twin.layers[1:]} == {"float32"}  # after the input
    for ours, theirs in zip(half.weights, twin.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    set_policy("float32")
    single = build_small("resnet20")
    single.set_weights(half.get_weights())
    for training in (False, True):
        found, expected, rounded = (
            x(draw_images(), training=training) for x in (twin, single, half)
        )
        np.testing.assert_array_equal(found, expected)
        assert 0 < np.abs(rounded - expected).max() < 0.05 * np.abs(expected).max()


def test_another_backend_of_keras_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ImportError, match="not on jax: set KERAS_BACKEND=tensorflow") as refused:
        importlib.reload(degradation.models.layers)
    assert "\n" not in str(refused.value)


# ---------------------------------------------------------------- what is not allowed


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("../data/cifar10", {}, ["model", "../data/cifar10", "plain20"]),
        ("resnet20", {"dpeth": 20}, ["model.dpeth=20: unknown key", "depth, shortcut"]),
        ("plain20", {"depth": 2}, ["model.depth=2", "6n+2"]),
        ("resnet20", {"depth": 20.0}, ["model.depth=20.0", "integer"]),
        ("densenet40", {"depth": 41}, ["model.depth=41", "3n+4"]),
        ("densenet_bc100", {"depth": 43}, ["model.depth=43", "6n+4"]),
        ("densenet_bc100", {"compression": 1.5}, ["model.compression=1.5", "equal to 1"]),
        ("resnet20", {"shortcut": "a"}, ["model.shortcut=a", "null"]),
        ("resnet50", {"widths": [64, 128]}, ["depths=[3,4,6,3]", "model.widths=[64,128]"]),
        ("resnet18", {"widths": [9, 8, 9, 9]}, ["model.widths=[9,8,9,9]", "model.shortcut=A"]),
        ("vgg16", {"depths": [2] * 6, "widths": [8] * 6}, ["model.depths=[2,2,2,2,2,2]", "5"]),
        ("vgg13skip", {"depths": [2, 2, 2, 2, 1]}, ["model.skip=true", "last two convolutions"]),
        ("vgg13skip", {"depths": [2], "widths": [8]}, ["model.skip=true", "last two"]),
    ],
)
def test_wrong_values_are_refused_in_one_line(name, settings, words):
    """Key, value, and what is allowed: one of each kind that Python or a network's keys have."""
    message = refusal(build_model, name, **settings)
    assert all(word in message for word in words), message


def test_a_command_refuses_in_the_same_words():
    """Only a network of fewer classes than the data have can be built, and not trained here."""
    config = compose("config", ["model=plain20"])
    config.model.depth = 9
    assert refusal(validate, config) == refusal(build_model, "plain20", depth=9)
    config = compose("config", ["model=resnet18", "model.classes=9"])
    assert refusal(validate, config) == "model.classes=9: allowed: an integer of 10 or more"
    assert build_small("plain20", classes=9).output_shape == (None, 9)
