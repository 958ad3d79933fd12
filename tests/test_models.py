"""Networks: their structure, learning and saving; and what the summary counts."""

from typing import get_args

import keras
import numpy as np
import pytest
from command_line import refusal
from keras import layers
from small_networks import FAMILIES, STAGES, VGG, draw_images, of_type, shake

from degradation.config import option_values
from degradation.models import build_model
from degradation.models.summary import convolutions, summarize
from degradation.schema import Resnet
from degradation.training.protocol import SGD
from degradation.training.steps import make_learn

PARAMETERS = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962}
IMAGENET = {"stem": "imagenet", "classes": 1000, "shortcut": "B"}
# Layers and trainable parameters. Published: section 4.2's, those on ImageNet, resnet18_cifar64 (in
# PyTorch tutorials), the CIFAR family's, and the DenseNets' as 1.0M and 0.8M (Huang et al.,
# Table 2). Of VGG the papers' dense layers are left out.
SIZES = [
    *((f"plain{depth}", {}, depth, count) for depth, count in PARAMETERS.items()),
    *((f"resnet{depth}", {}, depth, count) for depth, count in PARAMETERS.items()),
    *((f"preresnet{depth}", {}, depth, PARAMETERS[depth]) for depth in (20, 56, 110)),
    # B: 16·32+2·32 and 32·64+2·64. C: these, 3·(16²+2·16), 2·(32²+2·32) and 2·(64²+2·64).
    ("resnet20", {"shortcut": "B"}, 20, PARAMETERS[20] + 2_752),
    ("resnet20", {"shortcut": "C"}, 20, PARAMETERS[20] + 14_240),
    ("cifar_resnet50", {}, 50, 755_802),
    ("cifar_resnet152", {}, 152, 2_408_474),
    ("resnet18", IMAGENET, 18, 11_689_512),
    ("resnet34", IMAGENET, 34, 21_797_672),
    ("resnet50", IMAGENET, 50, 25_557_032),
    ("resnet152", IMAGENET, 152, 60_192_808),
    ("plain18", {}, 18, 11_000_138),
    ("resnet18", {}, 18, 11_000_138),
    ("plain34", {}, 34, 21_108_298),
    ("resnet34", {}, 34, 21_108_298),
    ("resnet18_cifar64", {}, 18, 11_173_962),
    ("resnet34_dense512", {}, 35, 21_559_178),
    ("resnet50_relu_first", {}, 50, 45_672_010),
    ("vgg13", {}, 11, 9_413_066),
    ("vgg13skip", {}, 11, 9_413_066),
    ("vgg16", {}, 14, 14_724_042),
    ("vgg19", {}, 17, 20_035_018),
    ("densenet40", {}, 40, 1_019_722),
    ("densenet_bc100", {}, 100, 769_162),
]
families = pytest.mark.parametrize("family", FAMILIES)


def build(family):
    name, small = FAMILIES[family]
    return build_model(name, **small)


# ---------------------------------------------------------------- structure


@pytest.mark.parametrize(("name", "settings", "depth", "parameters"), SIZES)
def test_sizes(name, settings, depth, parameters):
    model = build_model(name, **settings)
    size = summarize(model)
    assert (size.layers, size.parameters) == (depth, parameters)
    assert (model.name, model.input_shape) == (name, (None, 32, 32, 3))
    assert model.output_shape == (None, settings.get("classes", 10))


def test_1202_layers():
    """The paper's 19.4M: six layers more add the same number of parameters at every depth."""
    assert option_values("model", "resnet1202")["model.depth"] == 1202
    small, larger = (summarize(build_model("resnet1202", depth=d)).parameters for d in (8, 14))
    assert small + (1202 - 8) // 6 * (larger - small) == 19_421_274


