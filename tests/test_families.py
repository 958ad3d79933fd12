"""VGG and DenseNet: structure, arithmetic, learning, saving; and what the census counts."""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from small_networks import draw_images, of_type, shake

from degradation.errors import UserError
from degradation.models import build_model
from degradation.models.census import convolutions, count
from degradation.training.protocol import SGD
from degradation.training.steps import make_learn

# Layers, trainable parameters and multiply-adds. Of VGG the papers' dense layers are left out.
SIZES = {
    "vgg13": (11, 9_413_066, 228_267_008),
    "vgg13skip": (11, 9_413_066, 228_267_008),
    "vgg16": (14, 14_724_042, 313_201_664),
    "vgg19": (17, 20_035_018, 398_136_320),
    "densenet40": (40, 1_019_722, 264_812_928),
    "densenet_bc100": (100, 769_162, 287_929_692),
}
full = functools.cache(build_model)  # for tests that change nothing
SMALL_VGG = {"depths": [1, 2, 1, 1, 2], "widths": [4, 8, 8, 16, 16]}
SMALL = [
    ("vgg13", SMALL_VGG),
    ("vgg13skip", SMALL_VGG),
    ("densenet40", {"depth": 10, "growth": 4}),
    ("densenet_bc100", {"depth": 16, "growth": 4}),
]
small = pytest.mark.parametrize(("name", "settings"), SMALL, ids=[name for name, _ in SMALL])


# ---------------------------------------------------------------- structure


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name):
    """As published: Huang et al., Table 2, has 1.0M and 0.8M for the two DenseNets."""
    model = full(name)
    size = count(model)
    assert (size.layers, size.parameters, size.multiply_adds) == SIZES[name]
    assert (model.input_shape, model.output_shape) == ((None, 32, 32, 3), (None, 10))


@small
def test_classes(name, settings):
    assert build_model(name, **settings, classes=7)(draw_images()).shape == (4, 7)


def test_vgg_halves_the_map_five_times_down_to_one_pixel():
    model = full("vgg16")
    pools = of_type(model, layers.MaxPooling2D)
    assert [pool.output.shape[1:] for pool in pools] == [
        *((16, 16, 64), (8, 8, 128), (4, 4, 256), (2, 2, 512), (1, 1, 512))
    ]
    convolutions = of_type(model, layers.Conv2D)
    assert [layer.filters for layer in convolutions] == [
        *([64] * 2 + [128] * 2 + [256] * 3 + [512] * 6)
    ]
    assert not any(layer.use_bias for layer in convolutions)
    assert len(of_type(model, layers.BatchNormalization)) == len(convolutions)


def test_vgg13skip_differs_from_vgg13_in_one_addition():
    """Around the last two convolutions, before the last ReLU; of one seed, the same weights."""
    models = []
    for name in ("vgg13", "vgg13skip"):
        keras.utils.set_random_seed(0)
        models.append(build_model(name, **SMALL_VGG))
    plain, skip = models
    names = [layer.name for layer in skip.layers]
    assert [layer.name for layer in plain.layers] == [name for name in names if name != "skip_add"]
    assert names[names.index("skip_add") - 1 :][:3] == ["stage5_2_bn", "skip_add", "stage5_2_relu"]
    ours, theirs = skip.get_layer("skip_add").input
    assert ours is skip.get_layer("stage5_2_bn").output
    assert theirs is skip.get_layer("stage4_pool").output
    for a, b in zip(plain.weights, skip.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_vgg13skip_can_fall_back_to_a_shallower_network():
    """With nothing from its last two convolutions it computes what it would without them."""
    model = shake(build_model("vgg13skip", **SMALL_VGG))
    last = of_type(model, layers.BatchNormalization)[-1]
    for weight in (last.gamma, last.beta):
        weight.assign(tf.zeros_like(weight))
    ends = [model.get_layer(name).output for name in ("stage4_pool", "stage5_2_relu")]
    before, after = keras.Model(model.input, ends)(draw_images())
    assert np.std(before) > 1e-3
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("name", "maps"),
    [("densenet40", (16, 160, 304, 448)), ("densenet_bc100", (24, 216, 300, 342))],
)
def test_maps_of_a_densenet(name, maps):
    """At first, then at the end of each block; a transition between blocks keeps all, or half."""
    model = full(name)
    joined = {layer.name.split("_")[0]: layer for layer in of_type(model, layers.Concatenate)}
    ends = [joined[f"block{block}"].output.shape for block in (1, 2, 3)]
    assert (model.get_layer("stem_conv").filters, *(shape[-1] for shape in ends)) == maps
    assert [shape[1] for shape in ends] == [32, 16, 8]
    kept = [model.get_layer(f"transition{number}_conv").filters for number in (1, 2)]
    assert kept == ([160, 304] if name == "densenet40" else [108, 150])


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
        for stage, depth in enumerate(SMALL_VGG["depths"], start=1):
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


