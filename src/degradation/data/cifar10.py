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
    out, and `data/cifar10` there. The first whose files are whole and pass `read_files` is taken.
    If none has any, the archive at `url`, if that is given, is downloaded into the last.
    Raises UserError where there is no CIFAR-10, for the first defective place if none is whole, and
    as `download_cifar10` does.
    """
    if dir is not None:
        if found := find_files(Path(os.path.expanduser(dir))):
            return _read(*found)
        raise UserError(f"data.dir={dir}: no CIFAR-10 there; must be {FOLDER}")
    entries = [os.path.expanduser(entry) for entry in search if entry] + [DOWNLOADS]
    places = [Path(os.path.normpath(root.resolve() / entry)) for entry in entries]
    defects = []
    for place in places:
        try:
            if found := find_files(place):
                return _read(*found)
        except UserError as error:
            defects.append(error)
    if defects:
        raise defects[0]
    return _read(*_download(url, places))


def _download(url: str | None, places: list[Path]) -> tuple[Path, Archive]:
    absent = f"CIFAR-10 is in none of {', '.join(map(str, dict.fromkeys(places)))}"
    advice = f"set data.dir or the environment variable CIFAR10_DIR to {FOLDER}"
    if url is None:
        raise UserError(f"{absent}; {advice}")
    from degradation.data.download import download_cifar10  # seldom needed, and slow to import

    try:
        return download_cifar10(url, places[-1])
    except UserError as error:
        raise UserError(f"{absent}; and {error}; {advice}", error.exit_code) from error


def _read(folder: Path, archive: Archive) -> Dataset:
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


def _label_of_copy(folder: Path, images: int) -> str:
    """Name a copy that is not official; `jpeg_indices.json` in or above its folder says why."""
    for place in (folder, folder.resolve().parent):
        if (place / "jpeg_indices.json").is_file():
            listed = json.loads((place / "jpeg_indices.json").read_bytes())
            count = len(set(listed["train"])) + len(set(listed["test"]))
            return f"CIFAR-10, {count} of {images:,} images from JPEG"
    return "CIFAR-10, not the canonical archive"
