"""Crops for papers: the same part of an image by several entries, as a figure or for LaTeX."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from esrbench.data.codecs import write_png
from esrbench.data.crops import RULE, read_crops
from esrbench.data.datasets import open_dataset
from esrbench.errors import DataError, UsageError
from esrbench.records import Quality
from esrbench.reports.comparing import display_names
from esrbench.reports.comparison import MARKS
from esrbench.reports.figure_style import (
    ORANGE,
    WIDTHS,
    marked_name,
    marks_below,
    save,
    short_name,
    styled,
    weights_notes,
)
from esrbench.reports.formats import latex
from esrbench.reports.formats.latex import latex_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt
    from matplotlib.figure import Figure

    from esrbench.data.crops import Crop
    from esrbench.entries.registry import Registry
    from esrbench.records import RunRecord
    from esrbench.runs.store import Store

WHOLE_SHARE: Final = 0.36
"""Share of the width of a figure of crops that the whole image takes."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of a figure of crops.

    Attributes:
        label: name of the entry, or HR.
        caption: its scores, or empty.
        pixels: uint8 (H, W, 3) RGB.
        weights: source of the weights that made it; None for HR and for SR without a network.
    """

    label: str
    caption: str
    pixels: npt.NDArray[np.uint8]
    weights: str | None = None


@dataclass(frozen=True, slots=True)
class ChosenCrop:
    """One crop of a data set by all entries that kept it.

    Attributes:
        box: place of the crop.
        panels: one picture for HR, then one for each entry.
        whole: the image around it, or None if the images are not on this machine.
        reason: text that says which crop it is, and why.
    """

    box: Crop
    panels: list[Panel]
    whole: Panel | None
    reason: str


def choose_crop(
    records: Sequence[RunRecord],
    store: Store,
    registry: Registry,
    *,
    data: str | None = None,
    number: int | None = None,
) -> ChosenCrop:
    """The crop on which entries differ most, or the one with a number.

    Args:
        records: at least one record, all of one data set.
        store: store that holds the crops.
        registry: has the display names of entries.
        data: the images, as for ``open_dataset``; the data set of the records if None.
        number: number of the crop, from 1 on; None for the one on which entries differ most.

    Raises:
        UsageError: the data set has no crops, or fewer than ``number``.
    """
    of = records[0].data
    known = read_crops(store.crops_of(of.digest))
    if not known:
        message = f"{store.folder}: no crops on {of.name} x{of.scale}"
        raise UsageError(message, advice="Measure by `esrbench run` on a declared data set.")
    if number is not None and number > len(known):
        message = f"--crop {number}: there are {len(known)}"
        raise UsageError(message, advice=f"Give a number from 1 to {len(known)}.")
    names = display_names([record.entry.name for record in records], registry)
    panels = [panels_of(records, store, each, of.digest, names) for each in known]
    index = (
        max(range(len(known)), key=lambda at: _spread(panels[at])) if number is None else number - 1
    )
    box = known[index]
    rule = "on which the entries differ most" if number is None else "as asked for"
    reason = (
        f"crop {index + 1} of {len(known)}, {rule}: {box.image}, row {box.top}, "
        f"column {box.left}. {RULE}."
    )
    return ChosenCrop(box, panels[index], _whole(data or of.name, of.scale, box.image), reason)


def _spread(panels: Sequence[Panel]) -> float:
    """Mean standard deviation of pixels over all entries, without HR, the first panel."""
    stacked = [panel.pixels.astype(np.float32) for panel in panels[1:]]
    return float(np.stack(stacked).std(axis=0).mean()) if stacked else 0.0


def _whole(data: str, scale: int, image: str) -> Panel | None:
    """An HR image, or None if the data set is not on this machine; crops do not need it."""
    try:
        pairs = open_dataset(data, scale)
    except (DataError, UsageError):
        return None
    at = next((i for i, pair in enumerate(pairs.pairs) if pair.name == image), None)
    return None if at is None else Panel(image, "", pairs.read_hr(at))


def panels_of(
    records: Sequence[RunRecord],
    store: Store,
    crop: Crop,
    data_digest: str,
    names: Mapping[str, str],
) -> list[Panel]:
    """HR and every entry that kept a crop, with the scores of the whole image.

    The caption of HR names the scores.

    Args:
        records: records of one data set.
        store: store that holds the crops.
        crop: the crop.
        data_digest: digest of the data set.
        names: display names of entries that have one.
    """
    import cv2

    places: list[tuple[str, str, Path, str | None]] = [
        ("HR", "PSNR-Y/SSIM-Y", store.crops_of(data_digest) / "HR", None)
    ]
    for record in records:
        scores = record.quality.images if isinstance(record.quality, Quality) else ()
        found = next((score for score in scores if score.image == crop.image), None)
        caption = ""
        if found is not None:
            psnr = "\N{INFINITY}" if found.psnr_y is None else f"{found.psnr_y:.2f}"
            caption = f"{psnr}/{found.ssim_y:.4f}"
        label = names.get(record.entry.name, record.entry.name)
        source = record.entry.weights.source
        places.append((label, caption, store.crops_of(record.fingerprint), source))
    panels = []
    for label, caption, folder, weights in places:
        pixels = cv2.imread(str(folder / crop.filename), cv2.IMREAD_COLOR_RGB)
        if pixels is not None:
            panels.append(Panel(label, caption, np.asarray(pixels, np.uint8), weights))
    return panels


def crops(panels: Sequence[Panel], *, whole: Panel | None, box: Crop, columns: int = 2) -> Figure:
    """The same crop by several entries, in two rows, beside the whole HR image.

    Args:
        panels: HR, then the entries.
        whole: the image around the crop, or None to leave it out.
        box: the crop, drawn in the whole image.
        columns: width of the figure in columns of the article, 1 or 2.

    Raises:
        UsageError: matplotlib is missing.
    """
    across = max(2, math.ceil(len(panels) / 2))
    width = WIDTHS[columns]
    share = WHOLE_SHARE if whole is not None else 0.0
    cell = width * (1 - share) / across
    height = 2 * (cell * box.height / box.width + 0.3)
    with styled(width, height) as figure:
        from matplotlib.patches import Rectangle

        grid = figure.add_gridspec(1, 2, width_ratios=(max(share, 1e-3), 1 - share))
        if whole is not None:
            axes = figure.add_subplot(grid[0])
            _picture(axes, whole)
            corner, size = (box.left, box.top), (box.width, box.height)
            for colour, line_width in (("white", 2.4), (ORANGE, 1.2)):  # visible in grey too
                axes.add_patch(
                    Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=line_width)
                )
        inner = grid[1].subgridspec(2, across)
        for number, panel in enumerate(panels):
            _picture(figure.add_subplot(inner[number // across, number % across]), panel)
        marks_below(figure, [panel.weights for panel in panels])
        return figure


def write_crops(chosen: ChosenCrop, path: Path, *, columns: int = 2) -> None:
    """Write a crop as LaTeX if the file name ends in ``.tex``, otherwise as a figure.

    Args:
        chosen: the crop by all entries.
        path: the file to write.
        columns: width in columns of the article, 1 or 2.

    Raises:
        UsageError: matplotlib is missing, or the file has an unknown format or cannot be written.
    """
    shown, around, box = chosen.panels, chosen.whole, chosen.box
    if path.suffix == ".tex":
        save_tabular(shown, path, whole=around, box=box, columns=columns)
    else:
        save(crops(shown, whole=around, box=box, columns=columns), path)


def save_tabular(
    panels: Sequence[Panel], path: Path, *, whole: Panel | None, box: Crop, columns: int = 2
) -> None:
    """Write crops as a LaTeX ``tabular``, so that captions have the font of the paper.

    The pictures are lossless PNG files in the folder ``NAME`` beside it.

    Args:
        panels: HR, then the entries.
        path: the file to write, ``NAME.tex``.
        whole: the image around the crop, or None to leave it out.
        box: the crop, drawn in the whole image.
        columns: width in columns of the article, 1 or 2; with 1, the whole image stands above.

    Raises:
        UsageError: a name that LaTeX could misread, or a file cannot be written.
    """
    if not re.fullmatch(r"[A-Za-z0-9-]+\.tex", path.name):
        message = f"{path.name!r}: expected letters, digits and hyphens before .tex"
        raise UsageError(message, advice="For example -o crops.tex.")
    folder = path.with_suffix("")
    across = math.ceil(len(panels) / 2)
    beside = WHOLE_SHARE if whole is not None and columns > 1 else 0.0
    width = (1 - beside) / across - 0.01

    def picture(name: str, panel: Panel, share: float, at: str = "t") -> str:
        write_png(folder / f"{name}.png", panel.pixels)
        mark = latex.MARKUP.marks[MARKS.get(panel.weights, "")]
        told = [latex_text(short_name(panel.label)) + mark, latex_text(panel.caption)]
        lines = "".join(rf" \\ {each}" for each in told if each)
        file = rf"\includegraphics[width={share:.3f}\linewidth]{{{folder.name}/{name}.png}}"
        return rf"\begin{{tabular}}[{at}]{{@{{}}c@{{}}}} {file}{lines} \end{{tabular}}"

    try:
        folder.mkdir(exist_ok=True)
        cells = [picture(str(number), panel, width) for number, panel in enumerate(panels)]
        rows = [" &\n".join(cells[start : start + across]) for start in (0, across)]
        grid = " \\\\[1ex]\n".join(row for row in rows if row)
        spread = "@{\\hspace{0.01\\linewidth}}".join("c" * across)
        lines = [
            r"% needs \usepackage{graphicx}, and \graphicspath if this file lies in a folder",
            r"\begingroup\footnotesize",
        ]
        if whole is not None:
            pixels = np.ascontiguousarray(whole.pixels)
            boxed = _boxed(pixels, box)
            share = beside - 0.01 if beside else 1.0
            lines.append(picture("whole", Panel(whole.label, "", boxed), share, "c") + "%")
            lines.append(r"\hspace{0.01\linewidth}%" if beside else r"\\[1ex]")
        lines += [rf"\begin{{tabular}}[c]{{@{{}}{spread}@{{}}}}", grid, r"\end{tabular}"]
        for note in weights_notes([panel.weights for panel in panels]):
            mark = latex.MARKUP.marks[note.mark]
            lines.append(rf"\par {mark} {latex_text(note.text)}")
        path.write_text("\n".join([*lines, r"\endgroup"]) + "\n")
    except OSError as error:
        message = f"{path}: cannot be written: {error.strerror or error}"
        raise UsageError(message, advice="Give -o a file in a folder that is there.") from error


def _boxed(pixels: npt.NDArray[np.uint8], box: Crop) -> npt.NDArray[np.uint8]:
    """An image with the crop's outline between two white ones; its width is 1/200 of the image."""
    import cv2

    red, green, blue = (int(ORANGE[at : at + 2], 16) for at in (1, 3, 5))
    ends = (box.left, box.top), (box.left + box.width - 1, box.top + box.height - 1)
    thick = max(2, pixels.shape[1] // 200)
    boxed = cv2.rectangle(pixels.copy(), *ends, (255, 255, 255), 2 * thick)
    return np.asarray(cv2.rectangle(boxed, *ends, (red, green, blue), thick), np.uint8)


def _picture(axes: Any, panel: Panel) -> None:
    axes.imshow(panel.pixels, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    label = marked_name(panel.label, panel.weights)
    caption = f"{label}\n{panel.caption}" if panel.caption else label
    axes.set_xlabel(caption, fontsize=7, labelpad=2)
