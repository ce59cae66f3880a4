"""The cache: folders on this machine that are complete or absent."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.errors import DataError, DownloadError

if TYPE_CHECKING:
    from collections.abc import Iterator

CACHE_VARIABLE = "ESRBENCH_CACHE"


def cache_dir() -> Path:
    """Folder of downloaded files: ``ESRBENCH_CACHE``, else the user's cache folder."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_cache_dir("esrbench"))


@contextmanager
def usable(folder: Path, kind: type[DataError | DownloadError] = DataError) -> Iterator[None]:
    """Raise ``kind`` if the system refuses to read or write in a folder of the cache."""
    try:
        yield
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        reason = f"{error.strerror or error}{where}"
        message = f"{folder}: this folder of the cache cannot be used ({reason})"
        advice = f"Set {CACHE_VARIABLE} to a folder you can write to."
        raise kind(message, advice=advice) from error


@contextmanager
def complete_folder(folder: Path, *, useless: bool = False) -> Iterator[Path]:
    """A new folder that becomes ``folder`` if the block ends well and vanishes otherwise.

    Args:
        folder: the final path; if another process filled it first, its result stays.
        useless: remove the folder that is there now.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield staging
        staging.chmod(0o755)
        if useless:
            shutil.rmtree(folder, ignore_errors=True)
        try:
            staging.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