@small
def test_logits_of_a_network_written_out(name, settings):
    """An independent forward pass over the same weights gives the same logits."""
    model = shake(build_model(name, **settings))
    logits = model(draw_images(), training=True)
    written = Written(model)
    if name.startswith("vgg"):
        expected = written.vgg(draw_images(), skip=name == "vgg13skip")
    else:
        expected = written.densenet(draw_images(), bottleneck=name == "densenet_bc100")
    assert np.std(expected) > 1e-3
    np.testing.assert_allclose(logits, expected, atol=1e-3 * np.abs(expected).max())


@small
def test_initial_weights(name, settings):
    """He normal convolutions, a dense layer of N(0, 0.01) without a bias to begin with."""
    keras.utils.set_random_seed(0)
    model = build_model(name, **settings)
    scaled = [
        layer.kernel.numpy().ravel() * np.sqrt(np.prod(layer.kernel.shape[:3]) / 2)
        for layer in of_type(model, layers.Conv2D)
    ]
    assert np.concatenate(scaled).std() == pytest.approx(1, abs=0.05)
    assert model.layers[-1].kernel.numpy().std() == pytest.approx(0.01, rel=0.2)
    np.testing.assert_array_equal(model.layers[-1].bias, np.zeros(10))


@pytest.mark.parametrize(("name", "settings"), [SMALL[1], SMALL[3]])
def test_ten_updates_lower_the_loss_on_their_batch(name, settings):
    """One of each family; labels at random, as the images are."""
    keras.utils.set_random_seed(0)
    model = build_model(name, **settings)
    optimizer = SGD(0.01, 0.9, 1e-4, "all")
    optimizer.build(model.trainable_variables)
    images, labels = draw_images(20), tf.range(20) % 10
    learn = make_learn(model, optimizer)
    losses = [float(learn([(images, labels)])[0]) for _ in range(11)]
    assert losses[0] == pytest.approx(np.log(10), abs=0.3)
    assert all(after < before for before, after in itertools.pairwise(losses)), losses


@small
def test_saved_network_loads(name, settings, set_policy, tmp_path):
    """Computing in bfloat16, with float32 logits: the same outputs to the last bit."""
    set_policy("mixed_bfloat16")
    model = shake(build_model(name, **settings))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert loaded.name == model.name == name
    outputs = [x(draw_images(), training=True) for x in (model, loaded)]
    assert outputs[0].dtype == tf.float32
    np.testing.assert_array_equal(*outputs)


