"""Data sets by name or folder, checked before anything is measured on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from esrbench.data.declarations import DATASETS, dataset_names, get_dataset
from esrbench.data.folders import SUFFIXES, find_folders, match_pairs
from esrbench.data.materialise import (
    cached_folder,
    fetch_dataset,
    recorded_digest,
    regenerated_lr,
    require_scale,
)
from esrbench.data.pairs import ImagePairs, check
from esrbench.errors import DataError, UsageError, did_you_mean
from esrbench.plaintext import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esrbench.data.declarations import Dataset

__all__ = ["ImagePairs", "dataset_names", "fetch_dataset", "get_dataset", "open_dataset"]


class DataSpec(NamedTuple):
    """The value of ``--data``: a declared data set, a folder, or both.

    Attributes:
        source: declared name, or a folder that stands for itself.
        root: folder that holds the declared data set, if one was given.
    """

    source: str | Path
    root: Path | None = None


def parse_data_spec(text: str) -> DataSpec:
    """Read ``NAME``, ``PATH`` or ``NAME=PATH``.

    A declared name wins over a folder of the same name; write ``./NAME`` for the folder.

    Raises:
        UsageError: neither a declared name nor an existing folder.
    """
    if text in DATASETS:
        return DataSpec(text)
    name, equals, folder = text.partition("=")
    if equals and name in DATASETS:
        if not folder:
            message = f"{text!r} names no folder"
            raise UsageError(message, advice=f"Write {name}=FOLDER, or {name} alone.")
        return DataSpec(name, Path(folder).expanduser())
    path = Path(text).expanduser()
    if text and path.is_dir():
        return DataSpec(path)
    if equals and Path(folder).expanduser().is_dir():
        message = f"{text!r}: no data set is declared as {name!r}"
        advice = f"{did_you_mean(name, DATASETS)}For images of your own give the folder alone: "
        raise UsageError(message, advice=f"{advice}{folder}.")
    if text and path.exists():
        message = f"{text!r} is a file, expected a data set's name or folder"
        raise UsageError(message, advice="Give the folder that holds HR/ and LR_bicubic/.")
    if "/" in text and not equals:
        message = f"there is no folder {text!r}"
        raise UsageError(
            message, advice=f"Give an existing folder or one of {', '.join(DATASETS)}."
        )
    return DataSpec(get_dataset(name).name)  # raises with suggestions


def listed_specs(texts: Sequence[str]) -> list[str]:
    """Values of ``--data`` one by one: ``set5,set14`` is two; names of folders may have commas."""
    parts: list[str] = []
    for text in texts:
        folder = text.partition("=")[2] or text
        whole = Path(folder).expanduser().is_dir()
        parts += [text] if whole else [part.strip() for part in text.split(",")]
    return parts


def open_dataset(
    name_or_path: str | Path,
    scale: int,
    *,
    root: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImagePairs:
    """Open a data set at one scale; every image is read and checked first.

    Images are ``verified`` if their digest is the declared one or that of the declared archives
    that were unpacked into the cache. Images in the cache must be verified; those in a folder
    need not be.

    Args:
        name_or_path: ``NAME``, ``PATH`` or ``NAME=PATH``; a ``Path`` is always a folder.
        scale: upscaling factor.
        root: folder that holds the declared data set, instead of the cache. Its declared
            exceptions apply and its LR images are made where there are none.
        progress: called with (images read, images in all).

    Raises:
        UsageError: unknown name, no such folder, or a scale it is not defined at.
        DataError: it is not in the cache, was altered there, has no known layout, or may not be
            measured on (all problems of all files are listed); or the cache cannot be used.
    """
    source = name_or_path
    if isinstance(source, str):
        source, given = parse_data_spec(source)
        root = root or given
    if isinstance(source, Path):
        if root is not None:
            message = f"{source} is a folder already, so it cannot lie in {root}"
            raise UsageError(message, advice="Give a declared name with that folder.")
        return _open_folder(source, scale, progress)
    dataset = get_dataset(source)
    require_scale(dataset, scale)
    return _open_declared(dataset, scale, root, progress)


def _open_folder(root: Path, scale: int, progress: Callable[[int, int], None] | None) -> ImagePairs:
    problems: list[str] = []
    folders = find_folders(root, scale, known_hr=(), lr_needed=True)
    matched = match_pairs(folders, scale, (), problems)
    stem = root.resolve().name
    pairs = ImagePairs(
        name=_folder_name(root), title=f"{stem} (folder)", scale=scale, pairs=matched
    )
    try:
        return replace(pairs, digest=check(pairs, found=problems, progress=progress))
    except DataError as error:
        advice = f"{error.advice} If this is a benchmark set with exceptions of its own (a grey "
        advice += f"image, HR not cropped to the scale), name it, as in --data set14={root}."
        raise DataError(error.message, error.problems, advice=advice) from None


def _folder_name(root: Path) -> str:
    """Name of the images in a folder, never that of a declared set."""
    stem = root.resolve().name
    return f"{stem}-folder" if stem in DATASETS else stem


def name_in_records(text: str) -> str:
    """The name that records give to a data set.

    Args:
        text: ``NAME``, ``PATH`` or ``NAME=PATH``; anything else is taken for a name.
    """
    name, equals, _ = text.partition("=")
    if text in DATASETS or (equals and name in DATASETS):
        return name
    path = Path(text).expanduser()
    return _folder_name(path) if path.is_dir() else text


def _open_declared(
    dataset: Dataset, scale: int, given: Path | None, progress: Callable[[int, int], None] | None
) -> ImagePairs:
    """Open a declared data set in the folder given, or in the cache."""
    root = given or cached_folder(dataset, scale)
    known_hr = {archive.folder for archive in dataset.archives if archive.scale is None}
    known_hr |= {f"{dataset.folder}_HR"} if dataset.folder else set()
    lr_needed = dataset.lr_border is None
    folders = find_folders(root, scale, known_hr=known_hr, lr_needed=lr_needed)
    own_lr = folders.lr is not None
    if folders.lr is None:
        folders = folders._replace(lr=regenerated_lr(dataset, folders.hr, scale))
    problems: list[str] = []
    matched = match_pairs(folders, scale, dataset.grey, problems)
    names = {pair.name for pair in matched}
    if len(names) != dataset.count:
        problems.append(
            f"{root}: found {plural(len(names), 'image pair')}, expected {dataset.count}"
        )
    problems += [
        f"{folders.hr}: has no image {image}, expected {image}.png"
        for image in dataset.images
        if not any((folders.hr / f"{image}{suffix}").is_file() for suffix in SUFFIXES)
    ]
    pairs = ImagePairs(
        dataset.name, dataset.title, scale, matched, dataset.modcrop, hidden=dataset.hidden
    )
    bicubic = own_lr and given is not None and dataset.lr_border is not None
    digest = check(pairs, found=problems, bicubic=bicubic, progress=progress)
    expected = dataset.digests.get(scale) or recorded_digest(dataset, scale)
    if digest == expected:
        return replace(pairs, digest=digest, verified=True)
    if given is None:
        message = f"{root}: the cache was altered: expected images with digest {expected}, "
        message += f"found {digest}"
        if expected is None:
            message = f"{root}: nothing records that its images came out of the declared archives"
        advice = f"Delete {root} and run `esrbench fetch {dataset.name}`."
        raise DataError(message, advice=advice)
    return replace(pairs, digest=digest, title=f"{dataset.title} (unverified folder)")
