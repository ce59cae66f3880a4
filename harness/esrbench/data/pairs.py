"""LR and HR images in pairs, and the check that they may be measured on.

Images are read completely before any network runs. So all truncated, renamed, grey or mismatched
files are found here, and reported together.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esrbench.data.pool import for_each
from esrbench.errors import DataError
from esrbench.plaintext import plural
from esrbench.records import DataIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from esrbench.data.seen import Seen

    Pixels = npt.NDArray[np.uint8]

_MAX_READERS = 4
_BORDER_RULE_PIXELS = 3  # LR pixels from the edge that MATLAB's two border rules can change
_FOREIGN_SHARE = 0.01  # share of differing inner values above which LR is not MATLAB's bicubic


@dataclass(frozen=True, slots=True)
class ImagePair:
    """Files of one image.

    Attributes:
        name: stem of the HR file.
        lr: LR file.
        hr: HR file.
        allow_grey: one-channel files are accepted for this image.
    """

    name: str
    lr: Path
    hr: Path
    allow_grey: bool = False


@dataclass(frozen=True, slots=True)
class ImagePairs:
    """A data set at one scale, sorted by image name.

    Attributes:
        name: declared name, or name of the folder; a folder never has a declared name.
        title: name in tables; marked if images are not proven to be the declared ones.
        scale: upscaling factor.
        pairs: the images.
        modcrop: HR is cropped at the bottom and right to multiples of the scale on reading.
        digest: SHA-256 over names and pixels as read, set by ``open_dataset``; empty before.
        verified: ``digest`` is that of the declared data set, set by ``open_dataset``.
        hidden: names and scores of the images are never published.
        seen: what ``check`` found in the LR and HR file of each image. ``check`` fills it;
            copies by ``dataclasses.replace`` share it.
    """

    name: str
    title: str
    scale: int
    pairs: tuple[ImagePair, ...]
    modcrop: bool = False
    digest: str = ""
    verified: bool = False
    hidden: bool = False
    seen: dict[ImagePair, tuple[Seen, Seen]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def __len__(self) -> int:
        """Number of images."""
        return len(self.pairs)

    def read_lr(self, index: int) -> Pixels:
        """LR image number ``index``: uint8 (h, w, 3), RGB, C-contiguous, read-only.

        Raises:
            DataError: the file is not what ``check`` has seen, if it has seen any.
        """
        from esrbench.data.seen import read_image

        pair = self.pairs[index]
        seen, _ = self.seen.get(pair, (None, None))
        return read_image(pair.lr, allow_grey=pair.allow_grey, seen=seen)

    def read_hr(self, index: int) -> Pixels:
        """HR image number ``index``: uint8 (scale * h, scale * w, 3), RGB, C-contiguous.

        The array is read-only unless it was cropped.

        Raises:
            DataError: the file is not what ``check`` has seen, if it has seen any.
        """
        from esrbench.data.seen import read_image

        pair = self.pairs[index]
        _, seen = self.seen.get(pair, (None, None))
        return self._as_scored(read_image(pair.hr, allow_grey=pair.allow_grey, seen=seen))

    def _as_scored(self, hr: Pixels) -> Pixels:
        """The HR image, cropped if the set asks for it; the same array if nothing is cut."""
        import numpy as np

        from esrbench.data.resize import modcrop

        return np.ascontiguousarray(modcrop(hr, self.scale)) if self.modcrop else hr

    def identity(self) -> DataIdentity:
        """What a record says about these images. Unchecked images are read first.

        Raises:
            DataError: they may not be measured on.
        """
        return DataIdentity(
            name=self.name,
            title=self.title,
            scale=self.scale,
            images=len(self.pairs),
            digest=self.digest or check(self),
            verified=self.verified,
            hidden=self.hidden,
        )


def check(
    pairs: ImagePairs,
    *,
    found: Sequence[str] = (),
    bicubic: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Read every image once and refuse the set if anything is wrong with it.

    ``pairs`` remembers what was read. If a file changes later, reading it raises an error.

    Args:
        pairs: the images.
        found: problems that are known already, reported together with new ones.
        bicubic: also require that LR is MATLAB's bicubic of HR, whatever its border rule.
        progress: called with (images read, images in all).

    Returns:
        SHA-256 (hex) over the names and the LR and HR pixels, HR as scored.

    Raises:
        DataError: one line for every problem of every file.
    """
    results, problems = for_each(
        lambda index: _examine(pairs, index, bicubic=bicubic),
        len(pairs),
        threads=min(_MAX_READERS, os.cpu_count() or 1),
        progress=progress,
    )
    if found or problems:
        raise refused(pairs.title, pairs.scale, [*found, *problems])
    digest = hashlib.sha256()
    for pair, (line, seen) in zip(pairs.pairs, results, strict=True):
        digest.update(line.encode())
        pairs.seen[pair] = seen
    return digest.hexdigest()


