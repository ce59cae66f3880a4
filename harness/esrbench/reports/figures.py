"""Charts for papers by matplotlib: trade-offs, ablations, and where the cost lies.

In grey, markers and lines show the same differences as colours.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from esrbench.data.datasets import name_in_records
from esrbench.errors import UsageError
from esrbench.metrics import METRICS
from esrbench.records import Absent, Complexity
from esrbench.reports.comparing import build_comparison, display_names
from esrbench.reports.comparison import CellValue, with_columns
from esrbench.reports.comparison_sources import Wanted
from esrbench.reports.details import OUTSIDE, block_shares
from esrbench.reports.figure_style import (
    BLUE,
    GREY,
    ORANGE,
    WIDTHS,
    marked_name,
    marks_below,
    short_name,
    styled,
)
from esrbench.reports.labels import name_points
from esrbench.reports.page.axes import FEWEST_TICKS, LOG_RATIO, Point, front
from esrbench.reports.table import Note

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from matplotlib.figure import Figure

    from esrbench.entries.registry import Registry
    from esrbench.metrics import Metric
    from esrbench.records import Block, RunRecord
    from esrbench.reports.comparison import Comparison

HEIGHTS: Final = {1: 2.4, 2: 3.4}
"""Inches of figures of one and two columns."""
LEAST_AREA, MOST_AREA = 25.0, 350.0
"""Areas of a marker, in square typographic points."""
MOST_BLOCKS: Final = 14
"""Largest number of drawn blocks of an entry; beyond it, the smallest are drawn as one."""
COSTS: Final[dict[str, tuple[str, str, Callable[[Block], int]]]] = {
    "MACs": (BLUE, "", lambda block: block.macs),
    "activations": (ORANGE, "////", lambda block: block.activations),
    "memory written": (GREY, "....", lambda block: block.allocated_bytes),
}
"""Colour, hatching and figure of each cost of a block."""


def compare_for_chart(
    records: Sequence[RunRecord],
    registry: Registry,
    metrics: Sequence[str],
    *,
    entries: Sequence[str] = (),
    data: str | None = None,
    scale: int | None = None,
    forward_class: str | None = None,
    published: bool = False,
) -> Comparison:
    """Compare entries on one data set and scale by the metrics of a chart, in their order.

    Args:
        records: of any data set and scale.
        registry: knows scales and published figures.
        metrics: keys of ``METRICS``: horizontal, vertical, and area.
        entries: names; all with records if left out.
        data: name of a data set; that of the newest record if left out.
        scale: upscaling factor; that of the newest record if left out.
        forward_class: label of a ``ForwardPolicy``; None for the newest run's.
        published: published figures of networks that were not run.

    Raises:
        UsageError: as in ``build_comparison``.
    """
    newest = max(records, key=lambda record: record.created, default=None)
    columns = tuple(dict.fromkeys(metrics))
    wanted = Wanted(
        entries=tuple(entries),
        data=(name_in_records(data) if data else newest.data.name if newest else "urban100",),
        scales=(scale or (newest.entry.scale if newest else 4),),
        columns=columns,
        forward_class=forward_class,
        published=published,
    )
    return with_columns(build_comparison(records, wanted, registry), columns)


def pareto(
    comparison: Comparison, *, own: Sequence[str] = (), columns: int = 1, title: str = ""
) -> Figure:
    """Entries by two metrics, with a third one as area.

    Args:
        comparison: one scale, with two or three columns: horizontal, vertical, and area.
        own: entries that are drawn as stars; if left out, those that ran here, provided that the
            chart also has published ones.
        columns: width of the figure in columns of the article, 1 or 2.
        title: title above it.

    Raises:
        UsageError: matplotlib is missing, no entry has both metrics, or no such entry has the
            third one.
    """
    x, y, *rest = (METRICS[column.metric] for column in comparison.columns)
    area = rest[0] if rest else None
    points = _points(comparison, x, y, area)
    if area is not None and all(point.area is None for point in points):
        message = f"no entry with {x.label} and {y.label} has {area.label}, the area"
        raise UsageError(message, advice="Choose another metric as area, or none.")
    best = front(points, x_higher=x.better == "higher", y_higher=y.better == "higher")
    with styled(WIDTHS[columns], HEIGHTS[columns]) as figure:
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
        marks_below(figure, _weights(comparison, points), [f"Area: {area.label}"] if area else [])
        name_points(figure, axes, {point: point.name for point in points}, line, radii)
        return figure


def ablation(comparison: Comparison, *, columns: int = 1, title: str = "") -> Figure:
    """Variants of one network by two metrics, with an arrow from their parent to each.

    Args:
        comparison: one scale, with two columns: horizontal and vertical; the parent comes first.
        columns: width of the figure in columns of the article, 1 or 2.
        title: title above it.

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
        advice = "Measure the parent and its variants by `esrbench run`."
        raise UsageError(message, advice=_measuring(comparison, advice))
    with styled(WIDTHS[columns], HEIGHTS[columns]) as figure:
        axes = _axes(figure, [parent, *variants], x, y)
        arrow = {"arrowstyle": "-|>", "color": "0.35", "lw": 0.8, "shrinkA": 5, "shrinkB": 5}
        for point in variants:
            ends = {"xy": (point.x, point.y), "xytext": (parent.x, parent.y)}
            axes.annotate("", **ends, arrowprops=arrow, zorder=2)
        radii = _draw(axes, [parent, *variants], [parent, *variants], {parent.entry})
        if title:
            axes.set_title(title)
        marks_below(figure, _weights(comparison, [parent, *variants]))
        labels = {parent: parent.name}
        ends_of_arrows = []
        for point in variants:
            # Adding 0.0 removes the minus of a negative zero.
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
        entries: names, and blocks as in records: the network first.
        columns: width of the figure in columns of the article, 1 or 2.
        title: title above it.

    Raises:
        UsageError: matplotlib is missing.
    """
    shares = {name: _shares(blocks) for name, blocks in entries}
    rows = [len(each) for each in shares.values()]
    height = 0.22 * sum(rows) + 0.3 * len(rows) + 0.55
    with styled(WIDTHS[columns], height) as figure:
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
            axes.set_yticks(range(len(each)), map(short_name, each), fontsize=7)
            axes.set_ylim(len(each) - 0.4, -0.6)
            axes.grid(visible=True, axis="x", color="0.9", lw=0.5)
            axes.set_axisbelow(True)
            axes.set_title(short_name(name), fontsize=8)
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


def blocks_of(
    records: Sequence[RunRecord], registry: Registry
) -> list[tuple[str, Sequence[Block]]]:
    """Display names and blocks of the entries whose records have blocks.

    Raises:
        UsageError: no record has blocks.
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


