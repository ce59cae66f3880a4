"""Images of entries beside HR and LR: crops on the page, whole images in a folder beside it."""

from __future__ import annotations

import base64
import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esrbench.data.codecs import read_size, write_png
from esrbench.data.crops import read_crops
from esrbench.data.datasets import open_dataset
from esrbench.errors import DataError, EsrbenchError, UsageError
from esrbench.metrics import METRICS
from esrbench.records import Absent, Quality

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.data.pairs import ImagePairs
    from esrbench.records import DataIdentity, RunRecord
    from esrbench.runs.store import Store


@dataclass(frozen=True, slots=True)
class Picture:
    """An image, or a part of one: the SR of an entry, or HR or LR.

    Attributes:
        label: name of the entry, ``HR`` or ``LR``.
        caption: scores of the whole image.
        source: a ``data:`` URI, or a path relative to the page.
    """

    label: str
    caption: str
    source: str


@dataclass(frozen=True, slots=True)
class Pictures:
    """The same image, or the same part of one, by all entries.

    Attributes:
        title: image and place.
        height: height in HR pixels.
        width: width in HR pixels.
        pictures: HR and LR first if they are there, then entries in the order of the table.
    """

    title: str
    height: int
    width: int
    pictures: tuple[Picture, ...]


def crops(
    records: Sequence[RunRecord], store: Store, room: int
) -> tuple[list[Pictures], list[str]]:
    """The crops that the runs kept, and sentences on what is missing.

    Crops of images on which entries differ most come first.

    Args:
        records: records of the board, in order; those without room on the page are named.
        store: store that holds the crops.
        room: bytes that all crops may take on the page.
    """
    if not records:
        return [], []
    folder = store.crops_of(records[0].data.digest)
    known = read_crops(folder)
    kept: dict[str, dict[str, str]] = {}
    names = {crop.filename for crop in known}
    absent, crowded = [], []
    scored = {r.entry.name for r in records if isinstance(r.quality, Quality)}
    places = [("HR", folder / "HR"), ("LR", folder / "LR")]
    places += [(r.entry.name, store.crops_of(r.fingerprint)) for r in records]
    for label, place in places:
        files = [path for path in (place / name for name in sorted(names)) if path.is_file()]
        size = sum(path.stat().st_size for path in files) * 4 // 3
        size += 400 * len(files)  # the elements around them
        if size > room:
            crowded.append(label)
        elif files:
            room -= size
            kept[label] = {path.name: _data_uri(path.read_bytes()) for path in files}
        elif label in scored:
            absent.append(label)
    captions = {r.entry.name: image_captions(r) for r in records}
    apart = spreads([r.quality for r in records if isinstance(r.quality, Quality)])
    views = [
        Pictures(
            f"{crop.image}, row {crop.top}, column {crop.left}",
            crop.height,
            crop.width,
            tuple(
                Picture(label, captions.get(label, {}).get(crop.image, ""), files[crop.filename])
                for label, files in kept.items()
                if crop.filename in files
            ),
        )
        for crop in sorted(known, key=lambda crop: -apart.get(crop.image, 0.0))
    ]
    said = []
    if absent and records[0].data.verified:
        again = shlex.join(["esrbench", "run", *absent, "--data", records[0].data.name])
        said.append(f"No crops were kept of {', '.join(absent)}: `{again}` makes them.")
    if crowded:
        said.append(f"There is no room on this page for the crops of {', '.join(crowded)}.")
    return views, said


