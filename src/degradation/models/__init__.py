"""Networks by name. Importing this package lets `keras.models.load_model` read a saved run."""

import sys

from degradation.models.networks import build_model, model_names

# Keras recurses from layer to layer when it makes or loads a model, and ResNet-1202 has 4,200.
sys.setrecursionlimit(max(sys.getrecursionlimit(), 30_000))

__all__ = ["build_model", "model_names"]
