"""The page as HTML: a template filled with tables and charts, one style sheet, one script.

The browser may load nothing: a content security policy names the hashes of the style sheet and of
the script, and no other source. Text from entries is made safe to show before it is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from esrbench.data.crops import RULE
from esrbench.plaintext import line
from esrbench.reports.formats import csv, latex, markdown
from esrbench.reports.formats.html import MARKUP
from esrbench.reports.leaderboard import leaderboard_table
from esrbench.reports.page import charts, contents
from esrbench.reports.table import CELL_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.ranking.board import Leaderboard
    from esrbench.records import RunRecord
    from esrbench.reports.page.contents import Claims
    from esrbench.reports.table import Cell
    from esrbench.runs.store import Store

UNSAFE = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}
"""What a JSON document within HTML must not hold as it is: it could end the element around it."""


def report_page(
    board: Leaderboard,
    records: Sequence[RunRecord],
    *,
    store: Store | None = None,
    claims: Claims | None = None,
    title: str | None = None,
) -> str:
    """A self-contained HTML document.

    Args:
        board: what is ranked.
        records: those of the board, and others on the same data, which are shown as left out.
        store: holds the crops of SR images; without one there are none.
        claims: figures that authors state, in base units, by entry and metric.
        title: of the document; that of the board if None.
    """
    shown = contents.own_records(board, records)
    table = leaderboard_table(board)
    metrics = contents.chart_metrics(board)
    axes = contents.chart_axes(metrics)
    cost_table, drawn = contents.costs(board, shown)
    crops, missing = contents.crops(shown, store) if store else ([], [])
    style, script = _asset("page.css"), _asset("page.js")
    data = {
        "chart": contents.chart_data(board, metrics),
        "axes": [metrics.index(each) if each else -1 for each in axes] if axes else [],
        "copies": {
            "LaTeX": latex.render(table),
            "Markdown": markdown.render(table),
            "CSV": csv.render(table),
        },
    }
    page: str = _template().render(
        title=title or board.title,
        board=board,
        table=table,
        rows=contents.rows_of(board),
        scatter=_svg(charts.scatter(contents.points(board, *axes), *axes)) if axes else "",
        entries=contents.entries_table(board, shown, claims or {}),
        images=contents.images_table(board, shown),
        crops=crops,
        crop_rule=RULE,
        missing=missing,
        costs=cost_table if shown else None,
        cost_bars=[
            (metric.heading, _svg(charts.bars(_values(shown, metric.key), metric)))
            for metric in drawn
        ],
        times=[_drawn(each) for each in contents.times(shown)],
        left_out=contents.left_out(board, records),
        machine=contents.machine(shown[0]) if shown else (),
        command=contents.command(shown) if shown else "",
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        hashes={"style": _sha256(style), "script": _sha256(script)},
        data=Markup(json.dumps(data).translate(UNSAFE)),  # noqa: S704 - escaped here
    )
    return page


def _template() -> Any:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["cell"] = _cell
    return environment.from_string(_asset("page.html"))


def _shown(value: object) -> object:
    """Text as one visible line; what is HTML already stays."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return line(value, CELL_CHARACTERS)
    return value


def _cell(cell: Cell) -> Markup:
    return Markup(MARKUP.cell(cell))  # noqa: S704 - escapes what it is given


def _svg(drawing: str) -> Markup:
    return Markup(drawing)  # noqa: S704 - the charts escape their texts


def _drawn(times: contents.Times) -> dict[str, Any]:
    """Charts of an entry's times."""
    series = {
        "Rounds at the fixed input, in order [ms]": times.fixed,
        "Warm-up before them [ms]": times.warmup,
        "Median of each image, smallest image first [ms]": times.images,
    }
    drawings = {label: charts.rounds(each, label) for label, each in series.items()}
    return {
        "name": times.name,
        "facts": times.facts,
        "charts": [(label, _svg(drawing)) for label, drawing in drawings.items() if drawing],
    }


def _values(records: Sequence[RunRecord], key: str) -> list[tuple[str, float]]:
    found = ((record.entry.name, record.measured(key)) for record in records)
    return [(name, value) for name, value in found if value is not None]


def _asset(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _sha256(content: str) -> str:
    """As a content security policy writes it."""
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
