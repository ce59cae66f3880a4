"""The main table of a challenge's report: PSNR and runtime of each split, costs, small ranks."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from esrbench.metrics import METRICS
from esrbench.ranking.footnotes import COLD_START, DISPUTED, OTHER_SOFTWARE, PROVISIONAL_MARK
from esrbench.reports.leaderboard import (
    leaderboard_table,
    marked_name,
    metric_cell,
    metric_heading,
    shown_rank,
    why_unranked,
)
from esrbench.reports.table import (
    MISSING,
    Heading,
    Note,
    Section,
    Table,
    TableCell,
    plain,
    short_title,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from esrbench.ranking.board import Leaderboard, LeaderboardEntry

    BoardColumn = tuple[Heading, Callable[[LeaderboardEntry], TableCell]]

PSNR, RUNTIME = "psnr_rgb", "runtime_images"
MEAN = "mean"
MARKS: Final = (COLD_START, DISPUTED, OTHER_SOFTWARE, PROVISIONAL_MARK)


def main_table(board: Leaderboard) -> Table:
    """A leaderboard as the report of a challenge prints it, across both columns of a page.

    PSNR and runtime have a column for each split in which they are known. The table has only the
    notes that its signs need. CSV and JSON have the same content as for the leaderboard.
    """
    columns = list(_columns(board))
    sections = (
        Section(tuple(tuple(cell(row) for _, cell in columns) for row in rows))
        for rows in (board.ranked, board.unranked)
        if rows
    )
    whole = leaderboard_table(board)
    return replace(
        whole,
        headings=tuple(heading for heading, _ in columns),
        sections=tuple(sections),
        lead=whole.lead[:1] if board.banner else (),
        notes=tuple(map(Note, _notes(board))),
        label="tab:main",
        wide=True,
    )


def _columns(board: Leaderboard) -> Iterator[BoardColumn]:
    mixed = any(row.run_id is None for row in board.ranked) and board.forward_class is not None
    rows = (*board.ranked, *board.unranked)
    timed = list(dict.fromkeys(split for row in rows for split in row.other_runtimes))
    yield Heading("Team"), lambda row: plain(marked_name(row, mixed=mixed))
    for track in board.tracks:
        yield Heading(track.label, "Rank", "right"), partial(_rank, key=track.key)
    for metric in board.columns:
        group, own = METRICS[metric].heading, partial(_figure, metric=metric)
        if metric == PSNR:
            yield Heading(short_title(board.split), group, "right"), own
            for split in board.other_columns:
                yield Heading(split, group, "right"), partial(_psnr, split=split)
        elif metric == RUNTIME and timed:
            for split in timed:
                yield Heading(split, group, "right"), partial(_runtime, split=split)
            yield (
                Heading(MEAN if board.split in timed else short_title(board.split), group, "right"),
                own,
            )
        else:
            # The unit is on its own line, so that the figures decide the width.
            label, _, unit = metric_heading(metric, board).partition(" [")
            yield Heading(f"[{unit}" if unit else "", label, "right"), own


def _rank(row: LeaderboardEntry, key: str) -> TableCell:
    place = row.places.get(key)
    if place is None or place.rank is None:
        return plain(MISSING)
    return plain(shown_rank(place.rank, place.stability, provisional=place.provisional))


def _figure(row: LeaderboardEntry, metric: str) -> TableCell:
    return metric_cell(row, metric)._replace(aside="")


def _psnr(row: LeaderboardEntry, split: str) -> TableCell:
    found = row.other_scores.get(split)
    return plain(MISSING if found is None else METRICS[PSNR].format(found))


def _runtime(row: LeaderboardEntry, split: str) -> TableCell:
    found = row.other_runtimes.get(split)
    return plain(MISSING if found is None else METRICS[RUNTIME].format(found))


def _notes(board: Leaderboard) -> Iterator[str]:
    """The gate, what signs mean, and why entries are not ranked."""
    yield board.gate
    ranked = {metric for row in board.ranked for metric in row.ranks}
    if ranked:
        labels = ", ".join(METRICS[metric].label for metric in board.columns if metric in ranked)
        tied = any(held.tied for row in board.ranked for held in row.rank_stability.values())
        yield f"Small digits are ranks in {labels}{'; 1-2 is a tie within noise' * tied}."
    yield from (note for note in (*board.notes, *board.details) if note.startswith(MARKS))
    yield from why_unranked(board)
