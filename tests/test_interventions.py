"""Interventions in how the plain networks of section 4.2 begin and are normalised."""

import keras
import numpy as np
import pytest
from keras import layers
from processes import finish
from small_networks import build_small, of_type


def kernels(**settings) -> dict[str, np.ndarray]:
    """Kernels by layer, always drawn from the same seed."""
    keras.utils.set_random_seed(1)
    model = build_small(**settings)
    return {x.name: x.kernel.numpy() for x in of_type(model, layers.Conv2D, layers.Dense)}


@pytest.mark.parametrize("settings", [{"name": "plain20"}, {"name": "resnet20", "shortcut": "B"}])
def test_dirac_kernels_are_the_identity_plus_half_of_what_he_draws(settings):
    """Where widths grow and maps halve, too; the stem and the dense layer stay as they are."""
    he, dirac = kernels(**settings), kernels(**settings, init="dirac")
    assert he.keys() == dirac.keys()
    for name, noise in he.items():
        if name in ("stem_conv", "logits"):
            np.testing.assert_array_equal(dirac[name], noise)
            continue
        identity = np.zeros_like(noise)
        middle, fewest = noise.shape[0] // 2, min(noise.shape[2:])
        for channel in range(fewest):
            identity[middle, middle, channel, channel] = 1
        np.testing.assert_allclose(dirac[name] - noise / 2, identity, atol=1e-6)


def test_gaussian_kernels_are_drawn_with_the_same_deviation_whatever_their_size():
    drawn = kernels(name="plain20", init="gaussian")
    assert len(drawn) == 14
    for kernel in drawn.values():
        noise = 4 / np.sqrt(2 * kernel.size)  # four standard errors
        assert np.std(kernel) == pytest.approx(0.01, rel=noise)
        assert abs(np.mean(kernel)) < 0.01 * 4 / np.sqrt(kernel.size)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("plain20", {}), ("resnet20", {"shortcut": "C"}), ("preresnet20", {"shortcut": "B"})],
)
def test_without_batch_normalisation_biases_are_in_its_place(name, settings):
    whole, bare = (build_small(name, **settings, norm=norm) for norm in ("batch", "none"))
    norms = of_type(whole, layers.BatchNormalization)
    assert norms and not of_type(bare, layers.BatchNormalization)
    assert [x.name for x in bare.layers] == [x.name for x in whole.layers if x not in norms]
    assert all(x.use_bias and not np.any(x.bias) for x in of_type(bare, layers.Conv2D))
    assert not any(x.use_bias for x in of_type(whole, layers.Conv2D))


def test_a_network_without_batch_normalisation_trains(folder):
    """Without a warning: there are no moments to average, and no responses to tell of."""
    finish(folder, "model.norm=none", "model.init=gaussian")
    assert len(folder.rows()) == 3
    rows = folder.table("layers")
    assert len(rows) == 7 and {row["response_std"] for row in rows} == {None}
