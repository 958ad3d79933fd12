"""CIFAR-10, found, verified and read; and synthetic data of its shape, for trying things out."""

from functools import partial
from pathlib import Path
from typing import Any

from degradation.data.cifar10 import load_cifar10
from degradation.data.dataset import Dataset
from degradation.data.synthetic import make_synthetic

__all__ = ["Dataset", "load_dataset"]


def load_dataset(name: str, *, root: Path, holdout: int = 0, **options: Any) -> Dataset:
    """Load a data set by its name, with the keys of its file in `conf/data/` as options.

    `root` is the repository, from which relative places are counted. With `holdout` the test part
    is that many training images instead: `Dataset.holdout`. Raises UserError as the data set's own
    function does.
    """
    loaders = {"cifar10": partial(load_cifar10, root), "synthetic": make_synthetic}
    return loaders[name](**options).holdout(holdout)
