"""The page as HTML: a template filled with tables and charts, one style sheet, one script.

The browser may load nothing else: a content security policy allows only the style sheet and the
script, by their hashes. Text from entries is made visible on one line before it is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from esrbench.data.crops import RULE
from esrbench.plaintext import line
from esrbench.reports.formats import csv, latex, markdown
from esrbench.reports.formats.html import MARKUP
from esrbench.reports.leaderboard import leaderboard_table
from esrbench.reports.page import charts, contents
from esrbench.reports.page.contents import MOST_DETAILED
from esrbench.reports.page.pictures import crops
from esrbench.reports.page.scatter import chart_data, scatter
from esrbench.reports.page.timing import times
from esrbench.reports.table import CELL_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from esrbench.ranking.board import Leaderboard
    from esrbench.records import Examination, Notice, RunRecord
    from esrbench.reports.page.contents import Claims
    from esrbench.reports.page.pictures import Pictures
    from esrbench.reports.page.timing import Times
    from esrbench.reports.table import TableCell
    from esrbench.runs.store import Store

MOST_BYTES: Final = 10_000_000
"""Size of a page; crops of SR images may use what the rest leaves."""
LEVELS: Final = ((1000, MOST_DETAILED), (1000, 10), (300, 10), (100, 3), (20, 0))
"""Number of entries on a page, and number drawn in detail; the first pair that fits is used."""
UNSAFE = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}
"""Characters to escape in JSON within HTML, because they could end the element around it."""
CROPS_HERE: Final = "<!--crops-->"
"""Marks the place of crops; no other text on the page holds it, because all text is escaped."""


def report_page(
    board: Leaderboard,
    records: Sequence[RunRecord],
    *,
    store: Store | None = None,
    claims: Claims | None = None,
    title: str | None = None,
    published: Sequence[Leaderboard] = (),
    examinations: Sequence[Examination] = (),
    images: tuple[Sequence[Pictures], Sequence[str]] = ((), ()),
    unread: Sequence[Notice] = (),
    home: str = "",
) -> str:
    """A self-contained HTML document.

    Args:
        board: what is ranked.
        records: records of the board, and others on the same data, which are shown as left out.
        store: holds the crops of SR images; without a store, the page has none.
        claims: figures that authors state, in base units, by entry and metric.
        title: title of the document; the board's title if None.
        published: boards that are shown below the board.
        examinations: examinations of machines on which runs may have been made.
        images: whole SR images that lie beside the page, and sentences on what is missing.
        unread: notices of files in the store that could not be read.
        home: address of the page that lists this one and others; empty if there is none.
    """
    entries = len(contents.rows_of(board))
    for most, detailed in LEVELS:
        shown = contents.first_rows(board, most)
        page = _without_crops(
            shown,
            records,
            detailed,
            title=title or board.title,
            left=entries - len(contents.rows_of(shown)),
            published=published,
            claims=claims or {},
            examinations=examinations,
            unread=contents.unread_files(unread, store.folder) if store else None,
            beside=bool(images[0]),
            home=home,
        )
        whole = template("crops.html").render(views=images[0], said=images[1], rule=RULE)
        room = MOST_BYTES - len(page.encode()) - len(whole.encode())
        if room >= 0:
            break
    own = list(contents.own_records(shown, records).values())
    kept, missing = crops(own, store, room) if store else ([], [])
    drawn_crops = template("crops.html").render(
        views=[*kept, *images[0]], said=[*missing, *images[1]], rule=RULE if kept else ""
    )
    return page.replace(CROPS_HERE, drawn_crops, 1)


def _without_crops(
    board: Leaderboard,
    records: Sequence[RunRecord],
    detailed: int,
    *,
    claims: Claims,
    published: Sequence[Leaderboard],
    examinations: Sequence[Examination],
    **given: Any,
) -> str:
    """The page with ``CROPS_HERE`` where crops go; the first entries are drawn in detail.

    Other arguments are passed to the template unchanged.
    """
    own = contents.own_records(board, records)
    shown = list(own.values())
    table = leaderboard_table(board)
    rows = contents.rows_of(board)
    names, ranked = [row.entry for row in rows], [row.unranked_because is None for row in rows]
    scales = contents.scales(board)
    axes = contents.chart_axes(scales)
    cost_table, drawn = contents.costs_table(board, shown)
    held = contents.stability(board)
    drawn_times = [_drawn_times(each) for each in times(own, detailed)]
    script = _asset("page.js")
    data = {
        "chart": chart_data(scales, ranked),
        "axes": [scales.index(each) if each else -1 for each in axes] if axes else [],
        "names": [line(name, CELL_CHARACTERS) for name in names],
        "copies": {
            "LaTeX": latex.render(table),
            "Markdown": markdown.render(table),
            "CSV": csv.render(table),
        },
    }
    page: str = template("page.html").render(
        table=table,
        numbers=range(len(rows)),
        own_numbers=list(own),
        scatter=markup(scatter(names, ranked, *axes)) if axes else "",
        ranks=held
        and (
            held[0],
            markup(charts.ranks(held[1][:detailed], held[0])),
            any(row.held is not None for row in held[1]),
        ),
        published=[leaderboard_table(each) for each in published],
        entries=contents.entries_table(board, own, claims),
        scores=contents.images_table(board, shown),
        crops=markup(CROPS_HERE),
        costs=cost_table if shown else None,
        cost_bars=[
            (metric.heading, markup(charts.bars(_values(shown[:detailed], metric.key), metric)))
            for metric in drawn
        ],
        blocks=[_drawn_cost(each) for each in contents.costs(own, detailed)],
        times=drawn_times,
        processes=max((each["processes"] for each in drawn_times), default=0),
        detailed=detailed if len(own) > detailed else None,
        left_out=contents.left_out(board, records),
        machine=contents.machine(shown[0], examinations) if shown else (),
        examined=any(each.is_of(shown[0].environment) for each in examinations) if shown else False,
        command=contents.command(shown) if shown else "",
        command_python=any(record.ran_with for record in shown),
        script=Markup(script),  # noqa: S704 - our own file
        script_hash=sha256(script),
        data=Markup(json.dumps(data, separators=(",", ":")).translate(UNSAFE)),  # noqa: S704 - escaped here
        **given,
    )
    return page


def template(name: str) -> Any:
    """A template of this folder, with the style sheet and its hash in ``style``, ``style_hash``.

    Its values are escaped and shown as one visible line; an undefined name is an error.
    """
    style = _asset("page.css")
    environment = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["cell"] = _cell
    environment.filters["told"] = _told
    environment.globals["style"] = markup(style)
    environment.globals["style_hash"] = sha256(style)
    return environment.get_template(name)


def _shown(value: object) -> object:
    """Text as one visible line; what is HTML already stays."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return line(value, CELL_CHARACTERS)
    return value


