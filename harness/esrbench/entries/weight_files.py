"""Weights files of an entry: find them, and check that their bytes are the declared ones; no torch.

Four networks ship with demonstration weights, so that a first run on a new machine has real PSNR.
We trained them briefly and on few photographs; the card next to each file gives the recipe and the
scores. They are not the authors' weights.
"""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.errors import WeightsError
from esrbench.plaintext import series, visible
from esrbench.plugins import OWN_NAME
from esrbench.records import Notice, WeightsIdentity
from esrbench.weights.checkpoints import file_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from esrbench.entries.descriptor import ModelDescriptor, ReleasedWeights


def cache_path(released: ReleasedWeights) -> Path:
    """Path of a released file in the cache, even if the file is missing.

    Raises:
        WeightsError: the declared file name is a path.
    """
    from esrbench.data.cache import cache_dir

    return cache_dir() / "weights" / _bare_name(released)


def _bare_name(released: ReleasedWeights) -> str:
    """The file name of a release; an error if it would leave the cache's folder."""
    name = released.filename
    if name in {"", ".", ".."} or "/" in name or "\\" in name:
        message = f"{released.url}: its file name {name!r} must be a bare name"
        raise WeightsError(message, advice="Correct the declaration of the released weights.")
    return name


def cached_release(released: ReleasedWeights) -> Path | None:
    """The cached file of a release, if it is complete; its hash is checked on use."""
    path = cache_path(released)
    whole = path.is_file() and path.stat().st_size == released.bytes
    return path if whole else None


def fetch_release(
    released: ReleasedWeights,
    *,
    mirror: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Fetch a released file into the cache and check it.

    Args:
        released: the release.
        mirror: folder or address asked before the official one.
        progress: called with (bytes so far, bytes in total).

    Raises:
        WeightsError: the declared file name is a path, or it has no address.
        DownloadError: no source has the file, or one delivers other content.
    """
    from esrbench.data.downloads import fetch_file

    if released.url is None:
        message = f"{released.filename} was submitted in a folder, not released at an address"
        raise WeightsError(message, advice="Look for it in the submission's folder.")
    path = cache_path(released)
    return fetch_file(
        released.url,
        filename=_bare_name(released),
        sha256=released.sha256,
        size=released.bytes,
        destination=path.parent,
        mirror=mirror,
        progress=progress,
    )


def demonstration_weights(descriptor: ModelDescriptor, scale: int) -> Path | None:
    """The shipped weights file of a network of this distribution at a scale, if there is one."""
    if descriptor.origin != OWN_NAME:
        return None
    package = descriptor.factory.rpartition(".")[0]
    path = Path(str(resources.files(package))) / f"{descriptor.name}_x{scale}.safetensors"
    return path if path.is_file() else None


def submitted_path(descriptor: ModelDescriptor, submitted: ReleasedWeights) -> Path:
    """The file of a submission's weights.

    Raises:
        WeightsError: the file is missing, is not a plain file, or is a link out of the submission's
            folder.
    """
    folder = Path(descriptor.folder or os.curdir).resolve()
    path = folder / submitted.filename
    found = path.resolve()
    if not found.is_relative_to(folder):
        message = f"{path}: weights.file leads out of the submission's folder, to {found}"
        raise WeightsError(message, advice="Put the file itself into the folder.")
    if not found.is_file():
        message = f"{path}: weights.file names a missing file"
        raise WeightsError(message, advice="Put it into the folder, or correct submission.toml.")
    return found


def require_text(path: Path) -> None:
    """Raise an error for a path that cannot stand in a record or in a request to a worker.

    Raises:
        WeightsError: the path is not UTF-8, or has characters that cannot be printed.
    """
    if visible(str(path)) != str(path):
        message = f"{str(path)!a}: the path cannot be shown as text"
        raise WeightsError(message, advice="Rename the file or its folder.")


def require_intact(path: Path, declared: ReleasedWeights, *, advice: str) -> None:
    """Raise ``WeightsError`` unless the file has the declared size and hash."""
    if not path.is_file():
        message = f"{path}: there is no such weights file"
        raise WeightsError(message, advice=advice)
    size = path.stat().st_size
    if size != declared.bytes:
        message = f"{path}: {size} bytes, expected {declared.bytes} of {declared.filename}"
        raise WeightsError(message, advice=advice)
    sha256 = file_sha256(path)
    if sha256 != declared.sha256:
        message = f"{path}: SHA-256 is {sha256}, expected {declared.sha256}"
        raise WeightsError(message, advice=advice)


def identity_of(
    path: Path, sha256: str, declared: ReleasedWeights | None, *, data_range: float = 1.0
) -> WeightsIdentity:
    """The description of a file in a record, from its declaration if it has one.

    Args:
        path: the file.
        sha256: its hash.
        declared: declaration of a released or submitted file, or None for any other file.
        data_range: value of white for a file without a declaration.
    """
    return WeightsIdentity(
        source="file" if declared is None else "submitted" if declared.url is None else "released",
        filename=path.name,
        sha256=sha256,
        file_bytes=path.stat().st_size,
        data_range=data_range if declared is None else declared.data_range,
    )


def same_weights(
    hashes: Mapping[str, Iterable[str | None]], submitted: Collection[str]
) -> list[Notice]:
    """``same-weights`` for each group of entries with the same weights.

    Args:
        hashes: digests of the weights of each entry, by name: of files, or of all parameters.
        submitted: names of submissions; groups without one are variants of a built-in network.
    """
    holders: dict[str, dict[str, None]] = {}
    for name, of_entry in hashes.items():
        for sha256 in of_entry:
            if sha256 is not None:
                holders.setdefault(sha256, {})[name] = None
    groups = {tuple(names) for names in holders.values() if len(names) > 1}
    return [
        Notice(
            code="same-weights",
            message=f"{series(names)} have the same weights",
            advice="Ask their teams which of them should be ranked.",
        )
        for names in sorted(groups)
        if not set(names).isdisjoint(submitted)
    ]
