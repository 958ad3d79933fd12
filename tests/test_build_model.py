"""The contract of `build_model`: initial weights, precision, saving, and what is refused."""

import importlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_networks import build_small, draw_images, of_type, shake

import degradation.models.layers
from degradation.config import validate
from degradation.errors import UserError
from degradation.models import build_model, to_float32
from experiments.compose import compose

# ---------------------------------------------------------------- initial weights


def test_initial_weights():
    """He normal (fan-in) convolutions, a dense layer of N(0, 0.01), neutral batch normalisation."""
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


def test_saved_network_loads_elsewhere(tmp_path):
    """A fresh process needs `import degradation.models` and nothing else of this project."""
    model = shake(build_small("resnet20", depth=8))
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", draw_images())
    script = (
        "import pathlib, sys, keras, numpy as np\n"
        "import degradation.models\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "model = keras.models.load_model(folder / 'model.keras')\n"
        "np.save(folder / 'logits.npy', model(np.load(folder / 'images.npy')))\n"
        "assert not any(name.startswith('degradation.training') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path], check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), model(draw_images()), rtol=1e-5)


# ---------------------------------------------------------------- what is not allowed


def line(refuse, *given, **settings) -> str:
    """The one line with which something is refused."""
    with pytest.raises(UserError) as caught:
        refuse(*given, **settings)
    message = str(caught.value)
    assert "\n" not in message and caught.value.exit_code == 2
    return message


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("alexnet", {}, ["model", "alexnet", "plain20", "resnet110"]),
        ("../data/cifar10", {}, ["model", "../data/cifar10", "plain20"]),
        ("resnet20", {"dpeth": 20}, ["model.dpeth=20: unknown key", "depth, shortcut"]),
        ("plain20", {"depth": 2}, ["model.depth=2", "6n+2"]),
        ("resnet20", {"depth": 20.0}, ["model.depth=20.0", "integer"]),
        ("resnet20", {"depth": "20"}, ["model.depth=20", "integer"]),
        ("densenet40", {"depth": 41}, ["model.depth=41", "3n+4"]),
        ("densenet_bc100", {"depth": 43}, ["model.depth=43", "6n+4"]),
        ("densenet_bc100", {"compression": 0}, ["model.compression=0", "greater than 0"]),
        ("densenet_bc100", {"compression": 1.5}, ["model.compression=1.5", "equal to 1"]),
        ("resnet20", {"shortcut": "a"}, ["model.shortcut=a", "null"]),
        ("resnet34_dense512", {"head": "dense256"}, ["model.head=dense256", "dense512"]),
        ("resnet50", {"builder": "vgg"}, ["model.", "skip"]),
        ("resnet50", {"classes": 1}, ["model.classes=1", "equal to 2"]),
        ("resnet50", {"classes": True}, ["model.classes=true", "integer"]),
        ("resnet50", {"widths": [64, 128]}, ["depths=[3,4,6,3]", "model.widths=[64,128]"]),
        ("resnet50", {"widths": 64}, ["model.widths=64", "a list"]),
        ("resnet50", {"depths": [3, 4, 6.5, 3]}, ["model.depths", "6.5", "integer"]),
        ("resnet50", {"depths": []}, ["model.depths=[]", "at least 1"]),
        ("resnet18", {"widths": [9, 8, 9, 9]}, ["model.widths=[9,8,9,9]", "model.shortcut=A"]),
        ("vgg16", {"depths": [2] * 6, "widths": [8] * 6}, ["model.depths=[2,2,2,2,2,2]", "5"]),
        ("vgg16", {"skip": 1}, ["model.skip=1", "true or false"]),
        ("vgg13skip", {"depths": [2, 2, 2, 2, 1]}, ["model.skip=true", "last two convolutions"]),
        ("vgg13skip", {"depths": [2], "widths": [8]}, ["model.skip=true", "last two"]),
    ],
)
def test_wrong_values_are_refused_in_one_line(name, settings, words):
    """Key, value, and what is allowed."""
    message = line(build_model, name, **settings)
    assert all(word in message for word in words), message


def test_a_command_refuses_in_the_same_words():
    """Only a network of fewer classes than the data have can be built, and not trained here."""
    config = compose("config", ["model=plain20"])
    config.model.depth = 9
    assert line(validate, config) == line(build_model, "plain20", depth=9)
    config = compose("config", ["model=resnet18", "model.classes=9"])
    assert line(validate, config) == "model.classes=9: allowed: an integer of 10 or more"
    assert build_small("plain20", classes=9).output_shape == (None, 9)


STAGES = "stem: cifar, block: basic, widths: [4, 8], depths: [1, 1]"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"builder: resnet, {STAGES}", None),
        (f"builder: resnet, {STAGES}, dropout: 0.1", ["model.dropout=0.1", "head"]),
        ("builder: resnet, stem: cifar, block: basic, widths: [4]", ["model.depths: missing"]),
        (f"builder: resnett, {STAGES}", ["model.builder=resnett", "cifar_resnet"]),
        (STAGES, ["model.builder: missing"]),
    ],
)
def test_a_file_of_ones_own(text, words, tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/mine.yaml").write_text(f"{{name: mine, {text}}}")
    monkeypatch.setattr("degradation.config.CONF", tmp_path)
    if words is None:
        assert build_model("mine").output_shape == (None, 10)
    else:
        message = line(build_model, "mine")
        assert all(word in message for word in words), message
