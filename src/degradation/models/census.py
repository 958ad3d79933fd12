"""What a network consists of, counted: layers, parameters, multiply-adds."""

import math
from dataclasses import dataclass

import keras
from keras import layers

WEIGHTED = (layers.Conv2D, layers.Dense)


@dataclass(frozen=True)
class Census:
    """How many layers, trainable parameters, and multiply-adds for one image a network has."""

    layers: int
    parameters: int
    multiply_adds: int


def count(model: keras.Model) -> Census:
    """Count what papers count of a network.

    `layers` are the convolutions and dense layers on the longest way from the images to the logits:
    the projections of shortcuts are beside it. `parameters` are trainable ones; moving averages are
    none. `multiply_adds` are those of all convolutions, projections included, and dense layers, for
    one image of the model's input size (He et al. 2015, Table 1, calls them FLOPs); normalisation,
    additions and pooling are left out.
    """
    weighted = [layer for layer in model.layers if isinstance(layer, WEIGHTED)]
    return Census(
        layers=_longest_way(model),
        parameters=sum(math.prod(weight.shape) for weight in model.trainable_variables),
        multiply_adds=sum(map(_multiply_adds, weighted)),
    )


def _longest_way(model: keras.Model) -> int:
    longest = {}  # weighted layers up to a tensor, by its identity
    for layer in model.layers:  # each stands after those that it reads
        before = max((longest.get(id(x), 0) for x in keras.tree.flatten(layer.input)), default=0)
        longest[id(layer.output)] = before + isinstance(layer, WEIGHTED)
    return longest[id(model.outputs[0])]


def _multiply_adds(layer: layers.Layer) -> int:
    """Each weight of a kernel is used once for every pixel of the output (dense: one)."""
    pixels = math.prod(layer.output.shape[1:-1])
    return pixels * math.prod(layer.kernel.shape)
