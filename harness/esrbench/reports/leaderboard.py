"""A leaderboard as a table. ``METRICS`` has units and digits."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from esrbench.metrics import METRICS
from esrbench.ranking.board import Place
from esrbench.ranking.footnotes import (
    COLD_START,
    DISPUTED,
    OTHER_SOFTWARE,
    PROVISIONAL_MARK,
)
from esrbench.ranking.formulas import RankSum
from esrbench.records import Absent, Value
from esrbench.reports.table import (
    MISSING,
    Heading,
    Note,
    Section,
    Span,
    Table,
    TableCell,
    plain,
    value_fields,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from esrbench.ranking.board import Leaderboard, LeaderboardEntry
    from esrbench.ranking.rule import Track
    from esrbench.ranking.stability import Stability

    BoardColumn = tuple[Heading, Callable[[LeaderboardEntry], TableCell]]

ON_FRONT = "\N{BULLET}"
YOURS = "\N{RIGHTWARDS ARROW}"
LARGE_SCORE = 100


def leaderboard_table(board: Leaderboard) -> Table:
    """Ranked entries, then unranked ones; ranks are subscripts behind figures."""
    columns = list(_columns(board))
    ranked, unranked = (
        tuple(tuple(cell(row) for _, cell in columns) for row in rows)
        for rows in (board.ranked, board.unranked)
    )
    lead = [Span(board.data), Span(board.device), Span(board.gate, "doubtful")]
    if board.banner:
        lead.insert(0, Span(board.banner, "strong"))
    return Table(
        headings=tuple(heading for heading, _ in columns),
        sections=(Section(ranked), Section(unranked, tone="faint")),
        caption=board.title,
        lead=tuple(lead),
        notes=tuple(map(Note, _remarks(board))),
        details=tuple(map(Note, board.details)),
        notices=board.notices,
        records=partial(_records, board),
        document=partial(board.model_dump, mode="json"),
        label="tab:leaderboard",
    )


def _columns(board: Leaderboard) -> Iterator[BoardColumn]:
    """Headings, each with the function that makes a row's cell."""
    rows = (*board.ranked, *board.unranked)
    mixed = any(row.run_id is None for row in rows)
    margins = [gate.margin for row in rows for gate in row.gates if gate.of_quality]
    digits = 2 if all(_hundredths(margin) for margin in margins) else 4
    margin: BoardColumn = (
        Heading("Margin [dB]", align="right"),
        lambda row: plain(_margin(row, digits)),
    )
    last_psnr = next((m for m in reversed(board.columns) if METRICS[m].unit == "dB"), None)
    yield Heading("Entry"), lambda row: plain(marked_name(row, mixed=mixed))
    for track in board.tracks:
        yield from _track_columns(track)
    if board.pareto_metrics:
        yield Heading("Pareto", align="right"), lambda row: plain(_front(row))
    if margins and last_psnr is None:
        yield margin
    for metric in board.columns:
        yield _metric_column(metric, board)
        if metric == "psnr_rgb":
            for title in board.other_columns:
                yield _other_column(title)
        if margins and metric == last_psnr:
            yield margin


def _sums_ranks(track: Track) -> bool:
    """Whether the sum of several ranks is shown beside the rank."""
    return isinstance(track.formula, RankSum) and len(track.metrics) > 1


def _track_columns(track: Track) -> Iterator[BoardColumn]:
    """The rank, and the total and its logarithm if they differ from the rank."""
    summed = _sums_ranks(track)

    def rank(place: Place) -> str:
        if place.rank is None:
            return MISSING
        shown = shown_rank(place.rank, place.stability, provisional=place.provisional)
        return f"{shown} ({place.rank_sum})" if summed and place.rank_sum is not None else shown

    def log_score(place: Place) -> str:
        return MISSING if place.log_score is None else f"{place.log_score:.3f}"

    def column(text: str, shown: Callable[[Place], str]) -> BoardColumn:
        nowhere = Place(rank=None)
        heading = Heading(text, align="right")
        return heading, lambda row: plain(shown(row.places.get(track.key, nowhere)))

    if isinstance(track.formula, RankSum):
        return iter([column(track.label, rank)])
    return map(column, track.headings, (rank, _score, log_score))


