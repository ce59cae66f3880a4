"""Images that are trained on or calibrated with, as users name them; none of them may be scored."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.data.codecs import pixel_digest
from esrbench.data.declarations import DATASETS
from esrbench.data.folders import SUFFIXES
from esrbench.data.materialise import dataset_folder, unpacked
from esrbench.data.resize import modcrop
from esrbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    import numpy as np
    import numpy.typing as npt

    from esrbench.data.pairs import ImagePairs

    Pixels = npt.NDArray[np.uint8]

DATA_VARIABLE = "ESRBENCH_TRAINING_DATA"
"""Folder in which names without a path are looked up."""

_MULTIPLES = (2, 3, 4, 12)  # to which benchmark images are cropped


@dataclass(frozen=True, slots=True)
class Source:
    """A folder of HR images under a name of its own."""

    name: str
    folder: Path


def parse_sources(text: str, *, option: str = "--data") -> tuple[Source, ...]:
    """Data sets as users write them: ``NAME=FOLDER``, ``FOLDER`` or ``NAME``, with commas.

    A lone name that is no folder here is looked up in ``ESRBENCH_TRAINING_DATA``.

    Args:
        text: as it was written.
        option: the option that had it, for messages.

    Raises:
        UsageError: no such folder, or two of one name.
    """
    root = os.environ.get(DATA_VARIABLE)
    sources: list[Source] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, given = part.partition("=")
        folder = Path(given if equals else part).expanduser()
        if not equals and not folder.is_dir() and root:
            folder = Path(root).expanduser() / part
        if not folder.is_dir():
            message = f"{option} {part}: there is no folder {folder}"
            advice = f"Write {name}=FOLDER, or set {DATA_VARIABLE} to the folder that holds {name}."
            raise UsageError(message, advice=advice)
        sources.append(Source(name if equals else folder.resolve().name, folder.resolve()))
    names = [source.name for source in sources]
    if not names or len(set(names)) < len(names):
        message = f"{option} {text}: expected one or more data sets of different names"
        raise UsageError(message, advice="Write NAME=FOLDER,OTHER=FOLDER.")
    return tuple(sources)


def find_images(source: Source) -> list[tuple[str, Path]]:
    """Name and path of every HR image under a folder, sorted by path.

    Folders inside it are searched too, except those whose names start with ``LR`` or a dot.

    Raises:
        DataError: there are none.
    """
    found = []
    for path in sorted(source.folder.rglob("*")):
        inside = path.relative_to(source.folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        lr = any(part.startswith("LR") for part in inside.parts[:-1])
        if path.suffix.lower() in SUFFIXES and path.is_file() and not hidden and not lr:
            found.append((f"{source.name}/{inside.as_posix()}", path))
    if not found:
        message = f"{source.folder}: found no images, expected PNG or BMP files"
        raise DataError(message, advice="Give a folder of HR images.")
    return found


def cropped_digests(pixels: Pixels) -> tuple[str, ...]:
    """Digests of an image after each crop by which benchmarks would make it smaller."""
    height, width = pixels.shape[:2]
    found = {
        pixel_digest(modcrop(pixels, multiple))
        for multiple in _MULTIPLES
        if (height % multiple or width % multiple) and min(height, width) >= multiple
    }
    return tuple(sorted(found))


def refuse_scored(
    images: Mapping[str, Collection[str]], validation: Iterable[ImagePairs], *, use: str
) -> tuple[str, ...]:
    """Compare images with every scored image that is known here.

    Images are recognised by their decoded pixels, as they are or cropped as benchmarks crop them.
    Other sizes, crops or compressions of the same picture are not recognised.

    Args:
        images: digests of each and of its ``cropped_digests``, by name.
        validation: sets that are scored, beside the declared ones.
        use: what the images are for, as in ``training``.

    Returns:
        What they were compared with: ``NAME (n images)``.

    Raises:
        DataError: images that are scored, all of them.
    """
    scored: dict[str, str] = {}
    for title, digest in _scored(validation):
        scored.setdefault(digest, title)
    problems = []
    for name, digests in images.items():
        found = {scored[digest] for digest in digests if digest in scored}
        if found:
            problems.append(f"{name}: is in {', '.join(sorted(found))}")
    if problems:
        message = f"{len(problems)} of {len(images)} images must not be used for {use}: they are "
        advice = f"Remove them: a score on images that were used for {use} means nothing."
        raise DataError(message + "scored", problems, advice=advice)
    compared = Counter(scored.values())
    return tuple(f"{title} ({count})" for title, count in compared.items())


def _scored(validation: Iterable[ImagePairs]) -> Iterator[tuple[str, str]]:
    """Title of the set and pixel digest of every scored image that is known here."""
    for dataset in DATASETS.values():
        for remote in dataset.remote_images:
            yield dataset.title, remote.pixels
        for packaged in dataset.packaged_images:
            yield dataset.title, packaged.pixels
        if archived := unpacked(dataset_folder(dataset) / "HR"):
            yield from ((dataset.title, digest) for digest in archived.pixels.values())
    for pairs in validation:
        for index in range(len(pairs)):
            yield pairs.title, pixel_digest(pairs.read_hr(index))
            yield f"LR of {pairs.title}", pixel_digest(pairs.read_lr(index))
