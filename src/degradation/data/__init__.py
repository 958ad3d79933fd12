"""CIFAR-10, found, verified and read; and synthetic data of its shape, for trying things out."""

from functools import partial
from pathlib import Path
from typing import Any

from degradation.data.cifar10 import load_cifar10
from degradation.data.dataset import Dataset
from degradation.data.synthetic import make_synthetic
from degradation.errors import UserError

__all__ = ["Dataset", "load_dataset"]


def load_dataset(name: str, *, root: Path, holdout: int = 0, **options: Any) -> Dataset:
    """Load a data set by its name, with the keys of its file in `conf/data/` as options.

    `root` is the repository, from which relative places are counted. With `holdout` the test part
    is that many training images instead: `Dataset.holdout`. Raises UserError for an unknown name,
    and as the data set's own function does.
    """
    loaders = {"cifar10": partial(load_cifar10, root), "synthetic": make_synthetic}
    if name not in loaders:
        raise UserError(f"data.name={name}: must be one of {', '.join(loaders)}")
    return loaders[name](**options).holdout(holdout)
