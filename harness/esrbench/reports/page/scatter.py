"""The chart of entries by two metrics, as SVG and as data for the script.

For other axes the script moves what is drawn here. It computes no scale, tick, area or front:
``Scale`` and ``front`` have them for every metric. It places names as ``_label`` does.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, Final

from esrbench.plaintext import shortened
from esrbench.reports.formats.html import html_text
from esrbench.reports.page.axes import LEAST_RADIUS, front_of
from esrbench.reports.page.charts import BOTTOM, LEFT, RIGHT, TOP, WIDTH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from esrbench.reports.page.axes import Scale

HEIGHT: Final = 440
LABEL_HEIGHT: Final = 14
LABEL_LETTERS: Final = (22, 12, 8)
"""Largest numbers of letters of a name in a chart; the smaller ones are for a crowded front."""
LETTER_WIDTH: Final = 9
"""About what a letter takes at the labels' size."""
LABEL_END: Final = WIDTH - 2
"""Pixel at which names end at the latest."""


def chart_data(scales: Sequence[Scale], ranked: Sequence[bool]) -> dict[str, Any]:
    """The data that the script needs to draw any two metrics and a third one as area."""
    entries = range(len(ranked))
    return {
        "frame": [LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM, TOP],
        "radius": LEAST_RADIUS,
        "labels": {
            "letters": LABEL_LETTERS,
            "letter": LETTER_WIDTH,
            "height": LABEL_HEIGHT,
            "right": LABEL_END,
        },
        "metrics": [
            {
                "heading": scale.metric.heading,
                "log": scale.axis.log,
                "scales": [_scale_data(each) for each in scale.either_way()],
                "radii": [round(scale.radius(n), 1) for n in entries],
                "says": [scale.says(n) for n in entries],
            }
            for scale in scales
        ],
        # The front of two metrics is the same on exchanged axes.
        "fronts": [
            [front_of(scales[one], scales[other], ranked) for other in range(one)]
            for one in range(len(scales))
        ],
    }


def _scale_data(scale: Scale | None) -> dict[str, Any] | None:
    """Positions of the ticks and the entries on an axis, 0 to 1."""
    if scale is None:
        return None
    placed = (scale.shares(entry) for entry in range(len(scale.readings)))
    return {
        "ticks": [(round(at, 4), text) for at, text in scale.ticks()],
        "shares": [[round(at, 4) for at in each] if each else None for each in placed],
    }


def scatter(
    names: Sequence[str], ranked: Sequence[bool], x: Scale, y: Scale, area: Scale | None
) -> str:
    """Entries by two metrics, a third as area, intervals as bars, the Pareto front as a line.

    Entries that lack one of the metrics are included without a place; the script may move them.
    """
    best = front_of(x, y, ranked)
    title = f"{y.metric.heading} against {x.metric.heading}"
    if area is not None:
        title += f", area in proportion to {area.metric.heading}"
    line_of_best = "".join(
        f"{'L' if index else 'M'}{_pixel(x, entry)[0]:.1f} {_pixel(y, entry, up=True)[0]:.1f}"
        for index, entry in enumerate(best)
    )
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="{html_text(title)}">',
        *_frame(x, y),
        f'<path class="front" d="{line_of_best}"/>',
    ]
    sizes = {n: LEAST_RADIUS if area is None else area.radius(n) for n in range(len(names))}
    centres = {
        n: (across[0], up[0])
        for n in sizes
        if (across := _pixel(x, n)) and (up := _pixel(y, n, up=True))
    }
    # Names cover no points; entries on the front choose their place first.
    taken = [
        (cx - r, cy - r, cx + r, cy + r) for n, (cx, cy) in centres.items() for r in [sizes[n]]
    ]
    labels = {
        n: _label(names[n], centres[n], sizes[n], taken, LABEL_LETTERS[: None if n in best else 1])
        for n in sorted(centres, key=lambda n: (n not in best, -sizes[n]))
    }
    for entry in sorted(sizes, key=lambda entry: -sizes[entry]):
        kind = "point" if entry in best else "point dominated"
        says, intervals, centre = "", "", (0.0, 0.0)
        if entry in centres:
            centre = centres[entry]
            figures = [scale.says(entry) for scale in (x, y, area) if scale and scale.says(entry)]
            says = f"{names[entry]}: {', '.join(figures)}"
            intervals = _bars(_pixel(x, entry), _pixel(y, entry, up=True))
        else:
            kind += " absent"
        parts.append(
            f'<a href="#entry-{entry}" data-entry="{entry}" class="{kind}">'
            f"<title>{html_text(says)}</title>"
            f'<path class="interval" d="{intervals}"/>'
            f'<circle cx="{centre[0]:.1f}" cy="{centre[1]:.1f}" r="{sizes[entry]:.1f}"/>'
            f"{labels.get(entry) or _hidden_label(names[entry])}</a>"
        )
    return "\n".join([*parts, "</svg>"])


