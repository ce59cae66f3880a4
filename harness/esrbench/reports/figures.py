"""Figures of papers by matplotlib: trade-offs, ablations, crops, and where the cost lies.

Equal data give equal bytes: no dates, no random names, fixed fonts. Text is embedded as TrueType
(type 42), which publishers ask for. Colours are those of Okabe and Ito, which colour-blind readers
can tell apart; markers and lines tell them apart in grey.
"""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from esrbench.data.codecs import write_png
from esrbench.errors import UsageError
from esrbench.metrics import METRICS
from esrbench.ranking.footnotes import WEIGHTS_NOTES
from esrbench.records import Absent, Complexity, Quality
from esrbench.reports.comparing import display_names
from esrbench.reports.comparison import MARKS, CellValue
from esrbench.reports.details import OUTSIDE, block_shares
from esrbench.reports.formats import latex
from esrbench.reports.formats.latex import latex_text
from esrbench.reports.labels import name_points
from esrbench.reports.page.charts import FEWEST_TICKS, LOG_RATIO, Point, front
from esrbench.reports.table import DAGGERS, Note

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt
    from matplotlib.figure import Figure

    from esrbench.data.crops import Crop
    from esrbench.entries.registry import Registry
    from esrbench.metrics import Metric
    from esrbench.records import Block, RunRecord
    from esrbench.reports.comparison import Comparison
    from esrbench.runs.store import Store

WIDTHS: Final = {1: 3.25, 2: 6.875}
"""Inches of one and two columns of a two-column article."""
HEIGHTS: Final = {1: 2.4, 2: 3.4}
"""Of charts, likewise."""
FORMATS: Final = ("pdf", "svg", "png", "pgf")
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#999999"
STYLE: Any = {
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "esrbench",
    "pgf.texsystem": "pdflatex",
    "pgf.rcfonts": False,  # a paper has its own
    "text.parse_math": False,  # names are no formulas
    "hatch.linewidth": 0.5,
    "font.size": 8,
    "axes.linewidth": 0.6,
    "savefig.dpi": 300,
}
WHOLE_SHARE: Final = 0.36
"""Of the width of a figure of crops that the whole image takes."""
LEAST_AREA, MOST_AREA = 25.0, 350.0
"""Of a marker, in square points."""
NAME_CHARACTERS: Final = 28
"""Most of a name in a figure."""
MOST_BLOCKS: Final = 14
"""Blocks of an entry that are drawn; the smallest of more are drawn as one."""
COSTS: Final[dict[str, tuple[str, str, Callable[[Block], int]]]] = {
    "MACs": (BLUE, "", lambda block: block.macs),
    "activations": (ORANGE, "////", lambda block: block.activations),
    "memory written": (GREY, "....", lambda block: block.allocated_bytes),
}
"""Colour, hatching and figure of each cost of a block."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of a figure of crops.

    Attributes:
        label: name of the entry, or HR.
        caption: its scores, or empty.
        pixels: uint8 (H, W, 3) RGB.
        weights: source of the weights that made it; None of HR and of SR images without a network.
    """

    label: str
    caption: str
    pixels: npt.NDArray[np.uint8]
    weights: str | None = None


def pareto(
    comparison: Comparison, *, own: Sequence[str] = (), columns: int = 1, title: str = ""
) -> Figure:
    """Entries by two metrics, a third one as area.

    Args:
        comparison: at one scale, with two or three columns: across, up, and area.
        own: entries that are drawn as stars; if left out, those that ran here beside published.
        columns: of the article that the figure is as wide as, 1 or 2.
        title: above it.

    Raises:
        UsageError: matplotlib is missing, no entry has both metrics, or none of those that have
            them has the third.
    """
    x, y, *rest = (METRICS[column.metric] for column in comparison.columns)
    area = rest[0] if rest else None
    points = _points(comparison, x, y, area)
    if area is not None and all(point.area is None for point in points):
        message = f"no entry with {x.label} and {y.label} has {area.label}, the area"
        raise UsageError(message, advice="Choose another metric as area, or none.")
    best = front(points, x_higher=x.better == "higher", y_higher=y.better == "higher")
    with _styled(WIDTHS[columns], HEIGHTS[columns]) as figure:
        axes = _axes(figure, points, x, y)
        line = [(point.x, point.y) for point in best]
        if len(line) > 1:
            axes.plot(*zip(*line, strict=True), "--", color=GREY, lw=0.8, zorder=1)
        runs = any(line.published for line in comparison.lines) and not own
        starred = {
            number
            for number, each in enumerate(comparison.lines)
            if each.entry in own or (runs and not each.published and each.role != "floor")
        }
        radii = _draw(axes, points, best, starred)
        if title:
            axes.set_title(title)
        _key(figure, _weights(comparison, points), [f"Area: {area.label}"] if area else [])
        name_points(figure, axes, {point: point.name for point in points}, line, radii)
        return figure


