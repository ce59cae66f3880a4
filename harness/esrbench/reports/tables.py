"""Tables of leaderboards: terminal, markdown, csv. Reads ``METRICS`` for units and digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from esrbench.metrics import METRICS
from esrbench.ranking.footnotes import DISPUTED, PROVISIONAL_MARK
from esrbench.ranking.formulas import RankSum
from esrbench.records import Absent
from esrbench.reports.formats import markdown_notice, markdown_text
from esrbench.reports.grid import MISSING, csv_text, plain_number

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table

    from esrbench.ranking.board import Leaderboard, Place, Row
    from esrbench.ranking.rule import Track
    from esrbench.ranking.stability import Stability
    from esrbench.records import Value

TableFormat = Literal["terminal", "markdown", "csv", "json"]

ON_FRONT = "\N{BULLET}"
YOURS = "\N{RIGHTWARDS ARROW}"
SUBSCRIPTS = str.maketrans("0123456789-", "₀₁₂₃₄₅₆₇₈₉₋")
LARGE_SCORE = 100

Subscript = Callable[[str], str]


def figure(
    metric: str,
    value: Value | Absent,
    rank: int | None,
    subscript: Subscript,
    held: Stability | None = None,
    *,
    provisional: bool = False,
) -> str:
    """One cell: the value as its metric is shown, its rank, its interval if it has one."""
    if isinstance(value, Absent):
        return MISSING
    row = METRICS[metric]
    text = row.format(value.value)
    if rank is not None:
        text += subscript(_shown_rank(rank, held, provisional=provisional))
    if value.interval is not None:
        low, high = value.interval.low / row.divisor, value.interval.high / row.divisor
        text += f" [{_three_digits(low)}, {_three_digits(high)}]"
    return text


def _shown_rank(rank: int, held: Stability | None, *, provisional: bool) -> str:
    """A rank, marked if it is provisional; or those between which noise may move it."""
    if provisional:
        return f"{rank}{PROVISIONAL_MARK}"
    return f"{held.low}-{held.high}" if held is not None and held.tied else str(rank)


def _three_digits(number: float) -> str:
    """Three significant digits, never in exponent form; an interval deserves no more."""
    decimals = max(0, 2 - math.floor(math.log10(abs(number)))) if number else 0
    return f"{number:.{decimals}f}"


def leaderboard_frame(board: Leaderboard, subscript: Subscript) -> pd.DataFrame:
    """A frame of rendered cells: ranked rows, then unranked ones; columns as headings."""
    import pandas as pd

    rows = (*board.ranked, *board.unranked)
    margins = [gate.margin for row in rows for gate in row.gates]
    digits = 2 if all(_hundredths(margin) for margin in margins) else 4
    last_psnr = next((m for m in reversed(board.columns) if METRICS[m].unit == "dB"), None)
    table: list[dict[str, str]] = []
    for row in rows:
        cells = {"Entry": _name(row, board)}
        for track in board.tracks:
            cells |= _place(row.places.get(track.key), track)
        if board.pareto_metrics:
            mark = PROVISIONAL_MARK if row.provisional_ranks else ""
            cells["Pareto"] = f"{ON_FRONT}{mark}" if row.pareto else ""
        if margins and last_psnr is None:
            cells["Margin [dB]"] = _margin(row, digits)
        for metric in board.columns:
            cells[_column(metric, board)] = figure(
                metric,
                row.values[metric],
                row.ranks.get(metric),
                subscript,
                row.rank_stability.get(metric),
                provisional=metric in row.provisional_ranks,
            )
            if metric == "psnr_rgb":
                for title in board.other_columns:
                    psnr = row.other_scores.get(title)
                    cells[f"PSNR {title} [dB]"] = MISSING if psnr is None else f"{psnr:.2f}"
            if margins and metric == last_psnr:
                cells["Margin [dB]"] = _margin(row, digits)
        table.append(cells)
    return pd.DataFrame(table)


def _column(metric: str, board: Leaderboard) -> str:
    """A metric's heading; a lone peak of memory has the challenge's word, footnotes say which."""
    lone = metric == "pass_peak_bytes" and "peak_bytes" not in board.columns
    return METRICS["peak_bytes" if lone else metric].heading


def _name(row: Row, board: Leaderboard) -> str:
    """Marks runs among published entries, doubtful clocks and printed figures that disagree."""
    mixed = any(each.run_id is None for each in (*board.ranked, *board.unranked))
    yours = f"{YOURS} " if mixed and row.run_id is not None else ""
    disputed = DISPUTED if row.status == "timing-disputed" else ""
    return f"{yours}{row.entry}{disputed}{'!' if row.disagreements else ''}"


def _place(place: Place | None, track: Track) -> dict[str, str]:
    """Rank, and the total and its logarithm where they say more than the rank."""
    rank = MISSING
    if place is not None and place.rank is not None:
        rank = _shown_rank(place.rank, place.stability, provisional=place.provisional)
    if isinstance(track.formula, RankSum):
        summed = len(track.metrics) > 1 and place is not None and place.rank_sum is not None
        return {track.label: f"{rank} ({place.rank_sum})" if place and summed else rank}
    score = _score(None if place is None else place.score)
    log = MISSING if place is None or place.log_score is None else f"{place.log_score:.3f}"
    return dict(zip(track.headings, (rank, score, log), strict=True))


def _score(score: float | Absent | None) -> str:
    if score is None:
        return MISSING
    if isinstance(score, Absent):
        return "overflow"
    return f"{score:.3f}" if score < LARGE_SCORE else f"{score:.4g}"


def _hundredths(margin: float) -> bool:
    return math.isclose(100 * margin, round(100 * margin), abs_tol=1e-6)


def _margin(row: Row, digits: int) -> str:
    """Least distance to a gate; a tilde where only rounding lets the entry pass."""
    gate = row.tightest
    if gate is None:
        return MISSING
    return f"{'~' if gate.rounded and not gate.strict else ''}{gate.margin:+.{digits}f}"


def _legend(board: Leaderboard) -> list[str]:
    """What signs in the table mean."""
    rows = (*board.ranked, *board.unranked)
    notes: list[str] = []
    if board.pareto_metrics:
        labels = ", ".join(METRICS[metric].label for metric in board.pareto_metrics)
        notes.append(
            f"Pareto: no other entry is better in one of {labels} and worse in none; runtimes "
            "whose intervals overlap count as equal."
            if any(METRICS[metric].noisy for metric in board.pareto_metrics)
            else f"Pareto: no other entry is better in one of {labels} and worse in none."
        )
    checks = [gate for row in rows for gate in row.gates]
    if checks:
        several = len({gate.title for gate in checks}) > 1
        what = "the tightest gate" if several else "the gate"
        notes.append(f"Margin: PSNR above {what}, unrounded; ~ passes by rounding only.")
    if any(row.disagreements for row in rows):
        notes.append("! The publication disagrees with its own figures and rule, see below.")
    return notes


def _remarks(board: Leaderboard) -> list[str]:
    """What signs mean, why entries are not ranked, then what a reader must know."""
    said: dict[str, list[str]] = {}
    for row in board.unranked:
        said.setdefault(row.unranked_because or "", []).append(row.entry)
    reasons = [
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} not ranked: {reason}."
        for reason, names in said.items()
    ]
    return [*_legend(board), *reasons, *_unscored(board), *board.notes]


def _unscored(board: Leaderboard) -> list[str]:
    """Why scores are missing of entries of which nothing else says so."""
    said: dict[tuple[str, str], dict[str, None]] = {}
    for row in (*board.ranked, *board.unranked):
        for metric in board.columns:
            value = row.values[metric]
            if METRICS[metric].better == "lower" or not isinstance(value, Absent):
                continue
            explained = row.weights == "random" or value.reason in (row.unranked_because or "")
            if not explained and row.run_id is not None:
                said.setdefault((METRICS[metric].label, value.reason), {})[row.entry] = None
    return [
        f"{label} of {', '.join(names)} is missing: {reason.rstrip('.')}."
        for (label, reason), names in said.items()
    ]


def leaderboard_markdown(board: Leaderboard) -> str:
    """GitHub markdown with ranks as subscripts and the remarks below; text is shown as it is.

    Names, causes of failures and custom rules are others' text: none of it becomes markup.
    """
    frame = leaderboard_frame(board, lambda rank: f"<sub>{rank}</sub>")
    escaped = frame.map(lambda cell: cell.replace("|", "\\|").replace("~", "\\~"))
    escaped["Entry"] = frame["Entry"].map(markdown_text)
    lines = [
        f"### {markdown_text(board.title)}",
        "",
        *([f"**{markdown_text(board.banner)}**", ""] if board.banner else []),
        markdown_text(f"{board.data}. {board.device}. {board.gate}"),
        "",
        escaped.rename(columns=lambda heading: _markdown_heading(str(heading), board)).to_markdown(
            index=False, tablefmt="github", disable_numparse=True
        ),
        "",
        *(f"- {markdown_text(remark)}" for remark in _remarks(board)),
        *map(markdown_notice, board.notices),
    ]
    return "\n".join(lines) + "\n"


def _markdown_heading(heading: str, board: Leaderboard) -> str:
    others = {f"PSNR {title} [dB]" for title in board.other_columns}
    return markdown_text(heading) if heading in others else heading.replace("|", "\\|")


def leaderboard_csv(board: Leaderboard) -> str:
    """Unrounded values in base units with ranks in columns of their own; absent is empty."""
    import pandas as pd

    table = [_csv_row(row, board) for row in (*board.ranked, *board.unranked)]
    # Object columns keep integers integral beside empty cells.
    return pd.DataFrame(table, dtype=object).to_csv(index=False)


def _csv_row(row: Row, board: Leaderboard) -> dict[str, object]:
    cells: dict[str, object] = {"entry": row.entry, "weights": row.weights, "status": row.status}
    for track in board.tracks:
        cells |= _csv_place(row.places.get(track.key), track)
    ranked = {metric for each in board.ranked for metric in each.ranks}
    for metric in board.columns:
        value = row.values[metric]
        cells[metric] = None if isinstance(value, Absent) else plain_number(value.value)
        if not METRICS[metric].portable:
            interval = None if isinstance(value, Absent) else value.interval
            cells[f"{metric}_low"] = interval.low if interval else None
            cells[f"{metric}_high"] = interval.high if interval else None
        if metric in ranked:
            cells[f"{metric}_rank"] = row.ranks.get(metric)
            if METRICS[metric].noisy:
                provisional = metric in row.provisional_ranks if row.ranks else None
                cells |= _csv_held(metric, row.rank_stability.get(metric), provisional)
    for title in board.other_columns:
        cells[f"psnr_{title}"] = row.other_scores.get(title)
    gate = row.tightest
    cells["gate_margin"] = gate.margin if gate else None
    cells["gate_rounded"] = all(each.rounded for each in row.gates) if gate else None
    cells["gate_strict"] = all(each.strict for each in row.gates) if gate else None
    cells["pareto"] = row.pareto
    cells["pareto_provisional"] = bool(row.provisional_ranks) if row.ranks else None
    cells["disagreements"] = "; ".join(row.disagreements)
    cells["unranked_because"] = row.unranked_because
    cells["run_id"] = row.run_id
    return {key: csv_text(each) if isinstance(each, str) else each for key, each in cells.items()}


def _csv_place(place: Place | None, track: Track) -> dict[str, object]:
    key = track.key
    cells: dict[str, object] = {f"{key}_rank": place.rank if place else None}
    if isinstance(track.formula, RankSum):
        cells[f"{key}_rank_sum"] = place.rank_sum if place else None
    else:
        score = place.score if place else None
        cells[f"{key}_score"] = None if isinstance(score, Absent) else score
        cells[f"{key}_log_score"] = place.log_score if place else None
    held = place.stability if place else None
    return cells | _csv_held(key, held, place.provisional if place else None)


def _csv_held(key: str, held: Stability | None, provisional: bool | None) -> dict[str, object]:
    return {
        f"{key}_rank_low": held.low if held else None,
        f"{key}_rank_high": held.high if held else None,
        f"{key}_rank_provisional": provisional,
    }


class _Terminal:
    """A board as rich prints it: in as many tables below one another as the width asks for."""

    def __init__(self, board: Leaderboard) -> None:
        self._board = board

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Head, tables, remarks and warnings."""
        from rich.text import Text

        board = self._board
        yield Text(board.title, style="bold")
        if board.banner:
            yield Text(board.banner, style="bold yellow")
        yield Text(f"{board.data}\n{board.device}")
        yield Text(board.gate, style="yellow")
        frame = leaderboard_frame(board, lambda rank: rank.translate(SUBSCRIPTS))
        columns = {str(name): [str(cell) for cell in frame[name]] for name in frame.columns}
        airy, tight = (_parts(columns, options.max_width, gap) for gap in (2, 1))
        gap, parts = (2, airy) if len(airy) <= len(tight) else (1, tight)
        for part in parts:
            yield _table(part, len(board.ranked), gap)
        yield from (Text(f"- {remark}", style="dim") for remark in _remarks(board))
        for notice in board.notices:
            line = f"warning ({notice.code}): {notice.message}. {notice.advice}"
            yield Text(line, style="yellow")


