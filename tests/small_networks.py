"""Small networks and their layers by type; images for them."""

import keras
import numpy as np

from degradation.models import build_model

# One small member of each family, by file and keywords.
STAGES = {"depths": [1, 2], "widths": [4, 8]}
VGG = {"depths": [1, 2, 1, 1, 2], "widths": [4, 8, 8, 16, 16]}
FAMILIES = {
    "plain": ("plain18", STAGES),
    "basic": ("resnet18", STAGES),
    "basic, ImageNet stem": ("resnet18", {**STAGES, "stem": "imagenet"}),
    "bottleneck": ("resnet50", STAGES),
    "bottleneck, option A": ("resnet50", {**STAGES, "shortcut": "A"}),
    "bottleneck, option C": ("resnet50", {**STAGES, "shortcut": "C"}),
    "pre-activation": ("preresnet20", {"depth": 8}),
    "pre-activation, option B": ("resnet18", {**STAGES, "block": "preactivation", "shortcut": "B"}),
    "pre-activation, option C": ("resnet18", {**STAGES, "block": "preactivation", "shortcut": "C"}),
    "resnet18_cifar64": ("resnet18_cifar64", STAGES),
    "resnet34_dense512": ("resnet34_dense512", STAGES),
    "resnet50_relu_first": ("resnet50_relu_first", STAGES),
    "deep": ("cifar_resnet50", {"depth": 8}),
    "Gaussian kernels": ("plain20", {"depth": 8, "init": "gaussian"}),
    "Dirac kernels, no normalisation": ("plain20", {"depth": 8, "init": "dirac", "norm": "none"}),
    "VGG": ("vgg13", VGG),
    "VGG with a shortcut": ("vgg13skip", VGG),
    "DenseNet": ("densenet40", {"depth": 10, "growth": 4}),
    "DenseNet-BC": ("densenet_bc100", {"depth": 16, "growth": 4}),
}


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
