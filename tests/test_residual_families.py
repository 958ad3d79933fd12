"""Networks beyond section 4.2: structure, learning and saving of all; of residual ones the rest."""

from functools import partial
from typing import get_args

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_networks import FAMILIES, STAGES, draw_images, of_type, shake

from degradation.config import option_values, validate
from degradation.errors import UserError
from degradation.models import build_model
from degradation.schema import BLOCK_LAYERS, Resnet
from degradation.training.protocol import SGD
from degradation.training.steps import make_learn
from experiments.compose import compose

IMAGENET = {"stem": "imagenet", "classes": 1000, "shortcut": "B"}
# Trainable parameters. Published: the first five, resnet18_cifar64 (the same network in PyTorch
# tutorials) and those of the CIFAR family. The others by hand: see the tests of what they add.
SIZES = [
    ("resnet18", IMAGENET, 11_689_512),
    ("resnet34", IMAGENET, 21_797_672),
    ("resnet50", IMAGENET, 25_557_032),
    ("resnet152", IMAGENET, 60_192_808),
    ("plain18", {}, 11_000_138),
    ("resnet18", {}, 11_000_138),
    ("plain34", {}, 21_108_298),
    ("resnet34", {}, 21_108_298),
    ("resnet18_cifar64", {}, 11_173_962),
    ("resnet34_dense512", {}, 21_559_178),
    ("resnet50_relu_first", {}, 45_672_010),
    ("preresnet20", {}, 269_722),
    ("preresnet56", {}, 853_018),
    ("preresnet110", {}, 1_727_962),
    ("cifar_resnet50", {}, 755_802),
    ("cifar_resnet152", {}, 2_408_474),
]
families = pytest.mark.parametrize("family", FAMILIES)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_variables)


def build(family, **settings):
    name, small = FAMILIES[family]
    return build_model(name, **{**small, **settings})


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(("name", "settings", "parameters"), SIZES)
def test_sizes(name, settings, parameters):
    model = build_model(name, **settings)
    assert trainable(model) == parameters
    assert model.name == name
    assert model.input_shape == (None, 32, 32, 3)
    assert model.output_shape == (None, settings.get("classes", 10))


def test_1202_layers():
    """The paper's 19.4M: six layers more add the same number of parameters at every depth."""
    assert option_values("model", "resnet1202")["model.depth"] == 1202
    small, larger = (trainable(build_model("resnet1202", depth=depth)) for depth in (8, 14))
    assert small + (1202 - 8) // 6 * (larger - small) == 19_421_274


def test_what_the_tutorials_add():
    """Against option B: 3×3 for 1×1 projections; biases, 512 units, unnormalised projections."""
    whole = {"widths": [4, 8], "depths": [2, 2]}
    count = {
        name: trainable(build_model(name, **whole, shortcut="B"))
        for name in ("resnet18", "resnet18_cifar64", "resnet34_dense512", "resnet50")
    }
    assert count["resnet18_cifar64"] == count["resnet18"]
    relu_first = trainable(build_model("resnet50_relu_first", **whole))
    assert relu_first - count["resnet50"] == 8 * (4 * 16 + 16 * 32)
    stem = (7 * 7 - 3 * 3) * 3 * 4
    biases = 4 + 4 * 4 + 4 * 8 + 8
    # 32×32 in a border of 3: 38, 19, 10, 5 and, pooled, 3 pixels a side.
    hidden = (3 * 3 * 8 + 1) * 512 + (512 + 1) * 10 - (8 + 1) * 10
    assert count["resnet34_dense512"] - count["resnet18"] == stem + biases - 2 * 8 + hidden


# ---------------------------------------------------------------- structure