def leaderboard_terminal(board: Leaderboard) -> RenderableType:
    """Tables of the board, followed by what a reader must know."""
    return _Terminal(board)


def _parts(columns: dict[str, list[str]], width: int, gap: int) -> list[dict[str, list[str]]]:
    """Columns in groups that fit a width, in order, the entries' names before each."""
    names = {"Entry": columns["Entry"]}
    taken = _width("Entry", columns["Entry"], gap) + 1  # the box begins with a space
    parts: list[dict[str, list[str]]] = [dict(names)]
    used = taken
    for name, cells in columns.items():
        if name == "Entry":
            continue
        needed = _width(name, cells, gap)
        if used + needed > width and len(parts[-1]) > 1:
            parts.append(dict(names))
            used = taken
        parts[-1][name] = cells
        used += needed
    return parts


def _width(name: str, cells: list[str], gap: int) -> int:
    """Of a column with the gap beside it."""
    lines = [line for text in (_heading(name), *map(_lines, cells)) for line in text.split("\n")]
    return gap + max(map(len, lines))


def _table(columns: dict[str, list[str]], ranked: int, gap: int) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, gap - 1, 0, 0))  # and its divider
    for name in columns:
        justify: Literal["left", "right"] = "left" if name == "Entry" else "right"
        table.add_column(Text(_heading(name)), justify=justify, overflow="fold")
    for index, cells in enumerate(zip(*columns.values(), strict=True)):
        table.add_row(
            *(Text(_lines(cell)) for cell in cells),
            style=None if index < ranked else "dim",
            end_section=index == ranked - 1,
        )
    return table


def _heading(name: str) -> str:
    """Words of a heading below one another, so that figures decide how wide a column is."""
    return name.replace(" ", "\n")


def _lines(cell: str) -> str:
    """A cell with its interval on a line of its own."""
    return cell.replace(" [", "\n[")
