"""Putting declared data sets into the cache: fetched, verified, unpacked, LR regenerated.

A folder in the cache is complete or absent: it is filled under another name and renamed. The
hashes of unpacked files are recorded in the same step. So it can be proven later that they are the
archive's content.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.data.cache import cache_dir, complete_folder, usable
from esrbench.data.declarations import get_dataset
from esrbench.data.downloads import fetch_file
from esrbench.data.folders import list_images
from esrbench.data.pairs import digest_line, refused
from esrbench.data.pool import for_each
from esrbench.errors import DataError, DownloadError, UsageError
from esrbench.protocol import Frozen
from esrbench.records import Sha256  # noqa: TC001 - pydantic reads it at runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    import numpy.typing as npt

    from esrbench.data.declarations import Archive, Dataset, PackagedImage, RemoteImage

    OnProgress = Callable[[int, int], None]

_INCOMING = "incoming"
_RECORD = ".unpacked.json"  # hidden files are no data


class Unpacked(Frozen):
    """The content of a folder of the cache when it was unpacked; kept in that folder.

    Attributes:
        archive: SHA-256 of the archive.
        pixels: ``esrbench.data.codecs.pixel_digest`` of every image by name.
    """

    archive: Sha256
    pixels: dict[str, Sha256]


def dataset_folder(dataset: Dataset) -> Path:
    """Where the cache keeps a data set: ``HR/`` and ``LR_bicubic/X<scale>/``."""
    name = dataset.name
    if dataset.packaged_images:
        # Another version of esrbench may have put other parts of these images there.
        name += f"-{dataset.digests[min(dataset.scales)][:8]}"
    return cache_dir() / "datasets" / name


def lr_folder(root: Path, scale: int) -> Path:
    """LR images of one scale inside a data set's folder."""
    return root / "LR_bicubic" / f"X{scale}"


def unpacked(folder: Path) -> Unpacked | None:
    """The record of a folder of the cache that was unpacked from an archive; None without one."""
    try:
        return Unpacked.model_validate_json((folder / _RECORD).read_bytes())
    except (OSError, ValueError):
        return None


def recorded_digest(dataset: Dataset, scale: int) -> str | None:
    """``DataIdentity.digest`` of what the declared archives held at a scale.

    It comes from the records made when they were unpacked, not from the images there now; None
    where HR or LR was not unpacked into the cache from an archive of the declared hash.
    """
    root = dataset_folder(dataset)
    declared = {archive.scale: archive.sha256 for archive in dataset.archives}
    hr, lr = unpacked(root / "HR"), unpacked(lr_folder(root, scale))
    if hr is None or lr is None:
        return None
    if (hr.archive, lr.archive) != (declared.get(None), declared.get(scale)):
        return None
    if set(hr.pixels) != set(lr.pixels):
        return None
    digest = hashlib.sha256()
    for image in sorted(hr.pixels):
        digest.update(digest_line(image, lr.pixels[image], hr.pixels[image]).encode())
    return digest.hexdigest()


def cached_folder(dataset: Dataset, scale: int) -> Path:
    """Where the cache holds a data set at a scale; installed images are put there first.

    Raises:
        DataError: it is not there, or the cache cannot be used.
    """
    if not dataset.fetchable:
        raise _not_fetchable(dataset)
    root = dataset_folder(dataset)
    with usable(root):
        if (root / "HR").is_dir() and lr_folder(root, scale).is_dir():
            return root
    if dataset.packaged_images:
        return fetch_dataset(dataset.name, (scale,))
    message = f"{dataset.name} at x{scale} is not in the cache ({root})"
    advice = f"Run `esrbench fetch {dataset.name}`, or give a folder: --data {dataset.name}=FOLDER."
    raise DataError(message, advice=advice)


