"""What is measured beside the training, against numpy; and that it changes nothing."""

import signal
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from processes import finish, train
from sabotage import at_update, kill
from same_run import differences
from small_networks import FAMILIES, build_small, shake

from degradation.models import build_model
from degradation.models.layers import BatchNormalization
from degradation.records.run_folder import RunFolder
from degradation.training.probe import Probe

OF_GRADIENTS = {"kernel_gradient_norm", "output_gradient_norm", "relative_step"}
OF_RELUS = {"dead_share", "effective_rank", "channel_rank"}
OF_ALL = {"update", "layer", "kernel_norm", "response_std", "cosine", *OF_GRADIENTS}


def measured(probe: Probe, update: int = 0, rate: float = 0.1) -> dict[str, dict]:
    return {row["layer"]: row for row in probe.measure(update, rate)}


def effective_rank(matrix: np.ndarray) -> float:
    """The exponential of the entropy of its singular values, of those that are not 0."""
    singular = np.linalg.svd(matrix, compute_uv=False)
    share = singular[singular > 1e-6] / singular.sum()
    return np.exp(-np.sum(share * np.log(share)))


def test_measurements_by_hand(synthetic):
    """Of a convolution in a residual block, whose ReLU comes after the addition."""
    model = build_small("resnet20", depth=8)
    probe = Probe(model, synthetic)
    conv, relu = (model.get_layer(f"stage1_block1_2_{x}") for x in ("conv", "relu"))
    initial = conv.kernel.numpy()
    shake(model)
    conv.kernel.assign_add(np.random.default_rng(0).normal(0, 0.1, initial.shape))
    for block in ("stem", "stage1_block1_2"):  # of which the addition then has none above 0
        norm = model.get_layer(f"{block}_bn")
        norm.gamma.assign([0.0] * 4 + [1.0] * 12)
        norm.beta.assign([-1.0] * 4 + [0.0] * 12)
    rows = measured(probe, update=5, rate=0.3)

    images = (synthetic.train_images - synthetic.train_images.mean(axis=0)) / 64
    parts = keras.Model(model.input, [model.output, conv.output, relu.output])
    with tf.GradientTape() as tape:
        logits, response, output = parts(images.astype(np.float32), training=True)
        losses = keras.losses.sparse_categorical_crossentropy(
            synthetic.train_labels, logits, from_logits=True
        )
        loss = tf.reduce_mean(losses)
    by_kernel, by_output = map(np.linalg.norm, tape.gradient(loss, [conv.kernel.value, response]))
    kernel = conv.kernel.numpy()
    channels = output.numpy().reshape(-1, 16)
    expected = {
        "kernel_norm": np.linalg.norm(kernel),
        "kernel_gradient_norm": by_kernel,
        "output_gradient_norm": by_output,
        "relative_step": 0.3 * by_kernel / np.linalg.norm(kernel),
        "cosine": np.sum(kernel * initial) / np.linalg.norm(kernel) / np.linalg.norm(initial),
        "response_std": np.sqrt(12 / 16 + 4 / 16 * 12 / 16),
        "dead_share": 4 / 16,
        "effective_rank": effective_rank(output.numpy().reshape(100, -1)),
        "channel_rank": effective_rank(channels - channels.mean(axis=0)),
    }
    row = rows[conv.name]
    assert row.keys() == OF_ALL | OF_RELUS and row["update"] == 5
    assert {key: row[key] for key in expected} == pytest.approx(expected, rel=1e-4)
    assert rows["network"].keys() == {"update", "layer", "loss", "shattering"}
    assert rows["network"]["loss"] == pytest.approx(float(loss), rel=1e-5)
    assert -1 < rows["network"]["shattering"] < 1


