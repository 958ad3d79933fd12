"""The contract of `build_model`: initial weights, precision, saving, and what is refused."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_networks import build_small, draw_images, of_type, shake

from degradation.errors import UserError
from degradation.models import build_model

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


def test_seed_decides_the_initial_weights():
    models = []
    for seed in (3, 3, 4):
        keras.utils.set_random_seed(seed)
        models.append(build_small("plain20", depth=8))
    first, again, other = ([w.numpy() for w in x.trainable_variables if w.ndim > 1] for x in models)
    assert len(first) == 8
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.abs(a - c).max() > 0.1 * np.abs(a).max()


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


@pytest.mark.parametrize("name", ["bfloat16", "float64"])
def test_policies_that_no_command_uses(name, set_policy):
    """Weights are Keras' business, statistics float32; it trains, and logits are float32."""
    set_policy(name)
    model = build_small("resnet20", depth=8)
    with tf.GradientTape() as tape:
        logits = model(draw_images(), training=True)
        loss = tf.reduce_sum(logits**2)
    assert logits.dtype == tf.float32
    assert all(slope is not None for slope in tape.gradient(loss, model.trainable_variables))
    layer = of_type(model, keras.layers.BatchNormalization)[0]
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    assert np.abs(layer.moving_mean).max() > 0
    assert model(draw_images()).dtype == tf.float32


def test_bfloat16_is_close_to_float32(set_policy):
    single = shake(build_small("resnet20"))
    set_policy("mixed_bfloat16")
    half = build_small("resnet20")
    half.set_weights(single.get_weights())
    for training in (False, True):
        expected = single(draw_images(), training=training).numpy()
        logits = half(draw_images(), training=training).numpy()
        assert 0 < np.abs(logits - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("option", "ABC")
def test_saved_network_loads(option, policy, tmp_path, set_policy):
    """In Keras' safe mode and under another policy: the same outputs to the last bit."""
    model = shake(build_small("resnet20", depth=8, shortcut=option))
    model.save(tmp_path / "model.keras")
    set_policy("float32")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert loaded.name == model.name
    for training in (False, True):
        outputs = [x(draw_images(), training=training).numpy() for x in (model, loaded)]
        np.testing.assert_array_equal(*outputs)


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


def test_the_layout_is_that_of_the_images_whatever_the_user_prefers(monkeypatch):
    """As in the `keras.json` of someone who works with channels first."""
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        assert build_model("resnet20", depth=8).count_params() == 75_290 + 480
        assert keras.config.image_data_format() == "channels_first"
    finally:
        keras.config.set_image_data_format(before)


STAGES = "stem: cifar, block: basic, widths: [4, 8], depths: [1, 1]"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"builder: resnet, {STAGES}", None),
        (
            f"builder: resnet, {STAGES}, dropout: 0.1",
            ["model.dropout=0.1: unknown key", "model/mine.yaml: ", "head"],
        ),
        ("builder: resnet, stem: cifar, block: basic, widths: [4]", ["model.depths: missing"]),
        (
            "builder: vgg, depths: [1], widths: [4]",
            ["model.skip: missing", "conf/model/mine.yaml: ", "widths"],
        ),
        (f"builder: resnett, {STAGES}", ["model.builder=resnett", "cifar_resnet, resnet, vgg"]),
        (STAGES, ["conf/model/mine.yaml: no builder", "cifar_resnet, resnet, vgg"]),
    ],
)
def test_a_file_of_ones_own(text, words, tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text(f"{{name: mine, {text}}}")
    monkeypatch.setattr("degradation.models.networks.CONF", tmp_path)
    if words is None:
        assert build_model("mine").output_shape == (None, 10)
        return
    with pytest.raises(UserError) as caught:
        build_model("mine")
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("alexnet", {}, ("model=alexnet", "plain20", "resnet110")),
        ("../data/cifar10", {}, ("model=../data/cifar10", "plain20")),
        ("resnet26", {}, ("model=resnet26", "resnet20")),
        ("resnet20", {"dpeth": 20}, ("model.dpeth", "depth, shortcut")),
        ("plain20", {"shortcut": "A"}, ("model.shortcut", "plain20", "depth")),
        ("resnet20", {"shortcut": "D"}, ("model.shortcut=D", "A, B, C")),
        ("resnet20", {"shortcut": "a"}, ("model.shortcut=a", "A, B, C")),
        ("resnet20", {"shortcut": "null"}, ("model.shortcut=null", "A, B, C, or null")),
        ("resnet20", {"depth": 21}, ("model.depth=21", "6n+2")),
        ("plain20", {"depth": 2}, ("model.depth=2", "6n+2")),
        ("plain20", {"depth": -4}, ("model.depth=-4", "6n+2")),
        ("plain20", {"depth": 20.0}, ("model.depth=20.0", "6n+2")),
        ("plain20", {"depth": "20"}, ("model.depth=20", "6n+2")),
        ("plain20", {"builder": "vgg"}, ("model.builder=vgg", "cifar_resnet")),
    ],
)
def test_what_is_not_allowed(name, settings, words):
    """One line that names the key, the value and what is allowed."""
    with pytest.raises(UserError) as caught:
        build_model(name, **settings)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message
    assert caught.value.exit_code == 2
