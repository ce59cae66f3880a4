"""Tables of leaderboards: terminal, markdown, csv. Reads ``METRICS`` for units and digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from harness.metrics import METRICS
from harness.records import Absent

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

    from harness.ranking.leaderboard import Leaderboard, Row
    from harness.records import Value

TableFormat = Literal["terminal", "markdown", "csv", "json"]

MISSING = "–"  # noqa: RUF001 - an en dash is what tables print for a missing figure
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")

Subscript = Callable[[int], str]


def figure(metric: str, value: Value | Absent, rank: int | None, subscript: Subscript) -> str:
    """One cell: the value as its metric is shown, its rank, its interval if it has one."""
    if isinstance(value, Absent):
        return MISSING
    row = METRICS[metric]
    text = row.format(value.value)
    if rank is not None:
        text += subscript(rank)
    if value.interval is not None:
        low, high = (row.format(bound) for bound in (value.interval.low, value.interval.high))
        text += f" [{low}, {high}]"
    return text


def leaderboard_frame(
    board: Leaderboard, subscript: Subscript, *, rows: tuple[Row, ...]
) -> pd.DataFrame:
    """A frame of rendered cells, one row an entry, columns as headings."""
    import pandas as pd

    ranked = any(row.unranked_because is None for row in rows)
    table: list[dict[str, str]] = []
    for row in rows:
        cells = {"Entry": row.entry}
        for track, title in board.tracks.items() if ranked else ():
            place = row.places.get(track)
            short = title.split(" (")[0]
            cells[short] = MISSING if place is None else _place(place.rank, place.rank_sum, track)
        for metric in board.columns:
            heading = METRICS[metric].heading
            cells[heading] = figure(metric, row.values[metric], row.ranks.get(metric), subscript)
        if not ranked:
            cells["Not ranked because"] = row.unranked_because or ""
        table.append(cells)
    return pd.DataFrame(table)


def _place(rank: int, rank_sum: int, track: str) -> str:
    return str(rank) if track == "main" else f"{rank} ({rank_sum})"


def leaderboard_markdown(board: Leaderboard) -> str:
    """GitHub markdown with ranks as subscripts and the notes below."""
    lines = [f"### {board.title}", "", f"{board.data}. {board.device}. {board.gate}", ""]
    for heading, rows in (("", board.ranked), ("Not ranked", board.unranked)):
        if not rows:
            continue
        if heading:
            lines += [f"**{heading}**", ""]
        frame = leaderboard_frame(board, lambda rank: f"<sub>{rank}</sub>", rows=rows)
        lines += [frame.to_markdown(index=False, tablefmt="github", disable_numparse=True), ""]
    lines += [f"- {note}" for note in board.notes]
    lines += [f"- **{notice.code}**: {notice.message}. {notice.advice}" for notice in board.notices]
    return "\n".join(lines) + "\n"


def leaderboard_csv(board: Leaderboard) -> str:
    """Unrounded values in base units with ranks in columns of their own; absent is empty."""
    import pandas as pd

    table: list[dict[str, object]] = []
    for row in (*board.ranked, *board.unranked):
        cells: dict[str, object] = {"entry": row.entry, "weights": row.weights}
        for track in board.tracks:
            place = row.places.get(track)
            cells[f"{track}_rank"] = place.rank if place else None
            cells[f"{track}_rank_sum"] = place.rank_sum if place else None
        for metric in board.columns:
            value = row.values[metric]
            cells[metric] = None if isinstance(value, Absent) else value.value
            if not METRICS[metric].deterministic:
                interval = None if isinstance(value, Absent) else value.interval
                cells[f"{metric}_low"] = interval.low if interval else None
                cells[f"{metric}_high"] = interval.high if interval else None
            if metric in _ranked_metrics(board):
                cells[f"{metric}_rank"] = row.ranks.get(metric)
        cells["unranked_because"] = row.unranked_because
        cells["run_id"] = row.run_id
        table.append(cells)
    # Object columns keep integers integral beside empty cells.
    return pd.DataFrame(table, dtype=object).to_csv(index=False)


def _ranked_metrics(board: Leaderboard) -> set[str]:
    return {metric for row in board.ranked for metric in row.ranks}


def leaderboard_terminal(board: Leaderboard) -> RenderableType:
    """A rich table, followed by what a reader must know."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = [
        Text(board.title, style="bold"),
        Text(f"{board.data}\n{board.device}"),
        Text(board.gate, style="yellow"),
    ]
    for title, rows in (("Ranked", board.ranked), ("Not ranked", board.unranked)):
        if not rows:
            continue
        frame = leaderboard_frame(
            board, lambda rank: str(rank).translate(SUBSCRIPTS), rows=rows
        )
        table = Table(title=title, title_justify="left", title_style="bold", header_style="")
        for column in frame.columns:
            text_column = column in {"Entry", "Not ranked because"}
            table.add_column(
                escape(str(column)), justify="left" if text_column else "right", overflow="fold"
            )
        for cells in frame.itertuples(index=False):
            table.add_row(*(escape(str(cell)) for cell in cells))
        parts.append(table)
    parts += [Text(f"- {note}", style="dim") for note in board.notes]
    parts += [
        Text(f"warning ({notice.code}): {notice.message}. {notice.advice}", style="yellow")
        for notice in board.notices
    ]
    return Group(*parts)
