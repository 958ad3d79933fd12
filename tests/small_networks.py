"""Small networks, images for them, and their layers by type."""

import keras
import numpy as np

from degradation.models import build_model


def build_small(name, depth=14, **settings):
    return build_model(name, depth=depth, **settings)


def of_type(model, *types):
    return [layer for layer in model.layers if isinstance(layer, types)]


def shake(model, seed=0):
    """Give the batch normalisations parameters and averages that make a difference."""
    chance = np.random.default_rng(seed)
    for norm in of_type(model, keras.layers.BatchNormalization):
        for weight, low, high in zip(norm.weights, (0.5, -1, -1, 0.5), (2, 1, 1, 2), strict=True):
            weight.assign(chance.uniform(low, high, weight.shape))
    return model


def draw_images(count=4, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 32, 32, 3)).astype(np.float32)
