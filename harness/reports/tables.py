"""Tables of leaderboards: terminal, markdown, csv. Reads ``METRICS`` for units and digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from harness.metrics import METRICS
from harness.records import Absent

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType
    from rich.text import Text

    from harness.ranking.leaderboard import Leaderboard, Place
    from harness.ranking.rules import Track
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
        low, high = value.interval.low / row.divisor, value.interval.high / row.divisor
        text += f" [{_three_digits(low)}, {_three_digits(high)}]"
    return text


def _three_digits(number: float) -> str:
    """Three significant digits, never in exponent form; an interval deserves no more."""
    decimals = max(0, 2 - math.floor(math.log10(abs(number)))) if number else 0
    return f"{number:.{decimals}f}"


def leaderboard_frame(board: Leaderboard, subscript: Subscript) -> pd.DataFrame:
    """A frame of rendered cells: ranked rows, then unranked ones; columns as headings."""
    import pandas as pd

    table: list[dict[str, str]] = []
    for row in (*board.ranked, *board.unranked):
        cells = {"Entry": row.entry}
        for track in board.tracks:
            cells[track.label] = _place(row.places.get(track.key), track)
        for metric in board.columns:
            heading = METRICS[metric].heading
            cells[heading] = figure(metric, row.values[metric], row.ranks.get(metric), subscript)
        table.append(cells)
    return pd.DataFrame(table)


def _place(place: Place | None, track: Track) -> str:
    """Rank, with the rank sum where it says more than the rank."""
    if place is None:
        return MISSING
    return str(place.rank) if len(track.metrics) == 1 else f"{place.rank} ({place.rank_sum})"


def _remarks(board: Leaderboard) -> list[str]:
    """Why entries are not ranked, then what a reader must know."""
    reasons = [f"{row.entry} is not ranked: {row.unranked_because}." for row in board.unranked]
    return [*reasons, *board.notes]


def leaderboard_markdown(board: Leaderboard) -> str:
    """GitHub markdown with ranks as subscripts and the remarks below."""
    frame = leaderboard_frame(board, lambda rank: f"<sub>{rank}</sub>")
    escaped = frame.map(lambda cell: cell.replace("|", "\\|"))
    lines = [
        f"### {board.title}",
        "",
        f"{board.data}. {board.device}. {board.gate}",
        "",
        escaped.to_markdown(index=False, tablefmt="github", disable_numparse=True),
        "",
        *(f"- {remark}" for remark in _remarks(board)),
        *(f"- **{notice.code}**: {notice.message}. {notice.advice}" for notice in board.notices),
    ]
    return "\n".join(lines) + "\n"


def leaderboard_csv(board: Leaderboard) -> str:
    """Unrounded values in base units with ranks in columns of their own; absent is empty."""
    import pandas as pd

    table: list[dict[str, object]] = []
    for row in (*board.ranked, *board.unranked):
        cells: dict[str, object] = {"entry": row.entry, "weights": row.weights}
        for track in board.tracks:
            place = row.places.get(track.key)
            cells[f"{track.key}_rank"] = place.rank if place else None
            cells[f"{track.key}_rank_sum"] = place.rank_sum if place else None
        for metric in board.columns:
            value = row.values[metric]
            cells[metric] = None if isinstance(value, Absent) else _plain(value.value)
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


def _plain(number: float) -> float:
    """Counts without a decimal point."""
    return int(number) if number.is_integer() else number


def _ranked_metrics(board: Leaderboard) -> set[str]:
    return {metric for row in board.ranked for metric in row.ranks}


def _two_lines(cell: str) -> Text:
    """A cell with its unit or interval on a line of its own, so that 80 columns suffice."""
    from rich.text import Text

    return Text(cell.replace(" [", "\n["))


def leaderboard_terminal(board: Leaderboard) -> RenderableType:
    """A rich table, followed by what a reader must know."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = [
        Text(board.title, style="bold"),
        Text(f"{board.data}\n{board.device}"),
        Text(board.gate, style="yellow"),
    ]
    frame = leaderboard_frame(board, lambda rank: str(rank).translate(SUBSCRIPTS))
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in frame.columns:
        justify: Literal["left", "right"] = "left" if column == "Entry" else "right"
        table.add_column(_two_lines(str(column)), justify=justify, overflow="fold")
    for index, cells in enumerate(frame.itertuples(index=False)):
        style = None if index < len(board.ranked) else "dim"
        last_ranked = index == len(board.ranked) - 1
        row = (_two_lines(str(cell)) for cell in cells)
        table.add_row(*row, style=style, end_section=last_ranked)
    parts.append(table)
    parts += [Text(f"- {remark}", style="dim") for remark in _remarks(board)]
    parts += [
        Text(f"warning ({notice.code}): {notice.message}. {notice.advice}", style="yellow")
        for notice in board.notices
    ]
    return Group(*parts)
