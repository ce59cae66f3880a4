"""Whole SR images in a folder beside the page."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.data.codecs import read_size
from esrbench.errors import DataError, UsageError
from esrbench.records import Quality
from esrbench.reports.page.contents import Picture, Pictures, image_captions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.records import RunRecord


def copy_images(
    records: Sequence[RunRecord], sr_folder: Path, target: Path
) -> tuple[list[Pictures], list[str]]:
    """Copy the SR images of entries to where the page shows them.

    Args:
        records: of the board, in order.
        sr_folder: as it was given to ``esrbench run --save-sr``.
        target: folder beside the page; made if it is not there.

    Returns:
        Each image by all entries that have it, by its path from the page's folder; and what is
        missing, in words.

    Raises:
        UsageError: there is none of these entries, or they cannot be copied.
    """
    found: dict[str, list[tuple[RunRecord, Path]]] = {}
    absent = []
    for record in records:
        files = _files(record, sr_folder)
        for image, file in files.items():
            found.setdefault(image, []).append((record, file))
        if not files and record.entry.role != "images":
            absent.append(record.entry.name)
    if not found:
        message = f"{sr_folder}: found no SR images of these entries"
        advice = "Give the folder of `esrbench run --save-sr FOLDER`."
        raise UsageError(message, advice=advice)
    try:
        views = [
            _copied(number, image, each, target)
            for number, (image, each) in enumerate(sorted(found.items()))
        ]
    except (OSError, DataError) as error:
        message = f"{target}: SR images cannot be copied: {error}"
        raise UsageError(message, advice="Give -o a file in a folder with free space.") from error
    said = []
    if absent:
        again = ["esrbench", "run", *absent, "--data", records[0].data.name]
        again += ["--save-sr", str(sr_folder)]
        said.append(f"No SR images of {', '.join(absent)}: `{shlex.join(again)}` makes them.")
    return views, said


def _files(record: RunRecord, sr_folder: Path) -> dict[str, Path]:
    """The files that there are of a run, by image."""
    name, scale = record.entry.name, record.entry.scale
    if not isinstance(record.quality, Quality) or Path(name).name != name:
        return {}
    folder = sr_folder / record.data.name / name
    files = {each.image: folder / f"{each.image}x{scale}.png" for each in record.quality.images}
    # Where a name is too long for a file, a path of its own would raise.
    return {image: file for image, file in files.items() if os.path.isfile(file)}  # noqa: PTH113


def _copied(
    number: int, image: str, files: Sequence[tuple[RunRecord, Path]], target: Path
) -> Pictures:
    """One image by all entries that have it.

    Raises:
        DataError: a file is no image.
        OSError: one cannot be copied.
    """
    height, width = read_size(files[0][1])
    pictures = []
    for record, file in files:
        name = f"{number:03}-{_slug(image)}.png"
        copy = target / _slug(f"{record.entry.name}-{record.fingerprint[:8]}") / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
        source = copy.relative_to(target.parent).as_posix()
        caption = image_captions(record).get(image, "")
        pictures.append(Picture(record.entry.name, caption, source))
    return Pictures(f"{image}, whole", height, width, tuple(pictures))


def _slug(text: str) -> str:
    """Fit for the name of a file, and for an address without escapes."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:80]