def _pixel(scale: Scale, entry: int, *, up: bool = False) -> tuple[float, ...]:
    """Pixels of an entry and of the ends of its interval; empty if it has no value."""
    start, end = (HEIGHT - BOTTOM, TOP) if up else (LEFT, WIDTH - RIGHT)
    return tuple(start + share * (end - start) for share in scale.shares(entry) or ())


def _frame(x: Scale, y: Scale) -> Iterator[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    yield '<g class="ticks">'
    for share, text in x.ticks():
        at = LEFT + share * (right - LEFT)
        yield f'<path class="grid" d="M{at:.1f} {TOP}V{bottom}"/>'
        yield f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{text}</text>'
    for share, text in y.ticks():
        at = bottom + share * (TOP - bottom)
        yield f'<path class="grid" d="M{LEFT} {at:.1f}H{right}"/>'
        yield f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{text}</text>'
    yield f'</g><path class="frame" d="M{LEFT} {TOP}V{bottom}H{right}"/>'
    yield (
        f'<text class="title across" x="{(LEFT + right) / 2}" y="{HEIGHT - 10}" '
        f'text-anchor="middle">{html_text(x.metric.heading)}</text>'
    )
    yield (
        f'<text class="title up" transform="translate(14 {(TOP + bottom) / 2}) rotate(-90)" '
        f'text-anchor="middle">{html_text(y.metric.heading)}</text>'
    )


def _bars(across: Sequence[float], up: Sequence[float]) -> str:
    """The intervals of a point."""
    parts = []
    if len(across) > 1:
        parts.append(f"M{across[1]:.1f} {up[0]:.1f}H{across[2]:.1f}")
    if len(up) > 1:
        parts.append(f"M{across[0]:.1f} {up[1]:.1f}V{up[2]:.1f}")
    return "".join(parts)


def _label(
    name: str,
    centre: tuple[float, float],
    radius: float,
    taken: list[tuple[float, float, float, float]],
    letters: Sequence[int],
) -> str:
    """The name beside its point, if there is room; the point's title has it in any case."""
    x, y = centre
    above, below = y - radius - 3, y + radius + 13
    places = [(x + radius + 4, y + 4, "start"), (x - radius - 4, y + 4, "end")]
    for at, anchor in ((x, "middle"), (x - radius, "start"), (x + radius, "end")):
        places += [(at, above, anchor), (at, below, anchor)]
    texts = dict.fromkeys(shortened(name, most) for most in letters)
    for text, (at, base, anchor) in product(texts, places):
        width = LETTER_WIDTH * len(text)
        left = at - width * {"start": 0, "middle": 0.5, "end": 1}[anchor]
        box = (left, base - LABEL_HEIGHT, left + width, base)
        inside = box[0] >= LEFT and box[2] <= LABEL_END and box[1] >= 0
        if inside and not any(_overlap(box, other) for other in taken):
            taken.append(box)
            return (
                f'<text x="{at:.1f}" y="{base:.1f}" text-anchor="{anchor}">{html_text(text)}</text>'
            )
    return ""


def _hidden_label(name: str) -> str:
    """A name without a place, for the script to move."""
    return f'<text class="crowded">{html_text(shortened(name, LABEL_LETTERS[0]))}</text>'


def _overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
