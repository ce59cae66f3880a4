"""Score a data set while it is being upscaled.

While another process makes the forward, threads read the next images, score the last one and write
it as PNG. Nothing here is timed: timed passes are separate.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from esrbench.data.codecs import pixel_digest, write_png
from esrbench.data.pool import ImagePool
from esrbench.environment import cpus_available
from esrbench.errors import RecordError
from esrbench.probes.quality import score_image
from esrbench.worker.failure import WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    import numpy as np
    import numpy.typing as npt

    from esrbench.data.crops import CropFolder
    from esrbench.data.datasets import ImagePairs
    from esrbench.protocol import QualityDefinition
    from esrbench.records import ImageScore

    Pixels = npt.NDArray[np.uint8]

T = TypeVar("T")

READ_AHEAD = 3
"""Number of pairs read ahead, because decoding a PNG may take longer than a forward. Cached pixels
are memory-mapped, so they need no memory of this process."""
MOST_BEHIND = 4
"""Most images that may be waiting for their score while the next one is upscaled."""


def score_images(
    upscale: Callable[[Pixels, str], Pixels],
    pairs: ImagePairs,
    *,
    scale: int,
    definition: QualityDefinition,
    sr_folder: Path | None = None,
    crops: CropFolder | None = None,
    look: Callable[[Pixels, Pixels, str], None] | None = None,
    on_image: Callable[[str], None] = lambda _: None,
) -> tuple[tuple[ImageScore, ...], dict[str, str]]:
    """Upscale every image of a data set and score it.

    Args:
        upscale: gives the SR image, uint8 (scale*h, scale*w, 3) RGB, of an LR image, uint8
            (h, w, 3) RGB, and its name; called in this thread, in order.
        pairs: checked LR and HR images.
        scale: upscaling factor.
        definition: definition of the scores.
        sr_folder: receives every SR image as ``<image>x<scale>.png``; created if needed.
        crops: keeps parts of SR images, or None.
        look: called with SR, HR and the name of each image, in other threads.
        on_image: called with the name of each image before it is upscaled.

    Returns:
        One score for each image, in order; and ``codecs.pixel_digest`` of every SR image, by name.

    Raises:
        MeasurementError: an image cannot be upscaled or scored; the message names the first such
            image. Other errors of ``upscale`` pass through.
        DataError: an image changed since it was checked.
        RecordError: an SR image cannot be written.
    """

    def score(sr: Pixels, hr: Pixels, image: str) -> ImageScore:
        if look is not None:
            look(sr, hr, image)
        return score_image(sr, hr, scale=scale, definition=definition, image=image)

    images = upscale_images(
        upscale, pairs, score=score, sr_folder=sr_folder, crops=crops, on_image=on_image
    )
    return tuple(score for score, _ in images), {score.image: digest for score, digest in images}


def upscale_images(
    upscale: Callable[[Pixels, str], Pixels],
    pairs: ImagePairs,
    *,
    score: Callable[[Pixels, Pixels, str], T],
    sr_folder: Path | None = None,
    crops: CropFolder | None = None,
    on_image: Callable[[str], None] = lambda _: None,
) -> list[tuple[T, str]]:
    """Upscale every image of a data set and compute any score of it; see ``score_images``.

    Args:
        upscale: as in ``score_images``.
        pairs: checked LR and HR images.
        score: called with (SR, HR, image name) in other threads.
        sr_folder: as in ``score_images``.
        crops: as in ``score_images``.
        on_image: as in ``score_images``.

    Returns:
        For each image, in order: its score and the ``codecs.pixel_digest`` of its SR.
    """
    if sr_folder is not None:
        _create(sr_folder)
    done: list[tuple[T, str]] = []
    behind: deque[Future[tuple[T, str]]] = deque()
    most_behind = images_behind()
    # There is a thread for every task that may be pending, so reading never waits for scoring.
    with ImagePool(READ_AHEAD + most_behind) as pool:
        first = range(min(READ_AHEAD, len(pairs)))
        ahead = deque(pool.submit(_read, pairs, index) for index in first)
        for index, pair in enumerate(pairs.pairs):
            on_image(pair.name)
            try:
                lr, hr = ahead.popleft().result()
                if index + READ_AHEAD < len(pairs):
                    ahead.append(pool.submit(_read, pairs, index + READ_AHEAD))
                sr = _upscaled(upscale, lr, pair.name)
            except Exception:
                for earlier in behind:
                    earlier.result()  # its error, if any, is the first
                raise
            if len(behind) == most_behind:
                done.append(behind.popleft().result())
            target = None if sr_folder is None else sr_folder / f"{pair.name}x{pairs.scale}.png"
            finish = partial(_finish, score, image=pair.name, target=target, crops=crops)
            behind.append(pool.submit(finish, sr, hr))
        done += [last.result() for last in behind]
    return done


def images_behind() -> int:
    """Images that may wait for their score while the next is upscaled: one less than CPUs."""
    return min(MOST_BEHIND, max(1, cpus_available() - 1))


def _read(pairs: ImagePairs, index: int) -> tuple[Pixels, Pixels]:
    return pairs.read_lr(index), pairs.read_hr(index)


def _upscaled(upscale: Callable[[Pixels, str], Pixels], lr: Pixels, image: str) -> Pixels:
    try:
        return upscale(lr, image)
    except WorkerError as failure:
        raise failure.on_image(image) from None


def _finish(
    score: Callable[[Pixels, Pixels, str], T],
    sr: Pixels,
    hr: Pixels,
    *,
    image: str,
    target: Path | None,
    crops: CropFolder | None,
) -> tuple[T, str]:
    """Score an SR image, write it, and keep its crops."""
    upscaled = (score(sr, hr, image), pixel_digest(sr))
    try:
        if target is not None:
            write_png(target, sr)
        if crops is not None:
            crops.keep(image, sr)
    except OSError as error:
        raise _unwritable(target or Path(error.filename or "."), error) from None
    return upscaled


def _create(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None


def _unwritable(path: Path, error: OSError) -> RecordError:
    message = f"{path}: SR images cannot be written: {error.strerror or error}"
    return RecordError(message, advice="Free space, or give a folder you can write to.")
