"""Score SR images that were made elsewhere; no network runs."""

from __future__ import annotations

import hashlib
import json
import re
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from esrbench.data.codecs import decode_rgb, pixel_digest
from esrbench.data.crops import crops_of, write_crop
from esrbench.data.pairs import refused
from esrbench.data.pool import for_each
from esrbench.data.sr_images import match_images, open_sr_images
from esrbench.environment import cpus_available, describe_environment
from esrbench.errors import DataError, RecordError, UsageError
from esrbench.plaintext import line
from esrbench.probes.quality import require_metrics, score_image
from esrbench.protocol import Protocol, QualityDefinition
from esrbench.records import EntryIdentity, Quality, WeightsIdentity
from esrbench.runs.assembly import NO_NETWORK, assemble
from esrbench.runs.decisions import ENTRY_NAME
from esrbench.runs.passes import Pass, UntimedPass
from esrbench.runs.quality_pass import images_behind
from esrbench.runs.store import record_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from esrbench.data.crops import Crop
    from esrbench.data.pairs import ImagePairs
    from esrbench.data.sr_images import SrFile
    from esrbench.entries.registry import Registry
    from esrbench.records import DataIdentity, ImageScore, RunRecord
    from esrbench.runs.store import Store

    Scored = tuple[ImageScore, str, list[tuple[Crop, npt.NDArray[np.uint8]]]]

NOTHING_RAN = "nothing-ran"
"""Stands for the sandbox in records, because no network ran."""


def entry_name(path: Path, given: str | None, registry: Registry) -> str:
    """Name of the entry in records and tables: as given, or from the name of the folder or file.

    Raises:
        UsageError: it is not a valid name, or a registered network has it already.
    """
    name = given or (path.resolve().name if path.is_dir() else path.stem)
    if not re.fullmatch(ENTRY_NAME, name):
        message = (
            f"{name!r} is not a valid name of an entry: expected a-z, 0-9, dots, - and _, "
            "at most 64"
        )
        raise UsageError(message, advice="Give --name, such as --name team07.")
    if name in registry or name in registry.broken:
        message = f"{name} is the name of a network; its images need another one"
        raise UsageError(message, advice=f"Give --name, such as --name {name}-images.")
    return name


def score_sr_images(
    path: Path,
    pairs: ImagePairs,
    *,
    name: str,
    store: Store | None = None,
    metrics: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> RunRecord:
    """Score the SR images in a folder or zip file.

    Args:
        path: path of the folder or zip file.
        pairs: checked LR and HR images.
        name: name of the entry, from ``entry_name``.
        store: receives parts of the images, if the data set is proven to be the declared one.
        metrics: keys of further scores.
        progress: called with (images scored, images in all).

    Returns:
        The record of a run that contains only scores.

    Raises:
        UsageError: there is no such folder or zip file, or no such score.
        DataError: the images cannot be scored; the problems of all images are listed.
        RecordError: parts of the images cannot be written.
    """
    created, start = datetime.now(UTC), time.monotonic()
    require_metrics(metrics)
    protocol = Protocol(counters=(), latency=None, quality={"metrics": metrics})
    data = pairs.identity()
    problems: list[str] = []
    crops = _crops(pairs, data, store) if store is not None and data.verified else ()
    with open_sr_images(path, problems) as files:
        matched = match_images(files, [pair.name for pair in pairs.pairs], pairs.scale, problems)
        indices = [index for index, pair in enumerate(pairs.pairs) if pair.name in matched]

        def score(number: int) -> Scored:
            index = indices[number]
            return _score(matched[pairs.pairs[index].name], pairs, index, crops, protocol.quality)

        scored, unreadable = for_each(
            score, len(indices), threads=images_behind(), progress=progress
        )
    if problems or unreadable:
        raise refused(f"the SR images in {path}", pairs.scale, [*problems, *unreadable])
    digests = {image.image: digest for image, digest, _ in scored}
    definition = protocol.quality.describe(pairs.scale)
    entry = EntryIdentity(
        name=name,
        scale=pairs.scale,
        factory="unknown",
        origin=f"images in {line(path.resolve().name)}",
        code_sha256=None,
        role="images",
        weights=WeightsIdentity(source="none"),
    )
    identity = [name, digests, data.digest, protocol.digest()]
    fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    if store is not None:
        with _written(store.crops):
            for crop, pixels in (each for _, _, cut in scored for each in cut):
                write_crop(store.crops_of(fingerprint), crop, pixels)
    return assemble(
        Pass[UntimedPass](
            run_id=record_id(created, f"{name}-x{pairs.scale}", data.name),
            fingerprint=fingerprint,
            entry=entry,
            data=data,
            protocol=protocol,
            environment=describe_environment(
                threads=cpus_available(), accelerator=None, tier=NOTHING_RAN
            ),
            session="",
            created=created,
            seconds=time.monotonic() - start,
            found=UntimedPass(
                weights=entry.weights,
                quality=Quality(definition=definition, images=tuple(each for each, _, _ in scored)),
                memory=NO_NETWORK,
                complexity=NO_NETWORK,
                output_sha256=digests,
            ),
        )
    )


def _crops(pairs: ImagePairs, data: DataIdentity, store: Store) -> tuple[Crop, ...]:
    with _written(store.crops):
        return crops_of(pairs, store.crops_of(data.digest))


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    """A block that writes crops."""
    try:
        yield
    except OSError as error:
        message = f"{folder}: crops cannot be written: {error.strerror or error}"
        advice = "Free space, or give --results a folder you can write to."
        raise RecordError(message, advice=advice) from error


def _score(
    file: SrFile,
    pairs: ImagePairs,
    index: int,
    crops: Sequence[Crop],
    definition: QualityDefinition,
) -> Scored:
    """Scores of one image, the digest of its pixels, and its crops.

    Raises:
        DataError: the SR image cannot be read, or has another size than its HR image.
    """
    pair = pairs.pairs[index]
    sr = decode_rgb(file.read(), file.label, allow_grey=pair.allow_grey)
    hr = pairs.read_hr(index)
    if sr.shape != hr.shape:
        found, expected = (f"{image.shape[1]}x{image.shape[0]}" for image in (sr, hr))
        message = f"{file.label}: found {found} pixels, expected {expected} as in {pair.hr.name}"
        raise DataError(message)
    score = score_image(sr, hr, scale=pairs.scale, definition=definition, image=pair.name)
    cut = [(crop, crop.cut(sr).copy()) for crop in crops if crop.image == pair.name]
    return score, pixel_digest(sr), cut
