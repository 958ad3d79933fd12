"""CIFAR-10: found, verified and read; and `load_dataset`, which knows every data set by name."""

import inspect
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from degradation.data.dataset import Dataset
from degradation.data.download import download_cifar10
from degradation.data.layouts import CLASS_NAMES, Layout, find_layout, read_layout
from degradation.data.synthetic import make_synthetic
from degradation.errors import UserError

DOWNLOADS = "data/cifar10"  # below the repository
FOLDER = "a folder that is or contains cifar-10-batches-bin or cifar-10-batches-py"


def load_cifar10(
    *,
    root: Path,
    url: str | None = None,
    dir: str | None = None,
    search: Sequence[str | None] = (),
) -> Dataset:
    """Find CIFAR-10, verify it and read it: 50,000 training and 10,000 test images.

    `dir`, relative to the current directory, is the only place looked in where it is not None.
    Else these are the places of `search`, relative to `root` (the repository), empty ones left
    out, and `data/cifar10` there; if none has it, the archive at `url`, if that is given, is
    downloaded into that.
    Raises UserError where there is no CIFAR-10, and for files that are truncated, foreign or
    malicious.
    """
    folder, layout = _only_place(dir) if dir is not None else _search(root, search, url)
    images, labels, fingerprint, canonical = read_layout(folder, layout)
    test = len(images) // len(layout.digests)
    return Dataset(
        name="cifar10",
        label="CIFAR-10" if canonical else _label_of_copy(folder, len(images)),
        train_images=images[:-test],
        train_labels=labels[:-test],
        test_images=images[-test:],
        test_labels=labels[-test:],
        classes=CLASS_NAMES,
        fingerprint=fingerprint,
        canonical=canonical,
        source=folder,
    )


_LOADERS = {"cifar10": load_cifar10, "synthetic": make_synthetic}


def load_dataset(name: str, *, root: Path, holdout: int = 0, **options: Any) -> Dataset:
    """Load a data set by its name, with the keys of its file in `conf/data/` as options.

    `root` is the repository, from which relative places are counted. With `holdout` the test part
    is that many training images instead: `Dataset.holdout`. Raises UserError for an unknown name or
    key, and as the data set's own function does.
    """
    if name not in _LOADERS:
        raise UserError(f"data.name={name}: must be one of {', '.join(_LOADERS)}")
    keys = [key for key in inspect.signature(_LOADERS[name]).parameters if key != "root"]
    for key in options:
        if key not in keys:
            raise UserError(f"data.{key}: no key of data={name}, which has {', '.join(keys)}")
    return _LOADERS[name](root=root, **options).holdout(holdout)


def _only_place(dir: str) -> tuple[Path, Layout]:
    found = find_layout(Path(os.path.expanduser(str(dir)))) if dir else None
    if not found:
        raise UserError(f"data.dir={dir}: no CIFAR-10 there; must be {FOLDER}")
    return found


def _search(root: Path, search: Sequence[str | None], url: str | None) -> tuple[Path, Layout]:
    if not isinstance(search, list | tuple):
        raise UserError(f"data.search={search}: must be a list of folders")
    entries = [os.path.expanduser(str(entry)) for entry in search if entry] + [DOWNLOADS]
    places = [Path(os.path.normpath(root.resolve() / entry)) for entry in entries]
    for place in places:
        if found := find_layout(place):
            return found
    absent = f"CIFAR-10 is in none of {', '.join(map(str, dict.fromkeys(places)))}"
    advice = f"set data.dir or the environment variable CIFAR10_DIR to {FOLDER}"
    if url is None:
        raise UserError(f"{absent}; {advice}")
    try:
        return download_cifar10(url, root.resolve() / DOWNLOADS)
    except UserError as error:
        raise UserError(f"{absent}; and {error}; {advice}", error.exit_code) from error


def _label_of_copy(folder: Path, images: int) -> str:
    """Name a copy that is not official; `jpeg_indices.json` in or above its folder says why."""
    for place in (folder, folder.resolve().parent):
        path = place / "jpeg_indices.json"
        if os.path.isfile(path) and (count := _count_indices(path)):
            return f"CIFAR-10, {count} of {images:,} images from JPEG"
    return "CIFAR-10, not the canonical archive"


def _count_indices(path: Path) -> int:
    try:
        content = json.loads(path.read_bytes())
        parts = [content["train"], content["test"]]
        if not all(isinstance(index, int) for part in parts for index in part):
            raise ValueError
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise UserError(f'{path}: must hold {{"train": [...], "test": [...]}}, indices') from error
    return sum(len(set(part)) for part in parts)
