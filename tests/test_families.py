"""VGG and DenseNet: structure and arithmetic; and what the summary counts."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from small_networks import FAMILIES, VGG, draw_images, of_type, shake

from degradation.models import build_model
from degradation.models.summary import convolutions, summarize

# Layers, trainable parameters and multiply-adds. Of VGG the papers' dense layers are left out.
SIZES = {
    "vgg13": (11, 9_413_066, 228_267_008),
    "vgg13skip": (11, 9_413_066, 228_267_008),
    "vgg16": (14, 14_724_042, 313_201_664),
    "vgg19": (17, 20_035_018, 398_136_320),
    "densenet40": (40, 1_019_722, 264_812_928),
    "densenet_bc100": (100, 769_162, 287_929_692),
}


# ---------------------------------------------------------------- structure


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name):
    """As published: Huang et al., Table 2, has 1.0M and 0.8M for the two DenseNets."""
    model = build_model(name)
    size = summarize(model)
    assert (size.layers, size.parameters, size.multiply_adds) == SIZES[name]
    assert (model.input_shape, model.output_shape) == ((None, 32, 32, 3), (None, 10))


def test_vgg13skip_differs_from_vgg13_in_one_addition():
    """Of one seed, the same weights; where the addition is, the arithmetic below says."""
    models = []
    for name in ("vgg13", "vgg13skip"):
        keras.utils.set_random_seed(0)
        models.append(build_model(name, **VGG))
    plain, skip = models
    names = [layer.name for layer in skip.layers if layer.name != "skip_add"]
    assert [layer.name for layer in plain.layers] == names != [layer.name for layer in skip.layers]
    for a, b in zip(plain.weights, skip.weights, strict=True):
        np.testing.assert_array_equal(a, b)


# ---------------------------------------------------------------- arithmetic


class Written:
    """Section by section in TensorFlow's own ops, in training mode, from a network's weights."""

    def __init__(self, model):
        self.kernels = iter([layer.kernel.value for layer in of_type(model, layers.Conv2D)])
        self.norms = iter(of_type(model, layers.BatchNormalization))
        self.dense = model.layers[-1]

    def conv(self, x):
        return tf.nn.conv2d(x, next(self.kernels), 1, "SAME")

    def norm(self, x):
        layer = next(self.norms)
        mean, variance = tf.nn.moments(x, [0, 1, 2])
        return tf.nn.batch_normalization(x, mean, variance, layer.beta, layer.gamma, 1e-5)

    def activated_conv(self, x):
        return self.conv(tf.nn.relu(self.norm(x)))

    def vgg(self, x, skip):
        for stage, depth in enumerate(VGG["depths"], start=1):
            entered = x
            for number in range(1, depth + 1):
                x = self.norm(self.conv(x))
                if skip and stage == 5 and number == 2:
                    x += entered
                x = tf.nn.relu(x)
            x = tf.nn.max_pool2d(x, 2, 2, "VALID")
        return x[:, 0, 0] @ self.dense.kernel + self.dense.bias

    def densenet(self, x, bottleneck):
        x = self.conv(x)
        for block in range(3):
            if block:
                x = tf.nn.avg_pool2d(self.activated_conv(x), 2, 2, "VALID")
            for _ in range(2):
                new = self.activated_conv(x)
                x = tf.concat([x, self.activated_conv(new) if bottleneck else new], -1)
        x = tf.nn.relu(self.norm(x))
        return tf.reduce_mean(x, [1, 2]) @ self.dense.kernel + self.dense.bias


@pytest.mark.parametrize("family", ["VGG", "VGG with a shortcut", "DenseNet", "DenseNet-BC"])
def test_logits_of_a_network_written_out(family):
    """An independent forward pass over the same weights gives the same logits."""
    name, settings = FAMILIES[family]
    model = shake(build_model(name, **settings))
    logits = model(draw_images(), training=True)
    written = Written(model)
    if name.startswith("vgg"):
        expected = written.vgg(draw_images(), skip=name == "vgg13skip")
    else:
        expected = written.densenet(draw_images(), bottleneck=name == "densenet_bc100")
    assert np.std(expected) > 1e-3
    np.testing.assert_allclose(logits, expected, atol=1e-3 * np.abs(expected).max())


# ---------------------------------------------------------------- what is allowed


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vgg13skip", {"depths": [1, 3], "widths": [4, 8]}),  # inside the last stage
        ("vgg16", {"depths": [1], "widths": [4], "classes": 7}),
        ("densenet40", {"depth": 7, "growth": 1, "compression": 0.01}),
        ("densenet_bc100", {"depth": 10, "growth": 1, "compression": 1}),
    ],
)
def test_unusual_values_build(name, settings):
    classes = settings.get("classes", 10)
    assert build_model(name, **settings)(draw_images()).shape == (4, classes)


# ---------------------------------------------------------------- the summary


def test_multiply_adds_of_resnet20_by_hand():
    """3×3 on 32², 16² and 8² pixels: 3→16 and 6 of 16→16; then 1 that doubles and 5, twice."""
    stage = 9 * 16 * 16 * 32**2
    first, doubling, dense = 9 * 3 * 16 * 32**2, stage // 2, 64 * 10
    assert summarize(build_model("resnet20")).multiply_adds == (
        first + 6 * stage + 2 * (doubling + 5 * stage) + dense
    )


def test_projections_cost_but_add_no_depth():
    """Option B: 1×1 convolutions, 16→32 on 16² pixels and 32→64 on 8², with batch norm."""
    identity, projected = (summarize(build_model("resnet20", shortcut=option)) for option in "AB")
    assert projected.layers == identity.layers == 20
    assert projected.multiply_adds - identity.multiply_adds == 16 * 32 * 16**2 + 32 * 64 * 8**2
    assert projected.parameters - identity.parameters == 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64


def test_summary_of_a_network_with_every_kind_of_layer():
    """Strides, no padding, groups, a bias, a map that is not square; averages are no parameters."""
    images = keras.Input((8, 6, 4))
    x = layers.Conv2D(6, 3, strides=2, padding="valid")(images)  # to 3×2
    y = layers.Conv2D(6, (1, 3), padding="same", groups=2, use_bias=False)(x)
    x = layers.BatchNormalization()(layers.Add()([x, y]))
    logits = layers.Dense(5)(layers.Flatten()(x))
    size = summarize(keras.Model(images, logits))
    assert size.layers == 3
    assert size.parameters == (9 * 4 * 6 + 6) + 3 * 3 * 6 + 2 * 6 + (36 * 5 + 5)
    assert size.multiply_adds == 6 * 9 * 4 * 6 + 6 * 3 * 3 * 6 + 36 * 5


# ---------------------------------------------------------------- the layers of a trained network


def test_convolutions_in_the_order_of_the_main_path_with_projections_last():
    rows = convolutions(build_model("resnet20", depth=14, shortcut="B"))
    names = [f"stage{s}_block{b}_{c}_conv" for s in (1, 2, 3) for b in (1, 2) for c in (1, 2)]
    projections = ["stage2_block1_shortcut_conv", "stage3_block1_shortcut_conv"]
    assert [row["layer"] for row in rows] == ["stem_conv", *names, *projections]


def test_response_std_and_kernel_norm_by_hand():
    """√(mean γ² + Var β) of the batch norm that directly follows; the kernel's Euclidean norm."""
    model = build_model("plain20", depth=8)
    norm, conv = model.get_layer("stage2_block1_1_bn"), model.get_layer("stage2_block1_1_conv")
    chance = np.random.default_rng(0)
    gamma, beta = chance.normal(size=(2, 32))
    norm.gamma.assign(gamma)
    norm.beta.assign(beta)
    conv.kernel.assign(np.full(conv.kernel.shape, 0.5))
    (row,) = [r for r in convolutions(model) if r["layer"] == conv.name]
    assert row["response_std"] == pytest.approx(np.sqrt(np.mean(gamma**2) + beta.var()), rel=1e-6)
    assert row["kernel_norm"] == pytest.approx(0.5 * np.sqrt(9 * 16 * 32))


def test_a_convolution_without_a_batch_norm_of_its_own_has_no_response_std():
    """A ReLU stands between in tutorials' blocks; pre-activation ends in an addition."""
    relu_first = build_model("resnet50_relu_first", depths=[1], widths=[4])
    assert {row["response_std"] for row in convolutions(relu_first)[:-1]} == {None}
    preactivation = convolutions(build_model("preresnet20", depth=8))
    assert [row["response_std"] is None for row in preactivation[1:3]] == [False, True]