def fetch_dataset(
    name: str,
    scales: Iterable[int],
    *,
    mirror: str | None = None,
    progress: OnProgress | None = None,
) -> Path:
    """Bring a declared data set into the cache; what is there already is left alone.

    Args:
        name: declared name.
        scales: scales whose LR images are wanted.
        mirror: folder or base address asked before the official one.
        progress: called with (bytes so far, bytes in total) of each file in turn.

    Returns:
        Folder with ``HR/`` and ``LR_bicubic/X<scale>/``.

    Raises:
        UsageError: unknown name or scale, or a mirror that is no folder and no address.
        DownloadError: a file cannot be had, or has other contents than declared.
        DataError: nobody publishes it with a known hash (the advice says where to put it), or
            the cache cannot be used.
    """
    dataset = get_dataset(name)
    wanted = tuple(dict.fromkeys(scales))
    for scale in wanted:
        require_scale(dataset, scale)
    if not dataset.fetchable:
        raise _not_fetchable(dataset)
    root = dataset_folder(dataset)
    with usable(root):
        _fill(dataset, root, wanted, mirror, progress)
    return root


def _fill(
    dataset: Dataset,
    root: Path,
    wanted: tuple[int, ...],
    mirror: str | None,
    progress: OnProgress | None,
) -> None:
    """Make what is missing of HR and of the LR images of the wanted scales."""
    from esrbench.data.codecs import write_png

    for archive in dataset.archives:
        folder = root / "HR" if archive.scale is None else lr_folder(root, archive.scale)
        if (archive.scale is None or archive.scale in wanted) and not folder.is_dir():
            _unpack(dataset, archive, folder, mirror, progress)
    if not (root / "HR").is_dir():
        with complete_folder(root / "HR") as folder, _incoming_folder() as incoming:
            for remote in dataset.remote_images:
                pixels = _fetch_image(remote, incoming, mirror, progress)
                write_png(folder / f"{remote.image}.png", pixels)
            for packaged in dataset.packaged_images:
                pixels = _installed_image(packaged)[slice(*packaged.rows), slice(*packaged.columns)]
                write_png(folder / f"{packaged.image}.png", pixels)
    for scale in wanted:
        if not lr_folder(root, scale).is_dir():
            _regenerate(dataset, root / "HR", lr_folder(root, scale), scale)


def regenerated_lr(dataset: Dataset, hr: Path, scale: int) -> Path:
    """Make LR images from a user's HR images; return the folder of the cache that has them.

    Raises:
        DataError: HR images that cannot be read (all are listed), or the cache cannot be used.
    """
    from esrbench.data.codecs import pixel_digest, read_rgb

    problems: list[str] = []
    images = list(list_images(hr, problems).items())

    def line(index: int) -> str:
        name, path = images[index]
        return f"{name} {pixel_digest(read_rgb(path, allow_grey=name in dataset.grey))}\n"

    lines, unreadable = for_each(line, len(images), threads=1)
    if problems or unreadable:
        raise refused(dataset.title, scale, [*problems, *unreadable])
    digest = hashlib.sha256("".join(lines).encode())
    folder = lr_folder(dataset_folder(dataset) / "regenerated" / digest.hexdigest()[:16], scale)
    with usable(folder):
        if not folder.is_dir():
            _regenerate(dataset, hr, folder, scale)
    return folder


def require_scale(dataset: Dataset, scale: int) -> None:
    """Raise ``UsageError`` if a data set is not defined at a scale."""
    if scale not in dataset.scales:
        known = ", ".join(f"x{known}" for known in dataset.scales)
        message = f"{dataset.name} is not defined at x{scale}"
        raise UsageError(message, advice=f"Use one of its scales: {known}.")


def _not_fetchable(dataset: Dataset) -> DataError:
    """The error for a data set that the user has to bring."""
    message = f"{dataset.title} cannot be fetched: no archive of it with a known hash is published"
    what, lr = f"its {dataset.count} HR images as PNG", ""
    if dataset.folder is not None:
        what = f"its folders {dataset.folder}_HR and {dataset.folder}_LR"
    elif dataset.lr_border is not None:
        lr = "; LR images are made from them where LR_bicubic/ is absent"
    advice = f"Put {what} in a folder and give it as `--data {dataset.name}=FOLDER`{lr}."
    return DataError(message, advice=advice)


