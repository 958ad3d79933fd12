"""CIFAR-10: found, verified and read."""

from degradation.data.cifar10 import load_dataset
from degradation.data.dataset import Dataset

__all__ = ["Dataset", "load_dataset"]
