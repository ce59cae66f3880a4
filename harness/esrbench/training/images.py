"""Training images on disk: decoded once, LR made once, read through memory maps.

HR images are stored as they are, uint8, one after the other in one file; LR images are made by
MATLAB's bicubic with mirrored borders, as DIV2K's are. The files lie in the cache and are
complete or absent.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, TypeVar

import numpy as np
from pydantic import Field, ValidationError

from esrbench.data.cache import cache_dir, complete_folder, usable
from esrbench.data.codecs import pixel_digest, read_rgb, read_size
from esrbench.data.pool import for_each
from esrbench.data.resize import downscale, modcrop
from esrbench.data.unscored import cropped_digests, find_images, refuse_scored
from esrbench.environment import cpus_available
from esrbench.errors import DataError
from esrbench.plaintext import plural
from esrbench.protocol import Frozen
from esrbench.records import Sha256  # noqa: TC001 - pydantic reads it at runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from esrbench.data.pairs import ImagePairs
    from esrbench.data.unscored import Source

    Pixels = npt.NDArray[np.uint8]
    OnProgress = Callable[[int, int], None]

T = TypeVar("T")

_HR = "hr.u8"
_INDEX = "index.json"
_ADVICE = "Repair or remove these files; nothing was trained."


class StoredImage(Frozen):
    """One decoded image.

    Attributes:
        name: data set and path inside its folder.
        height: of the HR image in pixels.
        width: of the HR image in pixels.
        pixels: ``esrbench.data.codecs.pixel_digest`` of the image.
        cropped: digests of the image after each crop by which benchmarks would make it smaller.
    """

    name: str
    height: Annotated[int, Field(gt=0)]
    width: Annotated[int, Field(gt=0)]
    pixels: Sha256
    cropped: tuple[Sha256, ...]


class _Index(Frozen):
    images: tuple[StoredImage, ...]


@dataclass
class TrainingImages:
    """HR images and their LR images at one scale, as ``open_images`` has stored them in a folder.

    They are cheap to send to another process.
    """

    folder: Path
    images: tuple[StoredImage, ...]
    scale: int

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def __reduce__(self) -> tuple[type[TrainingImages], tuple[Path, tuple[StoredImage, ...], int]]:
        """Leave out the memory maps: the other process opens its own."""
        return TrainingImages, (self.folder, self.images, self.scale)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over the names and pixels of all images, and the scale."""
        lines = (f"{image.name} {image.pixels}\n" for image in self.images)
        return hashlib.sha256("".join((f"x{self.scale}\n", *lines)).encode()).hexdigest()

    @cached_property
    def hr(self) -> tuple[Pixels, ...]:
        """Views of the HR images: uint8 (H, W, 3), RGB."""
        return _views(self.folder / _HR, [(image.height, image.width) for image in self.images])

    @cached_property
    def lr(self) -> tuple[Pixels, ...]:
        """Views of the LR images: uint8 (H // scale, W // scale, 3), RGB."""
        return _views(self.folder / _lr_name(self.scale), self._lr_sizes())

    def require_patch(self, hr_patch: int) -> None:
        """Raise ``DataError`` with every image that is smaller than a crop."""
        problems = [
            f"{image.name}: found {image.width}x{image.height} pixels, expected at least "
            f"{hr_patch}x{hr_patch}, one crop of the recipe"
            for image in self.images
            if min(image.height, image.width) // self.scale < hr_patch // self.scale
        ]
        if problems:
            message = f"{len(problems)} of {len(self)} training images are too small"
            raise DataError(message, problems, advice=_ADVICE)

    def _lr_sizes(self) -> list[tuple[int, int]]:
        return [(image.height // self.scale, image.width // self.scale) for image in self.images]


def open_images(
    sources: Iterable[Source],
    scale: int,
    *,
    cache: Path | None = None,
    progress: OnProgress | None = None,
) -> TrainingImages:
    """Decode images into the cache and make their LR images, unless that was done already.

    Files are recognised by path, size and time of change.

    Args:
        sources: folders of 8-bit RGB PNG or BMP files; folders inside them are searched too,
            except those whose names start with ``LR`` or a dot.
        scale: upscaling factor.
        cache: folder for the decoded images; one in the cache if left out.
        progress: called with (images done, images in all).

    Raises:
        DataError: no images, images that cannot be read (all are listed), or the cache cannot
            be used.
    """
    files: list[tuple[str, Path]] = []
    problems: list[str] = []
    for source in sources:
        try:
            files += find_images(source)
        except DataError as error:
            problems += error.listed
    if problems:
        raise DataError("training images are missing", problems, advice=_ADVICE)
    stamp = hashlib.sha256()
    for name, path in files:
        status = path.stat()
        stamp.update(f"{name}\0{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    folder = (cache or cache_dir() / "training") / stamp.hexdigest()[:16]
    with usable(folder):
        images = _read_index(folder)
        if images is None:
            images = _decode(folder, files, progress)
        opened = TrainingImages(folder, images, scale)
        if not (folder / _lr_name(scale)).is_file():
            _shrink(opened, progress)
    return opened


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
    digests = {image.name: (image.pixels, *image.cropped) for image in images.images}
    return refuse_scored(digests, validation, use="training")


def _read_index(folder: Path) -> tuple[StoredImage, ...] | None:
    try:
        return _Index.model_validate_json((folder / _INDEX).read_bytes()).images
    except (FileNotFoundError, ValidationError):
        return None


def _decode(
    folder: Path, files: list[tuple[str, Path]], progress: OnProgress | None
) -> tuple[StoredImage, ...]:
    """Decode all files into ``folder``."""
    sizes = _each(lambda index: read_size(files[index][1]), len(files))

    def store(index: int) -> StoredImage:
        name, path = files[index]
        pixels = read_rgb(path)
        views[index][...] = pixels
        height, width = sizes[index]
        return StoredImage(
            name=name,
            height=height,
            width=width,
            pixels=pixel_digest(pixels),
            cropped=cropped_digests(pixels),
        )

    with complete_folder(folder, useless=True) as staging:
        views = _views(staging / _HR, sizes, write=True)
        images = tuple(_each(store, len(files), progress))
        (staging / _INDEX).write_text(_Index(images=images).model_dump_json())
    return images


def _shrink(images: TrainingImages, progress: OnProgress | None) -> None:
    """Make the LR file of a decoded set."""
    path = images.folder / _lr_name(images.scale)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")

    def make(index: int) -> None:
        hr = modcrop(images.hr[index], images.scale)
        views[index][...] = downscale(np.ascontiguousarray(hr), images.scale, border="mirror")

    try:
        views = _views(temporary, images._lr_sizes(), write=True)  # noqa: SLF001 - same module
        _each(make, len(images), progress)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _each(work: Callable[[int], T], count: int, progress: OnProgress | None = None) -> list[T]:
    """Results of ``work`` for 0 to ``count`` - 1, made by one thread for each CPU.

    Raises:
        DataError: every image that cannot be read.
    """
    results, problems = for_each(work, count, threads=cpus_available(), progress=progress)
    if problems:
        counted = plural(len(problems), "training image")
        raise DataError(f"{counted} cannot be read", problems, advice=_ADVICE)
    return results


def _views(
    path: Path, sizes: Sequence[tuple[int, int]], *, write: bool = False
) -> tuple[Pixels, ...]:
    """Views (H, W, 3) of images that lie one after the other in a file."""
    total = sum(3 * height * width for height, width in sizes)
    flat = np.memmap(path, np.uint8, mode="w+" if write else "r", shape=(total,))
    views: list[Pixels] = []
    start = 0
    for height, width in sizes:
        end = start + 3 * height * width
        views.append(np.asarray(flat[start:end]).reshape(height, width, 3))
        start = end
    return tuple(views)


def _lr_name(scale: int) -> str:
    return f"lr_x{scale}.u8"