def _metric_column(metric: str, board: Leaderboard) -> BoardColumn:
    heading = Heading(metric_heading(metric, board), align="right")
    return heading, partial(metric_cell, metric=metric)


def metric_heading(metric: str, board: Leaderboard) -> str:
    """Heading of a metric's column; a single peak of memory has the challenge's name."""
    lone = metric == "pass_peak_bytes" and "peak_bytes" not in board.columns
    return METRICS["peak_bytes" if lone else metric].heading


def _other_column(title: str) -> BoardColumn:
    def cell(row: LeaderboardEntry) -> TableCell:
        psnr = row.other_scores.get(title)
        return plain(MISSING if psnr is None else f"{psnr:.2f}")

    return Heading(f"PSNR {title} [dB]", align="right"), cell


def metric_cell(row: LeaderboardEntry, metric: str) -> TableCell:
    """The value in the format of its metric, its rank as a subscript, and its interval if any."""
    value = row.values[metric]
    if not isinstance(value, Value):
        return plain(MISSING)
    known = METRICS[metric]
    below, aside = "", ""
    rank, interval = row.ranks.get(metric), value.interval
    if rank is not None:
        held, provisional = row.rank_stability.get(metric), metric in row.provisional_ranks
        below = shown_rank(rank, held, provisional=provisional)
    if interval is not None:
        low, high = interval.low / known.divisor, interval.high / known.divisor
        aside = f"[{_three_digits(low)}, {_three_digits(high)}]"
    return TableCell((Span(known.format(value.value), "plain", below),), "", aside)


def shown_rank(rank: int, held: Stability | None, *, provisional: bool) -> str:
    """A rank, or the range of ranks within the noise; provisional ranks have a mark."""
    if provisional:
        return f"{rank}{PROVISIONAL_MARK}"
    return f"{held.low}-{held.high}" if held is not None and held.tied else str(rank)


def _three_digits(number: float) -> str:
    """Three significant digits, never in exponent form; an interval needs no more."""
    decimals = max(0, 2 - math.floor(math.log10(abs(number)))) if number else 0
    return f"{number:.{decimals}f}"


def marked_name(row: LeaderboardEntry, *, mixed: bool) -> str:
    """A name with marks: own run, disputed times, other software, cold start, wrong publication."""
    yours = f"{YOURS} " if mixed and row.run_id is not None else ""
    disputed = DISPUTED if row.status == "timing-disputed" else ""
    moved = OTHER_SOFTWARE if row.ran_with is not None else ""
    cold = "" if row.cold_start is None else COLD_START
    return f"{yours}{row.entry}{disputed}{moved}{cold}{'!' if row.disagreements else ''}"


def _front(row: LeaderboardEntry) -> str:
    mark = PROVISIONAL_MARK if row.provisional_ranks else ""
    return f"{ON_FRONT}{mark}" if row.pareto else ""


def _score(place: Place) -> str:
    if place.score is None:
        return MISSING
    if isinstance(place.score, Absent):
        return "overflow"
    return f"{place.score:.3f}" if place.score < LARGE_SCORE else f"{place.score:.4g}"


def _hundredths(margin: float) -> bool:
    return math.isclose(100 * margin, round(100 * margin), abs_tol=1e-6)


def _margin(row: LeaderboardEntry, digits: int) -> str:
    """Smallest distance to a gate; a tilde if the entry passes only by rounding."""
    gate = row.tightest
    if gate is None:
        return MISSING
    return f"{'~' if gate.rounded and not gate.strict else ''}{gate.margin:+.{digits}f}"


def _remarks(board: Leaderboard) -> list[str]:
    """Notes: what signs mean, why entries are not ranked, and what else a reader must know."""
    return [*_legend(board), *why_unranked(board), *_unscored(board), *board.notes]


def why_unranked(board: Leaderboard) -> list[str]:
    """Why entries are not ranked, one sentence for each reason."""
    said: dict[str, list[str]] = {}
    for row in board.unranked:
        said.setdefault(row.unranked_because or "", []).append(row.entry)
    return [
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} not ranked: {reason}."
        for reason, names in said.items()
    ]