def ablation(comparison: Comparison, *, columns: int = 1, title: str = "") -> Figure:
    """Variants of one network by two metrics, with an arrow from their parent to each.

    Args:
        comparison: at one scale, with two columns: across, and up; the parent comes first.
        columns: of the article that the figure is as wide as, 1 or 2.
        title: above it.

    Raises:
        UsageError: matplotlib is missing, the parent lacks one of the metrics, or no other
            entry has both.
    """
    x, y = (METRICS[column.metric] for column in comparison.columns)
    parent, *variants = _points(comparison, x, y, None)
    first = comparison.lines[0]
    if parent.entry != 0 or not variants:
        name = first.display_name
        what = "no variant" if parent.entry == 0 else f"not {name}, the parent,"
        message = f"{what} has both {x.label} and {y.label}"
        raise UsageError(message, advice="Measure the parent and its variants by `esrbench run`.")
    with _styled(WIDTHS[columns], HEIGHTS[columns]) as figure:
        axes = _axes(figure, [parent, *variants], x, y)
        arrow = {"arrowstyle": "-|>", "color": "0.35", "lw": 0.8, "shrinkA": 5, "shrinkB": 5}
        for point in variants:
            ends = {"xy": (point.x, point.y), "xytext": (parent.x, parent.y)}
            axes.annotate("", **ends, arrowprops=arrow, zorder=2)
        radii = _draw(axes, [parent, *variants], [parent, *variants], {parent.entry})
        if title:
            axes.set_title(title)
        _key(figure, _weights(comparison, [parent, *variants]))
        labels = {parent: parent.name}
        ends_of_arrows = []
        for point in variants:
            # Adding 0.0 leaves no minus before a zero.
            change = f"{round(point.y - parent.y, y.digits) + 0.0:+.{y.digits}f} {y.unit}".rstrip()
            labels[point] = f"{point.name}\n{change}"
            ends_of_arrows += [(parent.x, parent.y), (point.x, point.y)]
        name_points(figure, axes, labels, ends_of_arrows, radii)
        return figure


def cost(
    entries: Sequence[tuple[str, Sequence[Block]]], *, columns: int = 1, title: str = ""
) -> Figure:
    """The cost of entries: the share of each block in MACs, activations and memory.

    Args:
        entries: names, and blocks as records hold them: the network first.
        columns: of the article that the figure is as wide as, 1 or 2.
        title: above it.

    Raises:
        UsageError: matplotlib is missing.
    """
    shares = {name: _shares(blocks) for name, blocks in entries}
    rows = [len(each) for each in shares.values()]
    height = 0.22 * sum(rows) + 0.3 * len(rows) + 0.55
    with _styled(WIDTHS[columns], height) as figure:
        drawn = figure.subplots(len(rows), 1, squeeze=False, sharex=True, height_ratios=rows)
        thickness = 0.8 / len(COSTS)
        for axes, (name, each) in zip(drawn[:, 0], shares.items(), strict=True):
            for number, (label, (colour, hatch, _)) in enumerate(COSTS.items()):
                axes.barh(
                    [row + (number - 1) * thickness for row in range(len(each))],
                    [100 * of_block[number] for of_block in each.values()],
                    height=thickness,
                    label=label,
                    color=colour,
                    hatch=hatch,
                    edgecolor="black",
                    linewidth=0.3,
                )
            axes.set_yticks(range(len(each)), map(_short, each), fontsize=7)
            axes.set_ylim(len(each) - 0.4, -0.6)
            axes.grid(visible=True, axis="x", color="0.9", lw=0.5)
            axes.set_axisbelow(True)
            axes.set_title(_short(name), fontsize=8)
        drawn[-1, 0].set_xlabel("share of the network [%]")
        handles, labels = drawn[0, 0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=len(COSTS), fontsize=7, frameon=False
        )
        if title:
            figure.suptitle(title, fontsize=9)
        return figure


