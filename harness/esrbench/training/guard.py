"""No image that is scored may be trained on: what can be known of it is checked.

Images are recognised by their decoded pixels, as they are or cropped as benchmarks crop them.
Other sizes, crops or compressions of the same picture are not recognised.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from esrbench.data.codecs import pixel_digest
from esrbench.data.declarations import DATASETS
from esrbench.data.materialise import Unpacked, dataset_folder
from esrbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from esrbench.data.pairs import ImagePairs
    from esrbench.training.images import TrainingImages


def refuse_scored_images(
    images: TrainingImages, validation: Iterable[ImagePairs]
) -> tuple[str, ...]:
    """Compare training images with every scored image that is known here.

    Args:
        images: the training images.
        validation: sets that are validated on.

    Returns:
        What they were compared with: ``NAME (n images)``.

    Raises:
        DataError: training images that are scored, all of them.
    """
    scored: dict[str, str] = {}
    for title, digest in _scored(validation):
        scored.setdefault(digest, title)
    problems = []
    for image in images.images:
        found = {scored[digest] for digest in (image.pixels, *image.cropped) if digest in scored}
        if found:
            problems.append(f"{image.name}: is in {', '.join(sorted(found))}")
    if problems:
        counted = f"{len(problems)} of {len(images)} training images"
        message = f"{counted} must not be trained on: they are scored"
        advice = "Remove them: scores of what was trained on mean nothing."
        raise DataError(message, problems, advice=advice)
    compared = Counter(scored.values())
    return tuple(f"{title} ({count})" for title, count in compared.items())


def _scored(validation: Iterable[ImagePairs]) -> Iterator[tuple[str, str]]:
    """Title of the set and pixel digest of every scored image that is known here."""
    for dataset in DATASETS.values():
        for remote in dataset.remote_images:
            yield dataset.title, remote.pixels
        for packaged in dataset.packaged_images:
            yield dataset.title, packaged.pixels
        for digest in _unpacked(dataset_folder(dataset) / "HR" / ".unpacked.json"):
            yield dataset.title, digest
    for pairs in validation:
        for index in range(len(pairs)):
            yield pairs.title, pixel_digest(pairs.read_hr(index))


def _unpacked(record: Path) -> tuple[str, ...]:
    """Pixel digests that were recorded when an archive was unpacked into the cache."""
    try:
        return tuple(Unpacked.model_validate_json(record.read_bytes()).pixels.values())
    except (OSError, ValueError):
        return ()