@pytest.mark.parametrize(
    ("residual", "plain", "settings", "same_weights"),
    [
        ("resnet20", "plain20", {"depth": 14}, True),
        ("preresnet20", None, {"depth": 14}, True),
        ("vgg13skip", "vgg13", VGG, True),
        ("resnet50", None, STAGES, False),
        ("resnet34_dense512", None, STAGES, False),
    ],
)
def test_a_residual_network_and_its_plain_twin(residual, plain, settings, same_weights):
    """The layers of the main path and nothing besides; of one seed, identities add no weights.

    Where no twin is named it is the network without shortcuts.
    """
    named = [(residual, {}), (plain, {}) if plain else (residual, {"shortcut": None})]
    pair = []
    for name, shortcut in named:
        keras.utils.set_random_seed(0)
        pair.append(build_model(name, **settings, **shortcut))
    names, twin = ([layer.name for layer in model.layers] for model in pair)
    main = [name for name in names if "_shortcut" not in name and not name.endswith("_add")]
    assert twin == main != names
    assert not of_type(pair[1], layers.Add)
    if same_weights:
        for ours, theirs in zip(*(model.weights for model in pair), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@families
def test_layers_stand_in_the_order_of_the_data(family):
    """Those with weights: each main path's in order, and nothing after the logits."""
    model = build(family)
    weighted = of_type(model, layers.Conv2D, layers.Dense)
    main = [x for x in weighted if "shortcut" not in x.name]
    depth = {}
    for layer in model.layers:
        before = [depth[id(x)] for x in keras.tree.flatten(layer.input) if id(x) in depth]
        depth[id(layer.output)] = max(before, default=0) + 1
    assert sorted(main, key=lambda layer: depth[id(layer.output)]) == main
    assert model.layers[-1] is main[-1]


@pytest.mark.parametrize("key", ["stem", "block", "head"])
def test_every_part_that_is_allowed_builds(key):
    for part in get_args(Resnet.model_fields[key].annotation):
        assert build_model("resnet18", **STAGES, **{key: part}).output_shape == (None, 10)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vgg13skip", {"depths": [1, 3], "widths": [4, 8]}),  # inside the last stage
        ("vgg16", {"depths": [1], "widths": [4], "classes": 7}),
        ("densenet40", {"depth": 7, "growth": 1, "compression": 0.01}),
        ("densenet_bc100", {"depth": 10, "growth": 1, "compression": 1}),
        # Only zero-padding needs more maps than there were: projections change widths either way.
        ("plain18", {"widths": [8, 4], "depths": [1, 1]}),
        ("resnet18", {"widths": [8, 4], "depths": [1, 1], "shortcut": "B"}),
        ("resnet18", {"widths": [8, 4], "depths": [1, 1], "shortcut": "C"}),
    ],
)
def test_unusual_values_build(name, settings):
    classes = settings.get("classes", 10)
    assert build_model(name, **settings)(draw_images()).shape == (4, classes)


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


def test_random_layers_are_refused():
    """Parts have no state of their own: a mask would be the same at every update."""
    dropped = keras.layers.Dropout(0.5)(keras.layers.Flatten()(images := keras.Input((32, 32, 3))))
    model = keras.Model(images, keras.layers.Dense(10)(dropped), name="dropped")
    told = refusal(make_learn, model, SGD())
    assert told == "model=dropped: allowed: no random layers, such as Dropout"


def test_batch_normalisation_within_a_model_is_refused():
    """Averaging would pass it by, and the network be tested with averages that were never set."""
    norm = keras.layers.BatchNormalization()
    inner = keras.Sequential([norm, keras.layers.Flatten()])
    features = inner(images := keras.Input((32, 32, 3)))
    model = keras.Model(images, keras.layers.Dense(10)(features), name="nested")
    assert "model=nested: allowed: batch norm" in refusal(make_learn, model, SGD())


@families
def test_saves_and_loads(family, tmp_path, set_policy):
    """In Keras' safe mode and under another policy: the same outputs to the last bit."""
    set_policy("mixed_bfloat16")
    model = shake(build(family))
    model.save(tmp_path / "model.keras")
    set_policy("float32")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert loaded.name == model.name
    for training in (False, True):
        outputs = [x(draw_images(), training=training).numpy() for x in (model, loaded)]
        np.testing.assert_array_equal(*outputs)


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


# ---------------------------------------------------------------- the summary


def test_multiply_adds_of_resnet20_by_hand():
    """3×3 on 32², 16² and 8² pixels: 3→16 and 6 of 16→16; then 1 that doubles and 5, twice.

    Option B adds 1×1 convolutions, 16→32 on 16² pixels and 32→64 on 8².
    """
    stage = 9 * 16 * 16 * 32**2
    first, doubling, dense = 9 * 3 * 16 * 32**2, stage // 2, 64 * 10
    main = first + 6 * stage + 2 * (doubling + 5 * stage) + dense
    beside = 16 * 32 * 16**2 + 32 * 64 * 8**2
    counted = [summarize(build_model("resnet20", shortcut=x)).multiply_adds for x in "AB"]
    assert counted == [main, main + beside]


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


def test_summary_of_a_model_within_a_model_is_its_own():
    inner = build_model("resnet20", depth=8)
    outer = keras.Sequential([keras.Input((32, 32, 3)), layers.Rescaling(1 / 64), inner])
    assert summarize(outer) == summarize(inner)
    assert convolutions(outer) == convolutions(inner)


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


def test_response_std_of_a_batch_norm_without_gamma_and_beta_is_1():
    """That is what normalises, in Keras' usual idiom before a ReLU and without it."""
    images = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, use_bias=False)(images)
    x = keras.layers.BatchNormalization(scale=False, center=False)(x)
    (row,) = convolutions(keras.Model(images, x))
    assert row["response_std"] == 1.0


def test_a_convolution_without_a_batch_norm_of_its_own_has_no_response_std():
    """A ReLU stands between in tutorials' blocks; pre-activation ends in an addition."""
    relu_first = build_model("resnet50_relu_first", depths=[1], widths=[4])
    assert {row["response_std"] for row in convolutions(relu_first)[:-1]} == {None}
    preactivation = convolutions(build_model("preresnet20", depth=8))
    assert [row["response_std"] is None for row in preactivation[1:3]] == [False, True]
