"""Fetch an official archive of CIFAR-10, verify it, and put its files into place in one step."""

import gzip
import hashlib
import http.client
import os
import shutil
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from degradation.data.layouts import BINARY, PICKLED, Layout, find_layout
from degradation.errors import UserError
from degradation.output import complain

# By MD5, from the data set's page, https://www.cs.toronto.edu/~kriz/cifar.html
ARCHIVES = {
    "c58f30108f718f92721af3b95e74349a": PICKLED,
    "c32a1d4ab5d03f1284b67883e8d87530": BINARY,
}
TIMEOUT = 30  # seconds without a byte
BLOCK = 1 << 20  # bytes
LARGEST_FILE = 1 << 26  # bytes; twice an official one


def download_cifar10(url: str, target: Path) -> tuple[Path, Layout]:
    """Download CIFAR-10 from `url` and leave one layout's folder, complete, in `target` (absolute).

    Either of the two official archives is accepted, by its MD5. Raises UserError, with exit code 2
    where the network gives no such archive and 1 where it cannot be stored; nothing is left then.
    """
    try:
        # On the target's file system, so that the last step is one rename.
        nearest = next(folder for folder in (target, *target.parents) if folder.is_dir())
        with tempfile.TemporaryDirectory(prefix=".cifar10-", dir=nearest) as temporary:
            archive = Path(temporary, "archive")
            complain(f"CIFAR-10 is not on this machine: from {url} to {target}")
            _fetch(url, archive)
            layout = _identify(archive, url)
            unpack(archive, layout, Path(temporary))
            target.mkdir(parents=True, exist_ok=True)
            try:
                os.rename(Path(temporary, layout.folder), target / layout.folder)
            except OSError:
                if not find_layout(target):  # another process was faster
                    raise
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror})", exit_code=1) from error
    return target / layout.folder, layout


def unpack(archive: Path, layout: Layout, target: Path) -> None:
    """Copy the layout's files out of a tar archive into `target`/<layout's folder>.

    Members are looked up and read, never extracted: no name, link, device, mode or owner in the
    archive has any effect here. Raises UserError for a damaged archive or a missing file.
    """
    wanted = {f"{layout.folder}/{name}" for name in (*layout.digests, layout.class_names)}
    (target / layout.folder).mkdir()
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                if member.name not in wanted:
                    continue
                if not member.isreg() or member.size > LARGEST_FILE:
                    raise tarfile.TarError(f"{member.name} is no file of CIFAR-10")
                with tar.extractfile(member) as source, (target / member.name).open("xb") as copy:
                    shutil.copyfileobj(source, copy)
                wanted.remove(member.name)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{archive}: not an archive of CIFAR-10: {error}") from error
    if wanted:
        raise UserError(f"{archive}: not an archive of CIFAR-10: no {min(wanted)} in it")


def _fetch(url: str, path: Path) -> None:
    with path.open("wb") as file:
        for block in _blocks(url):
            file.write(block)


def _blocks(url: str) -> Iterator[bytes]:
    """Yield what is at `url` in blocks, with a progress bar where standard error is a terminal."""
    try:
        with urllib.request.urlopen(str(url), timeout=TIMEOUT) as response:
            size = int(response.headers.get("Content-Length") or 0) or None
            with tqdm(total=size, desc="CIFAR-10", unit="B", unit_scale=True, disable=None) as bar:
                while block := response.read(BLOCK):
                    yield block
                    bar.update(len(block))
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = " ".join(str(getattr(error, "reason", None) or error).split())
        raise UserError(f"data.url={url} cannot be reached ({reason})") from error


def _identify(archive: Path, url: str) -> Layout:
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if digest not in ARCHIVES:
        allowed = " or ".join(ARCHIVES)
        raise UserError(
            f"data.url={url} gave a file of MD5 {digest}, where an official one has {allowed}"
        )
    return ARCHIVES[digest]
