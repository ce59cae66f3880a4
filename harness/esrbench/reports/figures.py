"""Figures of papers by matplotlib: trade-offs of entries, and the same crop by several of them.

Equal data give equal bytes: no dates, no random names, fixed fonts. Text is embedded as TrueType
(type 42), which publishers ask for. Colours are those of Okabe and Ito, which colour-blind readers
can tell apart; markers and lines tell them apart in grey.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from esrbench.errors import UsageError
from esrbench.metrics import METRICS
from esrbench.records import Quality
from esrbench.reports.comparison import CellValue
from esrbench.reports.page.charts import LOG_RATIO, Point, front

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt
    from matplotlib.figure import Figure

    from esrbench.data.crops import Crop
    from esrbench.metrics import Metric
    from esrbench.records import RunRecord
    from esrbench.reports.comparison import Comparison
    from esrbench.runs.store import Store

WIDTHS: Final = {1: 3.25, 2: 6.875}
"""Inches of one and two columns of a two-column article."""
FORMATS: Final = ("pdf", "svg", "png", "pgf")
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#999999"
STYLE: Any = {
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "esrbench",
    "font.size": 8,
    "axes.linewidth": 0.6,
    "savefig.dpi": 300,
}
LEAST_AREA, MOST_AREA = 25.0, 350.0
"""Of a marker, in square points."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of a figure of crops.

    Attributes:
        label: name of the entry, or HR.
        caption: its scores, or empty.
        pixels: uint8 (H, W, 3) RGB.
    """

    label: str
    caption: str
    pixels: npt.NDArray[np.uint8]


def pareto(
    comparison: Comparison, *, own: Sequence[str] = (), columns: int = 1, title: str = ""
) -> Figure:
    """Entries by two metrics, a third one as area.

    Args:
        comparison: at one scale, with two or three columns: across, up, and area.
        own: entries that are drawn as stars.
        columns: of the article that the figure is as wide as, 1 or 2.
        title: above it.

    Raises:
        UsageError: matplotlib is missing, or no entry has both metrics.
    """
    x, y, *rest = (METRICS[column.metric] for column in comparison.columns)
    area = rest[0] if rest else None
    points = _points(comparison, x, y, area)
    if not points:
        message = f"no entry has both {x.label} and {y.label}"
        raise UsageError(message, advice="Measure some, or add --published.")
    best = front(points, x_higher=x.better == "higher", y_higher=y.better == "higher")
    with _styled(WIDTHS[columns], WIDTHS[columns] * 0.75) as figure:
        axes = figure.add_subplot()
        if len(best) > 1:
            axes.plot([p.x for p in best], [p.y for p in best], "--", color=GREY, lw=0.8, zorder=1)
        _draw(axes, points, best, own)
        for values, metric, scale in (
            ([p.x for p in points], x, axes.set_xscale),
            ([p.y for p in points], y, axes.set_yscale),
        ):
            if (
                metric.better == "lower"
                and min(values) > 0
                and max(values) / min(values) >= LOG_RATIO
            ):
                scale("log")
        axes.set_xlabel(x.heading)
        axes.set_ylabel(y.heading)
        axes.margins(0.16)
        axes.grid(visible=True, color="0.9", lw=0.5)
        axes.set_axisbelow(True)
        _round_ticks(axes)
        if title:
            axes.set_title(title)
        if area is not None and any(point.area is not None for point in points):
            note = f"area: {area.label}"
            axes.text(
                0.98, 0.02, note, transform=axes.transAxes, ha="right", va="bottom", color="0.35"
            )
        _name(figure, axes, points)
        return figure


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
    share = 0.36 if whole is not None else 0.0
    cell = width * (1 - share) / across
    height = 2 * (cell * box.height / box.width + 0.3)
    with _styled(width, height) as figure:
        grid = figure.add_gridspec(1, 2, width_ratios=(max(share, 1e-3), 1 - share))
        if whole is not None:
            axes = figure.add_subplot(grid[0])
            _picture(axes, whole)
            corner, size = (box.left, box.top), (box.width, box.height)
            axes.add_patch(_rectangle(corner, *size))
        inner = grid[1].subgridspec(2, across)
        for number, panel in enumerate(panels):
            _picture(figure.add_subplot(inner[number // across, number % across]), panel)
        return figure


def panels_of(
    records: Sequence[RunRecord], store: Store, crop: Crop, data_digest: str
) -> list[Panel]:
    """HR and every entry that kept a crop, with the scores of the whole image."""
    import cv2

    places = [("HR", "", store.crops_of(data_digest) / "HR")]
    for record in records:
        scores = record.quality.images if isinstance(record.quality, Quality) else ()
        found = next((score for score in scores if score.image == crop.image), None)
        caption = ""
        if found is not None and found.psnr_rgb is not None:
            caption = f"{found.psnr_rgb:.2f}/{found.ssim_y:.4f}"
        places.append((record.entry.name, caption, store.crops_of(record.fingerprint)))
    panels = []
    for label, caption, folder in places:
        pixels = cv2.imread(str(folder / crop.filename), cv2.IMREAD_COLOR_RGB)
        if pixels is not None:
            panels.append(Panel(label, caption, np.asarray(pixels, np.uint8)))
    return panels


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of its file name.

    Raises:
        UsageError: another format than ``FORMATS``, or the file cannot be written.
    """
    form = path.suffix.removeprefix(".").lower()
    if form not in FORMATS:
        message = f"{path}: expected a name that ends in .{', .'.join(FORMATS)}"
        raise UsageError(message, advice="For example -o figure.pdf.")
    # What a file says of the moment at which it was made.
    dates = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(form)
    import matplotlib as mpl

    try:
        with mpl.rc_context(STYLE):
            figure.savefig(path, format=form, metadata=dates)
    except OSError as error:
        message = f"{path}: cannot be written: {error.strerror or error}"
        raise UsageError(message, advice="Give -o a file in a folder that is there.") from error


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
        size = rest[0] if rest else None
        points.append(
            Point(
                number,
                line.display_name,
                across.value / x.divisor,
                up.value / y.divisor,
                size.value / area.divisor if area and isinstance(size, CellValue) else None,
                _ends(across, x),
                _ends(up, y),
                ranked=line.role != "floor",
            )
        )
    return points