def digest_line(name: str, lr: str, hr: str) -> str:
    """The part of one pair in the digest of a data set: its name and two pixel digests."""
    return f"{name} {lr} {hr}\n"


def refused(title: str, scale: int, problems: Sequence[str]) -> DataError:
    """The error that lists every problem of a data set."""
    message = f"{title} at x{scale} cannot be used: {plural(len(problems), 'problem')}"
    advice = "Replace or correct these files. Nothing was measured."
    return DataError(message, problems, advice=advice)


def _examine(pairs: ImagePairs, index: int, *, bicubic: bool) -> tuple[str, tuple[Seen, Seen]]:
    """The part of one pair in the digest, and the content of its files.

    Raises:
        DataError: it may not be measured on.
    """
    from esrbench.data.codecs import pixel_digest
    from esrbench.data.seen import check_image

    pair, scale = pairs.pairs[index], pairs.scale
    problems: list[str] = []
    images = []
    for path in (pair.lr, pair.hr):
        try:
            images.append(check_image(path, allow_grey=pair.allow_grey))
        except DataError as error:
            problems += error.listed
    if problems:
        raise DataError("unreadable", problems)
    (lr, lr_seen), (whole, hr_seen) = images
    hr = pairs._as_scored(whole)  # noqa: SLF001 - of this module
    hr_digest = hr_seen.sha256 if hr.shape == whole.shape else pixel_digest(hr)
    _require_fit(pair, lr, hr, scale)
    if bicubic and not _is_matlab_bicubic(lr, hr, scale):
        message = f"{pair.lr}: is not the bicubic x{scale} LR image of {pair.hr}; it may belong to "
        raise DataError(message + "another HR size or scale")
    return digest_line(pair.name, lr_seen.sha256, hr_digest), (lr_seen, hr_seen)


def _require_fit(pair: ImagePair, lr: Pixels, hr: Pixels, scale: int) -> None:
    from esrbench.protocol import SSIM_WINDOW

    (height, width), (hr_height, hr_width) = lr.shape[:2], hr.shape[:2]
    smallest = SSIM_WINDOW + 2 * scale
    if (hr_height, hr_width) != (scale * height, scale * width):
        expected = f"{scale * width}x{scale * height}, {scale} times its LR image "
        expected += f"({pair.lr.name}, {width}x{height})"
    elif min(hr_height, hr_width) < smallest:
        expected = f"at least {smallest}x{smallest}, one SSIM window inside the border"
    else:
        return
    raise DataError(f"{pair.hr}: found {hr_width}x{hr_height} pixels, expected {expected}")


def _is_matlab_bicubic(lr: Pixels, hr: Pixels, scale: int) -> bool:
    from esrbench.data.resize import downscale

    inner = slice(_BORDER_RULE_PIXELS, -_BORDER_RULE_PIXELS)
    differing = downscale(hr, scale, border="mirror")[inner, inner] != lr[inner, inner]
    return differing.size == 0 or float(differing.mean()) <= _FOREIGN_SHARE
