"""Fetch an official archive of CIFAR-10, verify it, and put its files into place in one step."""

import os
import sys
import tempfile
from pathlib import Path

import pooch
import requests

from degradation.data.archives import ARCHIVES, Archive
from degradation.errors import UserError
from degradation.output import complain


def download_cifar10(url: str, target: Path) -> tuple[Path, Archive]:
    """Download CIFAR-10 from `url` and leave the archive's folder, complete, in `target`.

    The address ends in the name of an official archive, whose MD5 is checked before it is
    unpacked. Raises UserError, with exit code 2 where the network gives no such archive and 1 where
    it cannot be stored; `target` (absolute) then holds no file.
    """
    named = {archive.name: archive for archive in ARCHIVES}
    name = url.rpartition("/")[2]
    if name not in named:
        raise UserError(f"data.url={url}: must end in {' or '.join(named)}")
    archive = named[name]
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
                if not (target / archive.folder).is_dir():  # another process was faster
                    raise
    except (requests.RequestException, ValueError) as error:
        reason = getattr(error.args[0], "reason", error)
        raise UserError(f"data.url={url} gives no official archive ({reason})") from error
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror})", exit_code=1) from error
    return target / archive.folder, archive