def test_what_is_very_small_or_large_is_measured_too(synthetic):
    """These gradients and features, about 1e±28, are floats; their squares are not."""
    model = build_small("plain20", depth=8, norm="none")
    probe, weights, last = Probe(model, synthetic), model.get_weights(), "stage3_block1_2_conv"
    before = measured(probe)
    for scale in (1e-7, 1e7):
        model.set_weights(weights)
        for name, power in (("stem_conv", 2), ("stage1_block1_1_conv", 2), ("logits", -4)):
            model.get_layer(name).kernel.assign(model.get_layer(name).kernel * scale**power)
        after = measured(probe)
        assert after["network"]["loss"] == pytest.approx(before["network"]["loss"], rel=1e-3)
        for key, factor in (("output_gradient_norm", scale**-4), ("effective_rank", 1)):
            assert after[last][key] == pytest.approx(before[last][key] * factor, rel=1e-2)


def test_a_network_without_a_signal_has_no_ranks_and_is_dead(synthetic):
    model = build_small("plain20", depth=8, norm="none")
    model.get_layer("stem_conv").kernel.assign(model.get_layer("stem_conv").kernel * 0)
    rows = measured(Probe(model, synthetic))
    row = rows["stage3_block1_2_conv"]
    assert (row["dead_share"], row["kernel_gradient_norm"]) == (1, 0)
    assert np.isnan([row["effective_rank"], row["channel_rank"]]).all()
    assert np.isnan(rows["network"]["shattering"])


def test_gradients_of_a_linear_network_do_not_shatter(synthetic):
    """Its gradient is the same everywhere, as long as an image's moments are not its own."""
    images = keras.Input((32, 32, 3))
    x = BatchNormalization()(keras.layers.Conv2D(4, 3, name="conv")(images))
    logits = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x))
    rows = measured(Probe(keras.Model(images, logits), synthetic))
    assert rows["network"]["shattering"] == pytest.approx(1.0, abs=1e-5)
    assert rows["conv"].keys() == OF_ALL  # no ReLU


@pytest.mark.parametrize(
    ("family", "without"),
    [
        ("basic", set()),
        ("bottleneck, option C", {"shortcut"}),
        ("pre-activation, option B", {"shortcut"}),
        ("DenseNet", {"_2", "transition"}),
    ],
)
def test_relus_are_those_of_the_main_path(synthetic, family, without):
    """A projection has none, nor has what is concatenated or pooled before one."""
    name, settings = FAMILIES[family]
    rows = measured(Probe(build_model(name, **settings), synthetic))
    lacking = {
        layer for layer, row in rows.items() if layer != "network" and not row.keys() >= OF_RELUS
    }
    assert lacking == {layer for layer in rows if any(part in layer for part in without)}


def test_a_probe_changes_nothing_and_goes_on_to_the_last_bit(whole, folder, tmp_path):
    """A run with it ends as one without; killed and resumed, its own file is the same, too."""
    peace = RunFolder(tmp_path / "peace")
    finish(peace, "probe=layers")
    assert differences(peace, whole) == []
    assert (peace.manifest()["probe"], whole.manifest()["probe"]) == ("layers", "none")
    assert not (whole.path / "probe.csv").exists()

    rows, names = peace.table("probe"), [row["layer"] for row in peace.table("layers")]
    assert [(row["update"], row["layer"]) for row in rows] == [
        (update, name) for update in (0, 1, 2, 5, 10) for name in (*names, "network")
    ]
    assert rows[0]["cosine"] == 1.0 > rows[-2]["cosine"]
    assert rows[0]["loss"] is rows[len(names)]["kernel_norm"] is None

    ended = train(folder, "probe=layers", faults=[partial(at_update, 6, kill)])
    assert ended.code == -signal.SIGKILL
    assert folder.table("probe")[-1]["update"] == 5  # after the checkpoint: measured again
    ended = train(folder)  # as it began, though it is not asked for again
    assert ended.code == 0 and "run goes on with probe=layers, as it began" in ended.err
    assert differences(folder, whole) == []
    assert (folder.path / "probe.csv").read_bytes() == (peace.path / "probe.csv").read_bytes()
