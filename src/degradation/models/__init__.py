"""Networks by name. Importing this package lets `keras.models.load_model` read a saved run."""

import sys

from degradation.models.networks import build_model
from degradation.models.precision import to_float32

# Keras recurses from layer to layer when it makes or loads a model, and ResNet-1202 has 4,200.
sys.setrecursionlimit(max(sys.getrecursionlimit(), 30_000))

__all__ = ["build_model", "to_float32"]
