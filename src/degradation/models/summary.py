"""What a network consists of, counted: layers, parameters, multiply-adds."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from degradation.schema import SHORTCUT


@dataclass(frozen=True)
class Summary:
    """How many layers, trainable parameters, and multiply-adds for one image a network has."""

    layers: int
    parameters: int
    multiply_adds: int


def summarize(model: keras.Model) -> Summary:
    """Count what papers tell of a network.

    `layers` are the convolutions and dense layers, but for the projections of shortcuts.
    `parameters` are trainable ones; moving averages are none. `multiply_adds` are those of all
    `Conv2D` layers, projections included, and `Dense` ones, for one image of the model's input size
    (He et al. 2015, Table 1, calls them FLOPs); normalisation, additions and pooling are left out.
    """
    weighted = [x for x in _layers(model) if isinstance(x, layers.Conv2D | layers.Dense)]
    return Summary(
        layers=sum(not on_shortcut(layer) for layer in weighted),
        parameters=sum(math.prod(weight.shape) for weight in model.trainable_variables),
        # Each weight of a kernel is used once for every pixel of the output (dense: one).
        multiply_adds=sum(
            math.prod([*layer.output.shape[1:-1], *layer.kernel.shape]) for layer in weighted
        ),
    )


def convolutions(model: keras.Model) -> list[dict]:
    """Give a row for each convolution: those on the main path in its order, projections last.

    `layer` is its name and `kernel_norm` the Euclidean norm of its kernel. `response_std` is the
    standard deviation of its responses (He et al. 2015, Figure 7) over channels and pixels, after
    the batch normalisation that directly follows it: √(mean γ² + Var β), but for epsilon; None
    where none does.
    """
    found = [layer for layer in _layers(model) if isinstance(layer, layers.Conv2D)]
    norms = {
        id(layer.input): layer
        for layer in _layers(model)
        if isinstance(layer, layers.BatchNormalization)
    }
    return [
        {
            "layer": layer.name,
            "response_std": _response_std(norms.get(id(layer.output))),
            "kernel_norm": float(np.linalg.norm(layer.kernel.numpy())),
        }
        for layer in sorted(found, key=on_shortcut)
    ]


def _layers(model: keras.Model) -> Iterator[layers.Layer]:
    """The layers of a model, and of models within it in their place."""
    for layer in model.layers:
        yield from _layers(layer) if isinstance(layer, keras.Model) else (layer,)


def on_shortcut(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a shortcut's, by its name: it is beside the main path."""
    return SHORTCUT in layer.name


def _response_std(norm: layers.BatchNormalization | None) -> float | None:
    if norm is None:
        return None
    gamma = np.asarray(norm.gamma if norm.scale else 1.0, np.float64)
    beta = np.asarray(norm.beta if norm.center else 0.0, np.float64)
    return float(np.sqrt(np.mean(gamma**2) + np.var(beta)))
