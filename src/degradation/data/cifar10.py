"""CIFAR-10: where it is looked for, how it is downloaded, and what a copy of it is called."""

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from degradation.data.archives import ARCHIVES, FOLDER, Archive, find_files, read_files
from degradation.data.dataset import Dataset, fingerprint, unpack_records
from degradation.errors import UserError
from degradation.output import complain

DOWNLOADS = "data/cifar10"  # below the repository
CLASS_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


def load_cifar10(
    root: Path, *, url: str = "", dir: str | None = None, search: Sequence[str | None] = ()
) -> Dataset:
    """Find CIFAR-10, verify it and read it: 50,000 training and 10,000 test images.

    `dir`, relative to the current directory, is the only place looked in where it is not None.
    Else these are the places of `search`, relative to `root` (the repository), empty ones left
    out, and `data/cifar10` there. The first whose files are whole and pass `read_files` is taken.
    If none has any, the archive at `url` is downloaded into the last.
    Raises UserError where there is no CIFAR-10, and for the first defective place if none is whole;
    with exit code 1 where what is downloaded cannot be stored.
    """
    if dir is not None:
        if found := find_files(Path(os.path.expanduser(dir))):
            return _read(*found)
        raise UserError(f"data.dir={dir}: no CIFAR-10 there; allowed: {FOLDER}")
    entries = [os.path.expanduser(entry) for entry in search if entry] + [DOWNLOADS]
    places = [Path(os.path.normpath(root.resolve() / entry)) for entry in entries]
    defects = []
    for place in places:
        try:
            if found := find_files(place):
                dataset = _read(*found)
                for defect in defects:
                    complain(f"warning: {defect}; going on with {place}")
                return dataset
        except UserError as error:
            defects.append(error)
    if defects:
        raise defects[0]
    return _read(*_download(url, places))


def _download(url: str, places: list[Path]) -> tuple[Path, Archive]:
    """Fetch an official archive, verify its MD5, unpack it, and put its folder into the last place.

    That place then holds all of it or, after a UserError, no file.
    """

    def refusal(problem: str, exit_code: int = 2) -> UserError:
        looked = ", ".join(map(str, dict.fromkeys(places)))
        return UserError(
            f"CIFAR-10 is in none of {looked}; {problem}set data.dir or the environment variable "
            f"CIFAR10_DIR to {FOLDER}",
            exit_code,
        )

    named = {archive.name: archive for archive in ARCHIVES}
    name = url.rpartition("/")[2]
    if name not in named:
        raise refusal(f"and data.url={url}: must end in {' or '.join(named)}; ")
    archive, target = named[name], places[-1]
    import pooch  # seldom needed, and slow to import
    import requests

    complain(f"CIFAR-10 is not on this machine: from {url} to {target}")
    pooch.get_logger().setLevel("WARNING")  # that line says it
    try:
        target.mkdir(parents=True, exist_ok=True)
        # Beside its place, so that the last step is one rename: never half an archive is found.
        with tempfile.TemporaryDirectory(prefix=".download-", dir=target) as temporary:
            pooch.retrieve(
                url,
                known_hash=f"md5:{archive.md5}",
                fname=name,
                path=temporary,
                processor=pooch.Untar(extract_dir="."),
                downloader=pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=2**20),
            )
            try:
                os.rename(Path(temporary, archive.folder), target / archive.folder)
            except OSError:
                if not find_files(target):  # another process was faster
                    raise
    except (requests.RequestException, ValueError) as error:
        reason = getattr(error.args[0], "reason", error)
        raise refusal(f"and data.url={url} gives no official archive ({reason}); ") from error
    except OSError as error:
        raise refusal(f"and {target}: cannot be written ({error.strerror}); ", 1) from error
    return target / archive.folder, archive


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
    )


def _label_of_copy(folder: Path, images: int) -> str:
    """Name a copy that is not official; `jpeg_indices.json` in or above its folder says why."""
    for place in (folder, folder.resolve().parent):
        path = place / "jpeg_indices.json"
        if path.is_file():
            try:
                listed = json.loads(path.read_bytes())
                count = len(set(listed["train"])) + len(set(listed["test"]))
            except (OSError, ValueError, TypeError, LookupError) as error:
                raise UserError(f"{path}: cannot be read: {error!r}") from error
            return f"CIFAR-10, {count} of {images:,} images from JPEG"
    return "CIFAR-10, not the canonical archive"