def copy_images(
    records: Sequence[RunRecord], sr_folder: Path, target: Path
) -> tuple[list[Pictures], list[str]]:
    """Copy the SR images of entries, with HR and LR of public data, to a folder for the page.

    Args:
        records: records of the board, in order.
        sr_folder: the folder that was given to ``esrbench run --save-sr``.
        target: folder beside the page; made if it is not there.

    Returns:
        Each image by all entries that have it, with paths relative to the page's folder; and
        sentences on what is missing.

    Raises:
        UsageError: there are no SR images of these entries, or they cannot be copied.
    """
    found: dict[str, list[tuple[RunRecord, Path]]] = {}
    absent = []
    for record in records:
        files = _files(record, sr_folder)
        for image, file in files.items():
            found.setdefault(image, []).append((record, file))
        scored = isinstance(record.quality, Quality)
        if not files and scored and record.entry.role != "images":
            absent.append(record.entry.name)
    if not found:
        message = f"{sr_folder}: found no SR images of these entries"
        advice = "Give the folder of `esrbench run --save-sr FOLDER`."
        raise UsageError(message, advice=advice)
    pairs, said = _public_images(records[0].data)
    places = {pair.name: at for at, pair in enumerate(pairs.pairs)} if pairs else {}
    views = []
    try:
        apart = spreads([r.quality for r in records if isinstance(r.quality, Quality)])
        order = sorted(found, key=lambda image: (-apart.get(image, 0.0), image))
        for number, image in enumerate(order):
            theirs = found[image]
            name = f"{number:03}-{_slug(image)}.png"
            pictures = [_copied(record, image, file, target, name) for record, file in theirs]
            if pairs and image in places:
                at = places[image]
                hr = _written(pairs.read_hr(at), "HR", target, name)
                pictures = [hr, _written(pairs.read_lr(at), "LR", target, name), *pictures]
            height, width = read_size(theirs[0][1])
            views.append(Pictures(f"{image}, whole", height, width, tuple(pictures)))
    except (OSError, DataError) as error:
        message = f"{target}: SR images cannot be copied: {error}"
        raise UsageError(message, advice="Give -o a file in a folder with free space.") from error
    if absent:
        again = ["esrbench", "run", *absent, "--data", records[0].data.name]
        again += ["--save-sr", str(sr_folder)]
        said.append(f"No SR images of {', '.join(absent)}: `{shlex.join(again)}` makes them.")
    return views, said


def spreads(scored: Sequence[Quality], key: str = "psnr_rgb") -> dict[str, float]:
    """Best minus worst PSNR of each image, in dB; infinite values are left out."""
    found: dict[str, list[float]] = {}
    for quality in scored:
        for image in quality.images:
            psnr = getattr(image, key)
            found.setdefault(image.image, []).extend([] if psnr is None else [psnr])
    return {image: max(each, default=0.0) - min(each, default=0.0) for image, each in found.items()}


def psnr_text(value: float | None) -> str:
    """A PSNR in dB as text; None is an image without error, whose PSNR is infinite."""
    return "\N{INFINITY}" if value is None else METRICS["psnr_rgb"].format(value)


def image_captions(record: RunRecord) -> dict[str, str]:
    """Scores of each image in words."""
    if isinstance(record.quality, Absent):
        return {}
    return {
        image.image: f"{psnr_text(image.psnr_rgb)} dB, SSIM {image.ssim_y:.4f}"
        for image in record.quality.images
    }


def _files(record: RunRecord, sr_folder: Path) -> dict[str, Path]:
    """Existing files of a run, by image."""
    name, scale = record.entry.name, record.entry.scale
    if not isinstance(record.quality, Quality) or Path(name).name != name:
        return {}
    folder = sr_folder / record.data.name / name
    files = {each.image: folder / f"{each.image}x{scale}.png" for each in record.quality.images}
    # A name that is too long for a file would raise an error.
    return {image: file for image, file in files.items() if os.path.isfile(file)}  # noqa: PTH113


def _public_images(data: DataIdentity) -> tuple[ImagePairs | None, list[str]]:
    """HR and LR images that may be published, or None; and sentences on why they are missing."""
    if not data.verified or data.hidden:
        return None, []
    try:
        pairs = open_dataset(data.name, data.scale)
    except EsrbenchError:
        fetch = f"`esrbench fetch {shlex.quote(data.name)}`"
        return None, [f"HR and LR images are not on this machine: {fetch} brings them."]
    return (pairs, []) if pairs.digest == data.digest else (None, [])


def _copied(record: RunRecord, image: str, file: Path, target: Path, name: str) -> Picture:
    """An SR image, as a file beside the page."""
    copy = target / _slug(f"{record.entry.name}-{record.fingerprint[:8]}") / name
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, copy)
    caption = image_captions(record).get(image, "")
    return Picture(record.entry.name, caption, copy.relative_to(target.parent).as_posix())


def _written(pixels: Any, label: str, target: Path, name: str) -> Picture:
    """HR or LR, uint8 (h, w, 3), as a file beside the page."""
    path = target / label / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, pixels)
    return Picture(label, "", path.relative_to(target.parent).as_posix())


def _slug(text: str) -> str:
    """Text that can be part of a file name, and of an address without escapes."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:80]


def _data_uri(content: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(content).decode()}"