def _cell(cell: TableCell) -> Markup:
    return Markup(MARKUP.cell(cell))  # noqa: S704 - escapes what it is given


def _told(text: str) -> Markup:
    """A sentence as HTML; text between backticks becomes code."""
    safe = text if isinstance(text, Markup) else escape(line(text, CELL_CHARACTERS))
    return Markup(re.sub("`([^`<>]+)`", r"<code>\1</code>", str(safe)))  # noqa: S704 - it is escaped


def markup(text: str) -> Markup:
    """HTML that was made here, with all texts escaped."""
    return Markup(text)  # noqa: S704 - see above


def _drawn_cost(cost: contents.Cost) -> dict[str, Any]:
    """Charts and table of the blocks of an entry."""
    labels = ("MACs", "Activations", "Memory of all results")
    return {
        "entry": cost.entry,
        "name": cost.name,
        "blocks": cost.blocks,
        "shares": markup(charts.shares(cost.shares, labels, cost.name)) if cost.shares else "",
        "timeline": markup(charts.timeline(cost.memory)) if cost.memory else "",
        "size": "x".join(map(str, cost.memory.input_size)) if cost.memory else "",
    }


def _drawn_times(times: Times) -> dict[str, Any]:
    """Charts of an entry's times."""
    drawings = ((label, charts.dots(each, label)) for label, each in times.series.items())
    return {
        "entry": times.entry,
        "name": times.name,
        "facts": times.facts,
        "processes": max(map(len, times.series.values()), default=0),
        "charts": [(label, markup(drawing)) for label, drawing in drawings if drawing],
    }


def _values(records: Iterable[RunRecord], key: str) -> list[tuple[str, float]]:
    found = ((record.entry.name, record.measured(key)) for record in records)
    return [(name, value) for name, value in found if value is not None]


def _asset(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def sha256(content: str) -> str:
    """The hash of a text, in the form of a content security policy."""
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