@pytest.mark.parametrize(
    ("option", "projections"),
    [("A", []), ("B", [(16, 1), (32, 2)]), ("C", [(16, 1), (32, 2), (32, 1)])],
)
def test_where_bottlenecks_project(option, projections):
    """As (filters, stride): the first stage widens fourfold at stride 1, which is a change too."""
    model = build_model("resnet50", **STAGES, shortcut=option)
    convolutions = of_type(model, keras.layers.Conv2D)
    found = [x for x in convolutions if x.name.endswith("shortcut_conv")]
    assert [(layer.filters, layer.strides[0]) for layer in found] == projections
    assert all(layer.kernel_size == (1, 1) for layer in found)
    padded = [x for x in model.layers if type(x).__name__ == "ZeroPadShortcut"]
    assert len(padded) == (2 if option == "A" else 0)


@families
def test_layers_stand_in_the_order_of_the_data(family):
    """Those with weights: each main path's in order, and nothing after the logits."""
    model = build(family)
    weighted = of_type(model, keras.layers.Conv2D, keras.layers.Dense)
    main = [x for x in weighted if "shortcut" not in x.name]
    depth = {}
    for layer in model.layers:
        before = [depth[id(x)] for x in keras.tree.flatten(layer.input) if id(x) in depth]
        depth[id(layer.output)] = max(before, default=0) + 1
    assert sorted(main, key=lambda layer: depth[id(layer.output)]) == main
    assert model.layers[-1] is main[-1]


def test_every_part_that_is_allowed_builds():
    keys = ("stem", "block", "head")
    parts = {key: get_args(Resnet.model_fields[key].annotation) for key in keys}
    assert parts["block"] == tuple(BLOCK_LAYERS)
    for key, names in parts.items():
        for name in names:
            if key == "head":  # a key of the tutorials' networks alone
                assert build_model("resnet34_dense512", **STAGES, head=name).count_params() > 0
            else:
                assert build_model("resnet18", **STAGES, **{key: name}).count_params() > 0


# ---------------------------------------------------------------- arithmetic


class Reference:
    """Layers of a network in TensorFlow's own ops, in training mode; weights by layer name."""

    def __init__(self, model):
        self.model = model

    def conv(self, x, name, stride=1):
        layer = self.model.get_layer(f"{name}_conv")
        border = [layer.kernel.shape[0] // 2] * 2
        y = tf.nn.conv2d(x, layer.kernel.value, stride, [[0, 0], border, border, [0, 0]])
        return y + layer.bias if layer.use_bias else y

    def norm(self, x, name):
        layer = self.model.get_layer(f"{name}_bn")
        moments = tf.nn.moments(x, [0, 1, 2])
        return tf.nn.batch_normalization(x, *moments, layer.beta, layer.gamma, 1e-5)

    def dense(self, x, name="logits"):
        layer = self.model.get_layer(name)
        return x @ layer.kernel + layer.bias


def bottleneck_logits(net, x):
    """ImageNet stem, option B."""
    x = tf.nn.relu(net.norm(net.conv(x, "stem", 2), "stem"))
    low = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=-np.inf)
    x = tf.nn.max_pool2d(low, 3, 2, "VALID")
    for block, stride in (("stage1_block1", 1), ("stage2_block1", 2), ("stage2_block2", 1)):
        y = tf.nn.relu(net.norm(net.conv(x, f"{block}_1", stride), f"{block}_1"))
        y = tf.nn.relu(net.norm(net.conv(y, f"{block}_2"), f"{block}_2"))
        y = net.norm(net.conv(y, f"{block}_3"), f"{block}_3")
        if block.endswith("1"):
            name = f"{block}_shortcut"
            x = net.norm(net.conv(x, name, stride), name)
        x = tf.nn.relu(x + y)
    return net.dense(tf.reduce_mean(x, [1, 2]))