# ---------------------------------------------------------------- what is not allowed


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("vgg16", {"depths": [2] * 6, "widths": [8] * 6}, ("model.depths=[2,2,2,2,2,2]", "5")),
        ("vgg16", {"depths": [2, 0, 2, 2, 2]}, ("model.depths=[2,0,2,2,2]", "of 1 or more")),
        ("vgg16", {"depths": 13}, ("model.depths=13", "a list such as")),
        ("vgg16", {"widths": [64, 128]}, ("model.depths=", "model.widths=[64,128]")),
        ("vgg16", {"widths": [64, 128, 256, 512, 0.5]}, ("model.widths=", "of 1 or more")),
        ("vgg16", {"skip": 1}, ("model.skip=1", "true or false")),
        ("vgg13skip", {"widths": [8, 8, 8, 8, 16]}, ("model.skip=true", "last two convolutions")),
        ("vgg13skip", {"depths": [2, 2, 2, 2, 1]}, ("model.skip=true", "last two convolutions")),
        ("vgg13skip", {"depths": [2], "widths": [8]}, ("model.skip=true", "last two convolutions")),
        ("vgg16", {"classes": 1}, ("model.classes=1", "of 2 or more")),
        ("vgg16", {"depth": 16}, ("model.depth", "depths")),
        ("densenet40", {"depth": 41}, ("model.depth=41", "3n+4")),
        ("densenet40", {"depth": 4}, ("model.depth=4", "allowed")),
        ("densenet40", {"depth": 40.0}, ("model.depth=40.0", "allowed")),
        ("densenet_bc100", {"depth": 43}, ("model.depth=43", "6n+4")),
        ("densenet_bc100", {"depth": 7}, ("model.depth=7", "6n+4")),
        ("densenet40", {"growth": 0}, ("model.growth=0", "of 1 or more")),
        ("densenet40", {"bottleneck": "yes"}, ("model.bottleneck=yes", "true or false")),
        ("densenet_bc100", {"compression": 0}, ("model.compression=0", "above 0")),
        ("densenet_bc100", {"compression": 1.5}, ("model.compression=1.5", "up to 1")),
    ],
)
def test_wrong_value_is_one_line(name, settings, words):
    with pytest.raises(UserError) as caught:
        build_model(name, **settings)
    message = str(caught.value)
    assert "\n" not in message and caught.value.exit_code == 2
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vgg13skip", {"depths": [1, 3], "widths": [4, 8]}),  # inside the last stage
        ("vgg16", {"depths": [1], "widths": [4]}),
        ("densenet40", {"depth": 7, "growth": 1, "compression": 0.01}),
        ("densenet_bc100", {"depth": 10, "growth": 1, "compression": 1}),
    ],
)
def test_unusual_values_build(name, settings):
    assert build_model(name, **settings)(draw_images()).shape == (4, 10)


# ---------------------------------------------------------------- the census


def test_multiply_adds_of_resnet20_by_hand():
    """3×3 on 32², 16² and 8² pixels: 3→16 and 6 of 16→16; then 1 that doubles and 5, twice."""
    stage = 9 * 16 * 16 * 32**2
    first, doubling, dense = 9 * 3 * 16 * 32**2, stage // 2, 64 * 10
    assert count(build_model("resnet20")).multiply_adds == (
        first + 6 * stage + 2 * (doubling + 5 * stage) + dense
    )


def test_projections_cost_but_add_no_depth():
    """Option B: 1×1 convolutions, 16→32 on 16² pixels and 32→64 on 8², with batch norm."""
    identity, projected = (count(build_model("resnet20", shortcut=option)) for option in "AB")
    assert projected.layers == identity.layers == 20
    assert projected.multiply_adds - identity.multiply_adds == 16 * 32 * 16**2 + 32 * 64 * 8**2
    assert projected.parameters - identity.parameters == 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64


def test_census_of_a_network_with_every_kind_of_layer():
    """Strides, no padding, groups, a bias, a map that is not square; averages are no parameters."""
    images = keras.Input((8, 6, 4))
    x = layers.Conv2D(6, 3, strides=2, padding="valid")(images)  # to 3×2
    y = layers.Conv2D(6, (1, 3), padding="same", groups=2, use_bias=False)(x)
    x = layers.BatchNormalization()(layers.Add()([x, y]))
    logits = layers.Dense(5)(layers.Flatten()(x))
    size = count(keras.Model(images, logits))
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