def _shares(blocks: Sequence[Block]) -> dict[str, tuple[float, ...]]:
    """Shares of the outermost blocks in each cost, in their order; small ones together."""
    shares = block_shares(blocks, [figure for _, _, figure in COSTS.values()])
    outside = shares.pop(OUTSIDE, None)
    larger = sorted(shares, key=lambda name: -shares[name][0])[:MOST_BLOCKS]
    shown = {name: each for name, each in shares.items() if name in larger and any(each)}
    rest = [each for name, each in shares.items() if name not in larger]
    if rest:
        shown[f"{len(rest)} smaller ones"] = tuple(map(sum, zip(*rest, strict=True)))
    return shown if outside is None else shown | {OUTSIDE: outside}


def crops(panels: Sequence[Panel], *, whole: Panel | None, box: Crop, columns: int = 2) -> Figure:
    """The same crop by several entries, two rows of them, beside the whole HR image.

    Args:
        panels: HR first.
        whole: the image around the crop, or None to leave it out.
        box: the crop, drawn in the whole image.
        columns: of the article that the figure is as wide as, 1 or 2.

    Raises:
        UsageError: matplotlib is missing.
    """
    across = max(2, math.ceil(len(panels) / 2))
    width = WIDTHS[columns]
    share = WHOLE_SHARE if whole is not None else 0.0
    cell = width * (1 - share) / across
    height = 2 * (cell * box.height / box.width + 0.3)
    with _styled(width, height) as figure:
        from matplotlib.patches import Rectangle

        grid = figure.add_gridspec(1, 2, width_ratios=(max(share, 1e-3), 1 - share))
        if whole is not None:
            axes = figure.add_subplot(grid[0])
            _picture(axes, whole)
            corner, size = (box.left, box.top), (box.width, box.height)
            for colour, line_width in (("white", 2.4), (ORANGE, 1.2)):  # to be seen in grey
                axes.add_patch(
                    Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=line_width)
                )
        inner = grid[1].subgridspec(2, across)
        for number, panel in enumerate(panels):
            _picture(figure.add_subplot(inner[number // across, number % across]), panel)
        _key(figure, [panel.weights for panel in panels])
        return figure


def blocks_of(
    records: Sequence[RunRecord], registry: Registry
) -> list[tuple[str, Sequence[Block]]]:
    """Display names of entries, and the blocks of those whose records tell of them.

    Raises:
        UsageError: none does.
    """
    names = display_names([record.entry.name for record in records], registry)
    found: list[tuple[str, Sequence[Block]]] = []
    for record in records:
        counted = record.complexity
        blocks = counted.blocks if isinstance(counted, Complexity) else ()
        if not isinstance(blocks, Absent) and len(blocks) > 1:
            found.append((names[record.entry.name], blocks))
    if not found:
        message = "no run tells what its blocks cost"
        raise UsageError(message, advice="Run the entries again by `esrbench run`.")
    return found


def panels_of(
    records: Sequence[RunRecord],
    store: Store,
    crop: Crop,
    data_digest: str,
    names: Mapping[str, str],
) -> list[Panel]:
    """HR and every entry that kept a crop, with the scores of the whole image.

    The caption of HR says which scores they are.

    Args:
        records: of one data set.
        store: which holds the crops.
        crop: which one.
        data_digest: of the data set.
        names: what the figure calls entries, where not by their names.
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


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of its file name.

    Raises:
        UsageError: another format than ``FORMATS``, the file cannot be written, or PGF without
            pdflatex, which measures its texts.
    """
    form = path.suffix.removeprefix(".").lower()
    if form not in FORMATS:
        message = f"{path}: expected a name that ends in .{', .'.join(FORMATS)}"
        raise UsageError(message, advice="For example -o figure.pdf.")
    # Metadata of a file about the time when it was made.
    dates: dict[str, Any] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    options = {"metadata": dates[form]} if form in dates else {}
    import matplotlib as mpl
    from matplotlib.text import Text

    texts: list[Any] = figure.findobj(Text) if form == "pgf" else []
    shown = [text.get_text() for text in texts]
    try:
        with mpl.rc_context(STYLE):
            # PGF files are LaTeX, which would obey a name.
            for text, plain in zip(texts, shown, strict=True):
                text.set_text("\n".join(map(latex_text, plain.split("\n"))))
            figure.savefig(path, format=form, **options)
    except RuntimeError as error:
        message = f"{path}: pdflatex, which measures texts of .pgf files, failed or is missing"
        raise UsageError(message, advice="Install TeX Live, or write a .pdf file.") from error
    except OSError as error:
        message = f"{path}: cannot be written: {error.strerror or error}"
        raise UsageError(message, advice="Give -o a file in a folder that is there.") from error
    finally:
        for text, plain in zip(texts, shown, strict=True):
            text.set_text(plain)


def save_tabular(
    panels: Sequence[Panel], path: Path, *, whole: Panel | None, box: Crop, columns: int = 2
) -> None:
    """Write crops as a LaTeX ``tabular``, so that captions have the font of the paper.

    The pictures are lossless PNG files in a folder beside it, which has the name of the file.

    Args:
        panels: HR first.
        path: of the file, ``NAME.tex``.
        whole: the image around the crop, or None to leave it out.
        box: the crop, drawn in the whole image.
        columns: of the article that it is as wide as, 1 or 2; in one, the whole image stands above.

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
        told = [latex_text(_short(panel.label)) + mark, latex_text(panel.caption)]
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
        for note in _weights_notes([panel.weights for panel in panels]):
            mark = latex.MARKUP.marks[note.mark]
            lines.append(rf"\par {mark} {latex_text(note.text)}")
        path.write_text("\n".join([*lines, r"\endgroup"]) + "\n")
    except OSError as error:
        message = f"{path}: cannot be written: {error.strerror or error}"
        raise UsageError(message, advice="Give -o a file in a folder that is there.") from error


def _boxed(pixels: npt.NDArray[np.uint8], box: Crop) -> npt.NDArray[np.uint8]:
    """An image with the crop's outline, as wide as 1/200 of the image, between white ones."""
    import cv2

    red, green, blue = (int(ORANGE[at : at + 2], 16) for at in (1, 3, 5))
    ends = (box.left, box.top), (box.left + box.width - 1, box.top + box.height - 1)
    thick = max(2, pixels.shape[1] // 200)
    boxed = cv2.rectangle(pixels.copy(), *ends, (255, 255, 255), 2 * thick)
    return np.asarray(cv2.rectangle(boxed, *ends, (red, green, blue), thick), np.uint8)


@contextmanager
def _styled(width: float, height: float) -> Iterator[Figure]:
    """A figure of a size in inches, and ``STYLE`` while it is drawn: nobody else's settings change.

    Raises:
        UsageError: matplotlib is missing.
    """
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        message = "figures need matplotlib, which is not installed"
        raise UsageError(message, advice="Install it: pip install 'esrbench[figures]'.") from error
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)  # measures texts
        yield figure


def _points(comparison: Comparison, x: Metric, y: Metric, area: Metric | None) -> list[Point]:
    points = []
    for number, line in enumerate(comparison.lines):
        across, up, *rest = line.cells
        if not isinstance(across, CellValue) or not isinstance(up, CellValue):
            continue
        if line.role == "floor" and not across.value:
            continue  # interpolation costs nothing, which no logarithmic axis can show
        size = rest[0] if rest else None
        points.append(
            Point(
                number,
                _short(line.display_name) + DAGGERS[MARKS.get(line.weights, "")],
                across.value / x.divisor,
                up.value / y.divisor,
                size.value / area.divisor if area and isinstance(size, CellValue) else None,
                _ends(across, x),
                _ends(up, y),
                ranked=line.role != "floor",
            )
        )
    if not points:
        message = f"no entry has both {x.label} and {y.label}"
        raise UsageError(message, advice="Measure some, or add --published.")
    return points


def _axes(figure: Figure, points: Sequence[Point], x: Metric, y: Metric) -> Any:
    """Axes with headings; that of what counts in multiples is logarithmic where ends are far."""
    axes: Any = figure.add_subplot()
    axes.set_xlabel(x.heading)
    axes.set_ylabel(y.heading)
    axes.grid(visible=True, color="0.9", lw=0.5)
    axes.set_axisbelow(True)
    axes.scatter([p.x for p in points], [p.y for p in points], s=0)  # for the limits
    for values, metric, scale in (
        ([p.x for p in points], x, axes.set_xscale),
        ([p.y for p in points], y, axes.set_yscale),
    ):
        positive = metric.better == "lower" and min(values) > 0
        if positive and max(values) / min(values) >= LOG_RATIO:
            scale("log")
    axes.margins(0.16)
    _round_ticks(axes)
    return axes


def _draw(
    axes: Any, points: Sequence[Point], best: Sequence[Point], own: Container[int]
) -> dict[Point, float]:
    """Markers and intervals; what is not on the front is pale, and own entries are stars.

    Returns:
        Radius of each point's marker, in typographic points.
    """
    radii = {}
    largest = max((p.area for p in points if p.area is not None), default=0.0)
    for point in points:
        size = 60.0
        if point.area is not None and largest:
            size = max(LEAST_AREA, MOST_AREA * point.area / largest)
        mine = point.entry in own
        size = max(size, 90.0) if mine else size
        radii[point] = math.sqrt(size) / 2
        axes.scatter(
            [point.x],
            [point.y],
            s=size,
            marker="*" if mine else "o",
            color=ORANGE if mine else BLUE,
            alpha=1.0 if mine or point in best else 0.35,
            edgecolors="black",
            linewidths=0.5,
            zorder=3,
        )
        for interval, at in ((point.x_interval, "x"), (point.y_interval, "y")):
            if interval is not None:
                across = at == "x"
                draw = axes.hlines if across else axes.vlines
                draw(point.y if across else point.x, *interval, color="black", lw=0.7, zorder=2)
    return radii


def notes_below(comparison: Comparison) -> list[Note]:
    """Text for the caption of a chart: the notes of the table, and the entries that are not drawn.

    Args:
        comparison: as the chart takes it: the metrics across and up come first.
    """
    across, up = (METRICS[column.metric] for column in comparison.columns[:2])
    drawn = {point.entry for point in _points(comparison, across, up, None)}
    left_out = []
    for number, line in enumerate(comparison.lines):
        cells = zip((across, up), line.cells, strict=False)
        absent = {metric: cell for metric, cell in cells if isinstance(cell, Absent)}
        if number in drawn or any(cell.kind == "failed" for cell in absent.values()):
            continue  # the notes of the table say what failed
        reasons = [f"{metric.label}: {cell.reason}" for metric, cell in absent.items()]
        told = "; ".join(reasons) or f"{across.label} is 0"
        left_out.append(f"{line.display_name} ({told})")
    notes = [note for note in comparison.notes if note.mark != "published"]
    return [*notes, *([Note(f"Not drawn: {', '.join(left_out)}.")] if left_out else [])]


def _weights(comparison: Comparison, points: Sequence[Point]) -> list[str | None]:
    return [comparison.lines[point.entry].weights for point in points]


def _weights_notes(sources: Sequence[str | None]) -> list[Note]:
    """Notes on weights that a reader must know, by the marks behind names."""
    return [Note(f"{said}.", each) for each, said in WEIGHTS_NOTES.items() if each in sources]


def _key(figure: Figure, weights: Sequence[str | None], told: Sequence[str] = ()) -> None:
    """Below the figure: what is told, and what the marks behind names mean."""
    lines = [*told, *(f"{DAGGERS[n.mark]} {n.text}" for n in _weights_notes(weights))]
    if lines:
        figure.supxlabel("\n".join(lines), fontsize=6, color="0.35")


def _ends(cell: CellValue, metric: Metric) -> tuple[float, float] | None:
    interval = cell.interval
    return (
        None
        if interval is None
        else (interval.low / metric.divisor, interval.high / metric.divisor)
    )


def _round_ticks(axes: Any) -> None:
    """Plain numbers that do not touch.

    On logarithmic axes powers of ten, and multiples of them where these are few.
    """
    from matplotlib import ticker

    for each, scale in ((axes.xaxis, axes.get_xscale()), (axes.yaxis, axes.get_yscale())):
        if scale == "log":
            low, high = each.get_view_interval()
            each.set_major_locator(ticker.LogLocator(subs=_multiples(low, high)))
            each.set_major_formatter(ticker.FormatStrFormatter("%g"))
            each.set_minor_formatter(ticker.NullFormatter())
        elif each is axes.xaxis:  # room for numbers such as 0.01225
            each.set_major_locator(ticker.MaxNLocator(int(1.3 * axes.figure.get_figwidth())))


def _multiples(low: float, high: float) -> tuple[float, ...]:
    """Multiples of powers of ten, at least three of them, as ticks of a logarithmic axis."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        shown = [f * 10.0**power for power in powers for f in factors]
        if sum(low <= tick <= high for tick in shown) >= FEWEST_TICKS:
            break
    return factors


def _short(name: str) -> str:
    return (
        name
        if len(name) <= NAME_CHARACTERS
        else f"{name[: NAME_CHARACTERS - 1]}\N{HORIZONTAL ELLIPSIS}"
    )


def _picture(axes: Any, panel: Panel) -> None:
    axes.imshow(panel.pixels, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    label = _short(panel.label) + DAGGERS[MARKS.get(panel.weights, "")]
    caption = f"{label}\n{panel.caption}" if panel.caption else label
    axes.set_xlabel(caption, fontsize=7, labelpad=2)