def preactivation_logits(net, x, projected=False):
    """Option A or, `projected`, C. The first activation comes before the split where it counts."""
    x = tf.nn.relu(net.norm(net.conv(x, "stem"), "stem"))
    for stage in (1, 2, 3):
        for number in (1, 2):
            name = f"stage{stage}_block{number}"
            active = x
            if (stage, number) != (1, 1):
                active = tf.nn.relu(net.norm(x, f"{name}_1"))
            if projected:
                x = net.conv(active, f"{name}_shortcut", 2 if stage > 1 and number == 1 else 1)
            elif stage > 1 and number == 1:
                new = x.shape[-1] // 2
                x = tf.pad(active[:, ::2, ::2], [[0, 0], [0, 0], [0, 0], [new, new]])
            y = net.conv(active, f"{name}_1", 2 if stage > 1 and number == 1 else 1)
            y = net.conv(tf.nn.relu(net.norm(y, f"{name}_2")), f"{name}_2")
            x = x + y
    return net.dense(tf.reduce_mean(tf.nn.relu(net.norm(x, "end")), [1, 2]))


def relu_first_logits(net, x):
    x = net.norm(tf.nn.relu(net.conv(x, "stem")), "stem")
    for block, stride in (("stage1_block1", 1), ("stage2_block1", 2), ("stage2_block2", 1)):
        y = net.norm(tf.nn.relu(net.conv(x, f"{block}_1", stride)), f"{block}_1")
        y = net.norm(tf.nn.relu(net.conv(y, f"{block}_2")), f"{block}_2")
        y = net.norm(tf.nn.relu(net.conv(y, f"{block}_3")), f"{block}_3")
        if block.endswith("1"):
            name = f"{block}_shortcut"
            assert net.model.get_layer(f"{name}_conv").kernel_size == (3, 3)
            x = net.norm(net.conv(x, name, stride), name)
        x = tf.nn.relu(x + y)
    return net.dense(tf.reduce_mean(x, [1, 2]))


def dense512_logits(net, x):
    x = tf.pad(x, [[0, 0], [3, 3], [3, 3], [0, 0]])
    x = tf.nn.relu(net.norm(net.conv(x, "stem", 2), "stem"))
    x = tf.nn.max_pool2d(x, 3, 2, [[0, 0], [1, 1], [1, 1], [0, 0]])
    assert x.shape[1:3] == (10, 10)
    for stage in (1, 2, 3, 4):
        name, stride = f"stage{stage}_block1", 1 if stage == 1 else 2
        y = tf.nn.relu(net.norm(net.conv(x, f"{name}_1", stride), f"{name}_1"))
        y = net.norm(net.conv(y, f"{name}_2"), f"{name}_2")
        x = tf.nn.relu(y + (x if stage == 1 else net.conv(x, f"{name}_shortcut", stride)))
    assert x.shape[1:3] == (2, 2)
    return net.dense(tf.nn.relu(net.dense(tf.reduce_mean(x, [1, 2]), "hidden")))


@pytest.mark.parametrize(
    ("name", "settings", "reference"),
    [
        ("resnet50", {**STAGES, "stem": "imagenet"}, bottleneck_logits),
        ("preresnet20", {"depth": 14}, preactivation_logits),
        (
            "preresnet20",
            {"depth": 14, "shortcut": "C"},
            partial(preactivation_logits, projected=True),
        ),
        ("resnet50_relu_first", STAGES, relu_first_logits),
        (
            "resnet34_dense512",
            {"widths": [4, 8, 8, 16], "depths": [1, 1, 1, 1]},
            dense512_logits,
        ),
    ],
)
def test_logits_of_a_network_written_out(name, settings, reference):
    """An independent forward pass over the same weights gives the same logits."""
    model = shake(build_model(name, **settings))
    chance = np.random.default_rng(0)
    for layer in of_type(model, keras.layers.Conv2D, keras.layers.Dense):
        if layer.use_bias:
            layer.bias.assign(chance.normal(size=layer.bias.shape))
    logits = model(draw_images(), training=True)
    expected = reference(Reference(model), draw_images())
    assert np.std(expected) > 1e-3
    np.testing.assert_allclose(logits, expected, atol=1e-3 * np.abs(expected).max())


