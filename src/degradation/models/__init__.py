"""Networks by name. Importing this package lets `keras.models.load_model` read a saved run."""

from degradation.models.networks import build_model, model_names

__all__ = ["build_model", "model_names"]