def _legend(board: Leaderboard) -> Iterator[str]:
    """What signs in the table mean."""
    rows = (*board.ranked, *board.unranked)
    if board.pareto_metrics:
        labels = ", ".join(METRICS[metric].label for metric in board.pareto_metrics)
        timed = any(METRICS[metric].noisy for metric in board.pareto_metrics)
        equal = "; runtimes whose intervals overlap count as equal" if timed else ""
        yield f"Pareto: no other entry is better in one of {labels} and worse in none{equal}."
    sums = [track.label for track in board.tracks if _sums_ranks(track)]
    if sums:
        yield f"{', '.join(sums)}: the rank, and in brackets the sum of the ranks of its metrics."
    checks = [gate for row in rows for gate in row.gates if gate.of_quality]
    if checks:
        several = len({gate.title for gate in checks}) > 1
        what = "the tightest gate" if several else "the gate"
        yield f"Margin: PSNR above {what}, unrounded; ~ passes by rounding only."
    if any(row.disagreements for row in rows):
        yield "! The publication disagrees with its own figures and rule, see below."


def _unscored(board: Leaderboard) -> list[str]:
    """Why scores of entries are missing, unless another note says so."""
    said: dict[tuple[str, str], dict[str, None]] = {}
    for row in (*board.ranked, *board.unranked):
        for metric in board.columns:
            value = row.values[metric]
            if METRICS[metric].better == "lower" or isinstance(value, Value):
                continue
            explained = row.weights == "random" or value.reason.rstrip(".") in (
                row.unranked_because or ""
            )
            if not explained and row.run_id is not None:
                said.setdefault((METRICS[metric].label, value.reason), {})[row.entry] = None
    return [
        f"{label} of {', '.join(names)} is missing: {reason.rstrip('.')}."
        for (label, reason), names in said.items()
    ]


def _records(board: Leaderboard) -> list[dict[str, Any]]:
    ranked = {metric for row in board.ranked for metric in row.ranks}
    return [_record(row, board, ranked) for row in (*board.ranked, *board.unranked)]


def _record(row: LeaderboardEntry, board: Leaderboard, ranked: Container[str]) -> dict[str, Any]:
    """Unrounded values in base units, with separate fields for ranks in ``ranked`` metrics."""
    record: dict[str, Any] = {"entry": row.entry, "weights": row.weights, "status": row.status}
    for track in board.tracks:
        record |= _track_record(row.places.get(track.key), track)
    for metric in board.columns:
        value = row.values[metric]
        held = value if isinstance(value, Value) else None
        record |= value_fields(metric, *((held.value, held.interval) if held else (None, None)))
        if metric in ranked:
            record[f"{metric}_rank"] = row.ranks.get(metric)
            if METRICS[metric].noisy:
                provisional = metric in row.provisional_ranks if row.ranks else None
                record |= _held(metric, row.rank_stability.get(metric), provisional)
    gate = row.tightest
    return {
        **record,
        **{f"psnr_{title}": row.other_scores.get(title) for title in board.other_columns},
        "gate_margin": gate.margin if gate else None,
        "gate_rounded": all(each.rounded for each in row.gates) if gate else None,
        "gate_strict": all(each.strict for each in row.gates) if gate else None,
        "pareto": row.pareto,
        "pareto_provisional": bool(row.provisional_ranks) if row.ranks else None,
        "disagreements": "; ".join(row.disagreements),
        "unranked_because": row.unranked_because,
        "run_id": row.run_id,
    }


def _track_record(place: Place | None, track: Track) -> dict[str, Any]:
    key, known = track.key, place or Place(rank=None)
    score = None if isinstance(known.score, Absent) else known.score
    totals = {f"{key}_score": score, f"{key}_log_score": known.log_score}
    if isinstance(track.formula, RankSum):
        totals = {f"{key}_rank_sum": known.rank_sum}
    held = _held(key, known.stability, place.provisional if place else None)
    return {f"{key}_rank": known.rank, **totals, **held}


def _held(key: str, held: Stability | None, provisional: bool | None) -> dict[str, Any]:
    return {
        f"{key}_rank_low": held.low if held else None,
        f"{key}_rank_high": held.high if held else None,
        f"{key}_rank_provisional": provisional,
    }