# ---------------------------------------------------------------- learning and saving


@families
def test_an_update_reaches_every_weight(family):
    keras.utils.set_random_seed(0)
    model = build(family)
    before = [weight.numpy() for weight in model.trainable_variables]
    optimizer = SGD(learning_rate=0.01, l2=0.0)
    optimizer.build(model.trainable_variables)
    labels = np.arange(16, dtype=np.int32) % 10
    loss, _ = make_learn(model, optimizer)([(draw_images(16), labels)])
    assert float(loss) == pytest.approx(np.log(10), abs=0.5)
    for weight, old in zip(model.trainable_variables, before, strict=True):
        assert np.isfinite(weight).all() and np.any(weight != old), weight.path


@families
def test_saves_and_loads(family, tmp_path):
    model = shake(build(family))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(model(draw_images()), loaded(draw_images()))


def test_l2_on_the_classifier_is_learnt_by_and_not_reported():
    """It moves the kernel by rate · 2 · 1e-4 · kernel more, and the bias no more than before."""
    models = [build_model("resnet18_cifar64", **STAGES, head=head) for head in ("linear", "l2")]
    models[0].layers[-1].kernel.assign(np.random.default_rng(0).normal(size=(8, 10)))
    models[1].set_weights(models[0].get_weights())
    kernel = models[0].layers[-1].kernel.numpy()
    losses = []
    for model in models:
        optimizer = SGD(learning_rate=1.0, momentum=0.0, l2=0.0)
        batch = draw_images(), np.arange(4, dtype=np.int32)
        loss, _ = make_learn(model, optimizer)([batch])
        losses.append(float(loss))
    assert losses[0] == losses[1]
    moved, bias = (
        a.numpy() - b
        for a, b in zip(*(x.layers[-1].trainable_weights for x in models), strict=True)
    )
    np.testing.assert_allclose(moved, 2e-4 * kernel, atol=1e-6)
    np.testing.assert_allclose(bias, np.zeros(10), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "small"),
    [("resnet50", STAGES), ("resnet34_dense512", STAGES), ("preresnet20", {"depth": 14})],
)
def test_without_shortcuts_it_is_the_plain_twin(name, small):
    """The layers of the main path, and nothing besides."""
    residual, twin = build_model(name, **small), build_model(name, **small, shortcut=None)
    beside = ("_shortcut", "_add")
    main = [layer.name for layer in residual.layers if not any(x in layer.name for x in beside)]
    assert [layer.name for layer in twin.layers] == main
    assert len(of_type(twin, keras.layers.Add)) == 0
    assert len(of_type(residual, keras.layers.Add)) > 1


# ---------------------------------------------------------------- what is not allowed


@pytest.mark.parametrize(
    ("name", "shortcut"), [("plain18", None), ("resnet18", "B"), ("resnet18", "C")]
)
def test_widths_may_fall_where_no_shortcut_pads(name, shortcut):
    """Only zero-padding needs more maps than there were: projections change widths either way."""
    settings = {"widths": [8, 4], "depths": [1, 1]} | ({"shortcut": shortcut} if shortcut else {})
    assert build_model(name, **settings)(draw_images()).shape == (4, 10)
    line = ["model.widths=[8,4]", "model.depths=[1,1]"]
    line += [f"model.shortcut={shortcut}"] if shortcut else []
    validate(compose("config", [f"model={name}", *line]))


def test_a_run_needs_as_many_classes_as_its_data_have():
    """A network of fewer can be built, and not trained here."""
    config = compose("config", ["model=resnet18", "model.classes=9"])
    with pytest.raises(UserError, match="model.classes=9: allowed: an integer of 10 or more"):
        validate(config)
    validate(compose("config", ["model=resnet18", "model.classes=100"]))
    assert build_model("resnet18", **STAGES, classes=9).output_shape == (None, 9)
