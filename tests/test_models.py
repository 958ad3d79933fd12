"""Networks: their structure and their arithmetic."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_networks import build_small, draw_images, of_type, shake

from degradation.models import build_model, model_names

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


def test_names():
    assert {f"{kind}{depth}" for kind in FAMILIES for depth in PARAMETERS} <= set(model_names())
    assert build_model("plain20").name == "plain20"


def sequence(model, ignore=()):
    letters = {
        "InputLayer": "i",
        "Conv2D": "c",
        "BatchNormalization": "b",
        "ReLU": "r",
        "ZeroPadding2D": "p",
        "ZeroPadShortcut": "z",
        "Add": "+",
        "GlobalAveragePooling2D": "g",
        "Dense": "d",
    }
    types = [type(layer).__name__ for layer in model.layers]
    return "".join(letters[name] for name in types if name not in ignore)


def test_layers_of_a_plain_network():
    """Batch normalisation between every convolution and its ReLU; no dropout, nothing else."""
    same, halved = "cbrcbr", "pcbrcbr"
    assert sequence(build_small("plain20")) == f"icbr{same}{same}{halved}{same}{halved}{same}gd"


def test_layers_of_a_residual_network():
    """The addition comes after the second batch normalisation and before the ReLU."""
    same, halved = "cbrcb+r", "pcbrcb+r"
    expected = f"icbr{same}{same}{halved}{same}{halved}{same}gd"
    assert sequence(build_small("resnet20"), ignore=["ZeroPadShortcut"]) == expected


@pytest.mark.parametrize(("name", "settings"), VARIANTS)
def test_convolutions_on_the_main_path(name, settings):
    """2n of 16, 2n of 32 and 2n of 64 filters after the first; stride 2 where the width doubles."""
    convolutions = of_type(build_small(name, **settings), keras.layers.Conv2D)
    main = [layer for layer in convolutions if layer.kernel_size == (3, 3)]
    assert [layer.filters for layer in main] == [16] * 5 + [32] * 4 + [64] * 4
    assert [layer.strides for layer in main] == [
        (2, 2) if position in (5, 9) else (1, 1) for position in range(13)
    ]
    assert not any(layer.use_bias for layer in convolutions)


@pytest.mark.parametrize(
    ("option", "projections"),
    [
        ("A", []),
        ("B", [(32, 2), (64, 2)]),
        ("C", [(16, 1), (16, 1), (32, 2), (32, 1), (64, 2), (64, 1)]),
    ],
)
def test_where_shortcuts_project(option, projections):
    """1x1 convolutions, as (filters, stride): none, where the shape changes, everywhere."""
    model = build_small("resnet20", shortcut=option)
    found = [x for x in of_type(model, keras.layers.Conv2D) if x.kernel_size == (1, 1)]
    assert [(layer.filters, layer.strides[0]) for layer in found] == projections
    norms = of_type(model, keras.layers.BatchNormalization)
    assert len(norms) == len(of_type(model, keras.layers.Conv2D)) == 13 + len(projections)
    padded = [x for x in model.layers if type(x).__name__ == "ZeroPadShortcut"]
    assert len(padded) == (2 if option == "A" else 0)
    assert len(of_type(model, keras.layers.Add)) == 6


def test_residual_differs_from_plain_in_the_additions_alone():
    """Without additions and their shortcuts: the same layers and, of one seed, the same weights."""
    models = []
    for name in ("plain20", "resnet20"):
        keras.utils.set_random_seed(0)
        models.append(build_small(name))
    plain, residual = models
    shared = [
        layer for layer in residual.layers if type(layer).__name__ not in ("Add", "ZeroPadShortcut")
    ]
    # Initialisers carry a seed of their own when they have drawn; the weights below speak for it.
    described = [
        [
            (type(x), {k: v for k, v in x.get_config().items() if k != "kernel_initializer"})
            for x in layers
        ]
        for layers in (plain.layers, shared)
    ]
    assert described[0] == described[1]
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
    """An independent forward pass over the same weights gives the same logits."""
    model = shake(build_small(name, **settings))
    logits = model(draw_images(), training=True)
    expected = reference_logits(model, draw_images(), settings.get("shortcut"))
    assert np.std(expected) > 1e-3
    np.testing.assert_allclose(logits, expected, atol=1e-3 * np.abs(expected).max())


def strided_stages(model):
    """Layers from each ReLU before a stride-2 3x3 convolution to that convolution."""
    for end, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.Conv2D) and layer.strides == (2, 2):
            start = max(i for i in range(end) if isinstance(model.layers[i], keras.layers.ReLU))
            yield model.layers[start + 1 : end + 1]


@pytest.mark.parametrize("size", [4, 8])
def test_stride_2_pads_both_sides(size):
    """As Caffe and Torch: one pixel of zeros on each side, windows centred on 0, 2, 4, ..."""
    stages = list(strided_stages(build_small("plain20", depth=8)))
    assert len(stages) == 2
    for layers in stages:
        kernel = layers[-1].kernel.numpy()
        images = np.random.default_rng(0).normal(size=(2, size, size, kernel.shape[2]))
        outputs = images.astype(np.float32)
        for layer in layers:
            outputs = layer(outputs)
        padded = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)])
        expected = np.zeros((2, size // 2, size // 2, kernel.shape[3]))
        for row, column in np.ndindex(size // 2, size // 2):
            window = padded[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            expected[:, row, column] = np.tensordot(window, kernel, axes=3)
        np.testing.assert_allclose(outputs, expected, atol=1e-5)
