"""The degradation result of Deep Residual Learning (He et al. 2015), reproduced on CIFAR-10."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

__all__ = ["load_recorded"]


def load_recorded(run: str) -> "keras.Model":
    """Load a recorded network: `degradation.models.recorded.load_recorded` says more."""
    from degradation.models import recorded  # imports TensorFlow, which takes seconds

    return recorded.load_recorded(run)