def _draw(axes: Any, points: Sequence[Point], best: Sequence[Point], own: Sequence[str]) -> None:
    """Markers and intervals; what is not on the front is pale."""
    largest = max((p.area for p in points if p.area is not None), default=0.0)
    for point in points:
        size = 60.0
        if point.area is not None and largest:
            size = max(LEAST_AREA, MOST_AREA * point.area / largest)
        mine = point.name in own
        axes.scatter(
            [point.x],
            [point.y],
            s=max(size, 90.0) if mine else size,
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


def _ends(cell: CellValue, metric: Metric) -> tuple[float, float] | None:
    interval = cell.interval
    return (
        None
        if interval is None
        else (interval.low / metric.divisor, interval.high / metric.divisor)
    )


def _round_ticks(axes: Any) -> None:
    """Plain numbers on logarithmic axes: 1, 2 and 5 in each decade, or 1 where there are many."""
    from matplotlib import ticker

    for each, scale in ((axes.xaxis, axes.get_xscale()), (axes.yaxis, axes.get_yscale())):
        if scale == "log":
            low, high = each.get_view_interval()
            each.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,)))
            each.set_major_formatter(ticker.FormatStrFormatter("%g"))
            each.set_minor_formatter(ticker.NullFormatter())


def _name(figure: Figure, axes: Any, points: Sequence[Point]) -> None:
    """Names beside their points, where neither another name nor a point is in the way."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    markers = [axes.transData.transform((point.x, point.y)) for point in points]
    taken = [(x - 8, y - 8, x + 8, y + 8) for x, y in markers]
    inside = axes.get_window_extent(renderer)
    for point in sorted(points, key=lambda each: each.x):
        best: tuple[int, Any] | None = None
        for offset, ha, va in (
            ((9, 0), "left", "center"),
            ((-9, 0), "right", "center"),
            ((0, 10), "center", "bottom"),
            ((0, -10), "center", "top"),
        ):
            label = axes.annotate(
                point.name,
                (point.x, point.y),
                xytext=offset,
                textcoords="offset points",
                ha=ha,
                va=va,
                fontsize=7,
                zorder=4,
            )
            box = label.get_window_extent(renderer).extents
            clashes = sum(
                box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]
                for other in taken
            )
            clashes += 3 * (box[0] < inside.x0 or box[2] > inside.x1)
            if best is None or clashes < best[0]:
                if best is not None:
                    best[1].remove()
                best = (clashes, label)
            else:
                label.remove()
        if best is not None:
            taken.append(tuple(best[1].get_window_extent(renderer).extents))


def _picture(axes: Any, panel: Panel) -> None:
    axes.imshow(panel.pixels, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    caption = f"{panel.label}\n{panel.caption}" if panel.caption else panel.label
    axes.set_xlabel(caption, fontsize=7, labelpad=2)


def _rectangle(corner: tuple[int, int], width: int, height: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(corner, width, height, fill=False, edgecolor=ORANGE, linewidth=1.2)
