"""CIFAR-10: where it is looked for, and what a copy of it is called."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from degradation.data.archives import FOLDER, Archive, find_files, read_files
from degradation.data.dataset import Dataset, fingerprint, unpack_records
from degradation.errors import UserError

DOWNLOADS = "data/cifar10"  # below the repository
CLASS_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


def load_cifar10(
    root: Path,
    *,
    url: str | None = None,
    dir: str | None = None,
    search: Sequence[str | None] = (),
) -> Dataset:
    """Find CIFAR-10, verify it and read it: 50,000 training and 10,000 test images.

    `dir`, relative to the current directory, is the only place looked in where it is not None.
    Else these are the places of `search`, relative to `root` (the repository), empty ones left
    out, and `data/cifar10` there; if none has it, the archive at `url`, if that is given, is
    downloaded into that.
    Raises UserError where there is no CIFAR-10, and as `download_cifar10` and `read_files` do.
    """
    if dir is None:
        folder, archive = _search(root, search, url)
    elif found := find_files(Path(os.path.expanduser(dir))):
        folder, archive = found
    else:
        raise UserError(f"data.dir={dir}: no CIFAR-10 there; must be {FOLDER}")
    records, official = read_files(folder, archive)
    images, labels = unpack_records(records)
    test = len(records) // len(archive.digests)
    return Dataset(
        name="cifar10",
        label="CIFAR-10" if official else _label_of_copy(folder, len(records)),
        train_images=images[:-test],
        train_labels=labels[:-test],
        test_images=images[-test:],
        test_labels=labels[-test:],
        classes=CLASS_NAMES,
        fingerprint=fingerprint(records),
        canonical=official,
        source=folder,
    )


def _search(root: Path, search: Sequence[str | None], url: str | None) -> tuple[Path, Archive]:
    entries = [os.path.expanduser(entry) for entry in search if entry] + [DOWNLOADS]
    places = [Path(os.path.normpath(root.resolve() / entry)) for entry in entries]
    for place in places:
        if found := find_files(place):
            return found
    absent = f"CIFAR-10 is in none of {', '.join(map(str, dict.fromkeys(places)))}"
    advice = f"set data.dir or the environment variable CIFAR10_DIR to {FOLDER}"
    if url is None:
        raise UserError(f"{absent}; {advice}")
    from degradation.data.download import download_cifar10  # seldom needed, and slow to import

    try:
        return download_cifar10(url, places[-1])
    except UserError as error:
        raise UserError(f"{absent}; and {error}; {advice}", error.exit_code) from error


def _label_of_copy(folder: Path, images: int) -> str:
    """Name a copy that is not official; `jpeg_indices.json` in or above its folder says why."""
    for path in (folder / "jpeg_indices.json", folder.resolve().parent / "jpeg_indices.json"):
        if os.path.isfile(path):
            try:
                listed = json.loads(path.read_bytes())
                count = len(set(listed["train"])) + len(set(listed["test"]))
            except (ValueError, TypeError, LookupError) as error:
                raise UserError(f"{path}: must list indices as 'train' and as 'test'") from error
            return f"CIFAR-10, {count} of {images:,} images from JPEG"
    return "CIFAR-10, not the canonical archive"