def _points(comparison: Comparison, x: Metric, y: Metric, area: Metric | None) -> list[Point]:
    points = []
    for number, line in enumerate(comparison.lines):
        across, up, *rest = line.cells
        if not isinstance(across, CellValue) or not isinstance(up, CellValue):
            continue
        if line.role == "floor" and not across.value:
            continue  # interpolation costs 0, which a logarithmic axis cannot show
        size = rest[0] if rest else None
        points.append(
            Point(
                number,
                marked_name(line.display_name, line.weights),
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
        advice = "Run entries with `esrbench run`, or add --published."
        raise UsageError(message, advice=_measuring(comparison, advice))
    return points


def _measuring(comparison: Comparison, otherwise: str) -> str:
    """Advice with the commands that measure what is missing, or other advice without any."""
    if not comparison.commands:
        return otherwise
    return "\n".join(["Measure first:", *comparison.commands])


def _axes(figure: Figure, points: Sequence[Point], x: Metric, y: Metric) -> Any:
    """Axes with headings; an axis of counts, times or bytes is logarithmic if its range is wide."""
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
    """Markers and intervals. Entries that are not on the front are pale; own entries are stars.

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
    """Notes for the caption of a chart: those of the table, and the entries that are not drawn.

    Args:
        comparison: the comparison of the chart: horizontal and vertical metric come first.
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
    # Charts do not mark published and claimed figures; the note on claims names the entries.
    notes = [
        Note(note.text) if note.mark == "claimed" else note
        for note in comparison.notes
        if note.mark != "published"
    ]
    return [*notes, *([Note(f"Not drawn: {', '.join(left_out)}.")] if left_out else [])]


def _weights(comparison: Comparison, points: Sequence[Point]) -> list[str | None]:
    return [comparison.lines[point.entry].weights for point in points]


def _ends(cell: CellValue, metric: Metric) -> tuple[float, float] | None:
    interval = cell.interval
    return (
        None
        if interval is None
        else (interval.low / metric.divisor, interval.high / metric.divisor)
    )


def _round_ticks(axes: Any) -> None:
    """Set ticks with plain numbers that do not touch.

    A logarithmic axis has powers of ten; if these are few, it has multiples of them too.
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