def _unpack(
    dataset: Dataset,
    archive: Archive,
    folder: Path,
    mirror: str | None,
    progress: OnProgress | None,
) -> None:
    """Fetch an archive and write its declared members, and nothing else, to ``folder``.

    Their pixels are recorded beside them.
    """
    from esrbench.data.codecs import pixel_digest, read_rgb

    path = _fetched(archive, cache_dir() / _INCOMING, mirror, progress)
    try:
        opened = zipfile.ZipFile(path)
    except FileNotFoundError:
        if folder.is_dir():  # another process has unpacked it meanwhile
            return
        raise
    with opened, complete_folder(folder) as staging:
        held = set(opened.namelist())
        members = [archive.member(image) for image in dataset.images]
        if missing := [member for member in members if member not in held]:
            problems = [f"{path}: has no member {member}" for member in missing]
            message = f"{path}: {len(missing)} of {len(members)} declared members are missing"
            raise DataError(message, problems, advice="Fetch the official archive.")
        pixels: dict[str, str] = {}
        for image, member in zip(dataset.images, members, strict=True):
            # The target is named by us, so no member can reach outside the folder.
            kept = staging / Path(member).name
            with opened.open(member) as source, kept.open("wb") as target:
                shutil.copyfileobj(source, target)
            pixels[image] = pixel_digest(read_rgb(kept, allow_grey=image in dataset.grey))
        record = Unpacked(archive=archive.sha256, pixels=pixels)
        (staging / _RECORD).write_text(record.model_dump_json(indent=1))
    path.unlink(missing_ok=True)


def _fetched(
    file: Archive | RemoteImage, folder: Path, mirror: str | None, progress: OnProgress | None
) -> Path:
    """The path of a declared file in a folder, fetched unless it is there."""
    return fetch_file(
        file.url,
        filename=file.filename,
        sha256=file.sha256,
        size=file.bytes,
        destination=folder,
        mirror=mirror,
        progress=progress,
    )


def _fetch_image(
    remote: RemoteImage, incoming: Path, mirror: str | None, progress: OnProgress | None
) -> npt.NDArray[np.uint8]:
    from esrbench.data.codecs import pixel_digest, read_rgb

    path = _fetched(remote, incoming, mirror, progress)
    pixels = read_rgb(path, allow_grey=True)
    if (found := pixel_digest(pixels)) != remote.pixels:
        message = f"{remote.url}: expected pixels with SHA-256 {remote.pixels}, found {found}"
        raise DownloadError(
            message, advice="The image there is a different one; use another source."
        )
    return pixels


def _installed_image(packaged: PackagedImage) -> npt.NDArray[np.uint8]:
    from esrbench.data.codecs import pixel_digest, read_rgb

    # The package is located, not imported: importing it would cost a second.
    found = importlib.util.find_spec(packaged.package)
    folders = found.submodule_search_locations if found is not None else None
    if not folders:
        message = f"{packaged.image}: the package {packaged.package} is not installed"
        raise DataError(message, advice="Reinstall esrbench with its dependencies.")
    path = Path(folders[0]) / packaged.path
    pixels = read_rgb(path)
    if (digest := pixel_digest(pixels)) != packaged.pixels:
        message = f"{path}: expected pixels with SHA-256 {packaged.pixels}, found {digest}"
        advice = f"Install a version of {packaged.package} that ships the usual photograph."
        raise DataError(message, advice=advice)
    return pixels


def _regenerate(dataset: Dataset, hr: Path, folder: Path, scale: int) -> None:
    """Write the LR images of a folder of readable HR images."""
    from esrbench.data.codecs import read_rgb, write_png
    from esrbench.data.resize import downscale, modcrop

    if dataset.lr_border is None:
        message = f"{dataset.name}: only the publisher's LR images for x{scale} may be used"
        raise DataError(message, advice="Fetch them, or give a folder that has them.")
    with complete_folder(folder) as staging:
        for name, path in list_images(hr, []).items():
            pixels = modcrop(read_rgb(path, allow_grey=name in dataset.grey), scale)
            lr = downscale(pixels, scale, border=dataset.lr_border)
            write_png(staging / f"{name}x{scale}.png", lr)


@contextmanager
def _incoming_folder() -> Iterator[Path]:
    """A temporary folder of the cache, for downloads of which only the pixels are kept."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{_INCOMING}.", dir=cache_dir()) as folder:
        yield Path(folder)
