"""Finding LR and HR files in a folder that a user gives, by the layouts in circulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from esrbench.data.pairs import ImagePair
from esrbench.errors import DataError
from esrbench.plaintext import visible

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

SUFFIXES = (".png", ".bmp")

LAYOUTS = (
    "HR/NAME.png with LR_bicubic/X4/NAMEx4.png, HR/ with LR/, or SET_HR/ with SET_LR_bicubic/X4/ "
    "(4 stands for the scale; LR files may also be called NAME.png; PNG or BMP)"
)


class Folders(NamedTuple):
    """The folders of a data set's HR images, and of its LR images of one scale if it has any."""

    hr: Path
    lr: Path | None


def find_folders(root: Path, scale: int, *, known_hr: Container[str], lr_needed: bool) -> Folders:
    """Recognise the layout of a data set.

    Args:
        root: folder of the data set.
        scale: upscaling factor.
        known_hr: name of the HR folder to prefer where several are possible.
        lr_needed: False accepts HR images alone, also directly in ``root``.

    Raises:
        DataError: no such folder, no known layout, several HR folders, or no LR folder.
    """
    if not root.is_dir():
        message = f"{root}: there is no such folder"
        raise DataError(message, advice=f"Give a folder with {LAYOUTS}.")
    if not _is_text(root.resolve().name):
        message = f"the name of the folder {root.resolve().name!a} cannot be shown as text"
        raise DataError(message, advice="Rename it: records name data sets by their folders.")
    hr = _hr_folder(root, known_hr, flat=not lr_needed)
    prefix = hr.name.removesuffix("HR")  # "" or "SET_"
    candidates = (
        root / f"{prefix}LR_bicubic" / f"X{scale}",
        root / f"{prefix}LR" / f"X{scale}",
        root / f"{prefix}LR",
    )
    below = hr != root
    lr = next((path for path in candidates if below and path.is_dir() and _has_files(path)), None)
    if lr is None and lr_needed:
        message = f"{root}: found {hr.name}/ but no LR images for x{scale}, expected them in "
        message += " or ".join(f"{path.relative_to(root)}/" for path in candidates)
        raise DataError(message, advice=f"Understood layouts: {LAYOUTS}.")
    return Folders(hr, lr)


def list_images(folder: Path, problems: list[str]) -> dict[str, Path]:
    """Image files by stem, sorted; hidden files and folders without images' names are left out.

    Anything else is a problem, also a name that is no printable text in UTF-8.
    """
    images: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if path.suffix.lower() in SUFFIXES:
                problems.append(f"{path}: found a folder, expected PNG or BMP")
        elif not _is_text(path.name):
            problems.append(f"{folder}: {path.name!a} cannot be shown as text; rename that file")
        elif path.suffix.lower() not in SUFFIXES:
            problems.append(f"{path}: found a file that is no image, expected PNG or BMP")
        elif path.stem in images:
            problems.append(f"{path}: has the same name as {images[path.stem].name}")
        else:
            images[path.stem] = path
    if not images:
        problems.append(f"{folder}: found no images, expected PNG or BMP files")
    return images


def match_pairs(
    folders: Folders, scale: int, grey: Container[str], problems: list[str]
) -> tuple[ImagePair, ...]:
    """Pair HR files with LR files of the same name, with or without the suffix ``x<scale>``.

    Every file that has no partner is a problem.
    """
    if folders.lr is None:
        return ()
    hr_images = list_images(folders.hr, problems)
    lr_images = list_images(folders.lr, problems)
    pairs = []
    for name, hr in hr_images.items():
        partners = [stem for stem in (f"{name}x{scale}", name) if stem in lr_images]
        if not partners:
            problems.append(f"{hr}: has no LR image, expected {folders.lr / name}x{scale}.png")
        elif len(partners) > 1:
            problems.append(f"{hr}: has two LR images, {partners[0]} and {partners[1]}")
        else:
            pairs.append(ImagePair(name, lr_images[partners[0]], hr, allow_grey=name in grey))
        for stem in partners:
            del lr_images[stem]
    problems += [f"{path}: has no HR image in {folders.hr}" for path in lr_images.values()]
    return tuple(pairs)


def _hr_folder(root: Path, known: Container[str], *, flat: bool) -> Path:
    if (root / "HR").is_dir():
        return root / "HR"
    candidates = sorted(path for path in root.glob("*_HR") if path.is_dir())
    if len(candidates) > 1:
        candidates = [path for path in candidates if path.name in known] or candidates
    if len(candidates) == 1:
        return candidates[0]
    if not candidates and flat:
        return root
    found = ", ".join(path.name for path in candidates) or "no HR folder"
    message = f"{root}: found {found}, expected one HR folder"
    raise DataError(message, advice=f"Understood layouts: {LAYOUTS}.")


def _is_text(name: str) -> bool:
    """Whether records and terminals can show a file's name as it is."""
    return visible(name) == name


def _has_files(folder: Path) -> bool:
    return any(path.is_file() for path in folder.iterdir())
