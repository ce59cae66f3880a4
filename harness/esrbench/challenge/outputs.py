"""What a challenge publishes: its boards as tables and pages, without hidden data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from esrbench.errors import RecordError
from esrbench.files import replace_file
from esrbench.ranking.leaderboard import build_leaderboard
from esrbench.reports.formats import render
from esrbench.reports.leaderboard import leaderboard_table
from esrbench.reports.page import report_page
from esrbench.reports.page.contents import claims_of
from esrbench.runs.publication import public_records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from esrbench.challenge.file import Challenge
    from esrbench.entries.registry import Registry
    from esrbench.ranking.board import Leaderboard
    from esrbench.records import DataIdentity, RunRecord
    from esrbench.runs.store import Store

SUFFIXES: Final[Mapping[str, str]] = {"markdown": "md", "latex": "tex"}
"""Suffixes of files by format, if they differ from the format's name."""
ANOTHER_BASELINE: Final = "`baseline` in the challenge's file names another entry"
"""Advice if scores lack the baseline's runtime."""


@dataclass(frozen=True, slots=True)
class ChallengeBoard:
    """A board of a challenge: one data set, one class.

    Attributes:
        name: name of its files.
        board: the ranking.
        records: records on its data set, without what may not be published.
    """

    name: str
    board: Leaderboard
    records: tuple[RunRecord, ...]


def challenge_boards(
    challenge: Challenge,
    records: Sequence[RunRecord],
    data: Sequence[DataIdentity],
    baseline: str | None,
) -> Iterator[ChallengeBoard]:
    """The boards of a challenge: one for each data set and each class that was measured.

    Args:
        challenge: the challenge, with its rule.
        records: records as boards see them, on any data.
        data: data sets of the challenge, in order.
        baseline: name of the entry that ran in every round.
    """
    digests = {each.digest for each in data}
    ours = public_records(
        each
        for each in records
        if each.data.digest in digests and each.entry.scale == challenge.scale
    )
    for identity in data:
        here = [each for each in ours if each.data.digest == identity.digest]
        elsewhere = [each for each in ours if each.data.digest != identity.digest]
        labels = {each.class_label() for each in here if each.entry.role != "images"}
        # The usual class first.
        ordered: list[str | None] = [*sorted(labels, key=lambda each: ("fp32" not in each, each))]
        for label in ordered or ([None] if here else []):
            entries = {each.entry.name for each in here if each.class_label() == label}
            rule, relative_to = challenge.ranked_by(baseline, entries)
            board = build_leaderboard(
                here,
                rule,
                forward_class=label,
                relative_to=relative_to,
                another_baseline=ANOTHER_BASELINE,
                elsewhere=elsewhere,
                resample=True,
            )
            name = re.sub(r"[^a-z0-9._]+", "-", f"{identity.name}-{label or 'images'}".lower())
            yield ChallengeBoard(name, board, tuple(here))


def write_outputs(
    folder: Path,
    challenge: Challenge,
    boards: Sequence[ChallengeBoard],
    *,
    store: Store,
    registry: Registry,
) -> list[Path]:
    """Write pages and tables; files of those names are replaced.

    Args:
        folder: where they go; made if it is missing.
        challenge: says which formats are wanted.
        boards: the boards to write.
        store: holds crops of SR images.
        registry: networks, whose authors may state figures.

    Returns:
        The files that were written.

    Raises:
        RecordError: a file cannot be written.
    """
    written: list[Path] = []

    def write(name: str, text: str) -> None:
        replace_file(folder / name, text.encode())
        written.append(folder / name)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each in boards:
            table = leaderboard_table(each.board)
            for form in challenge.outputs.tables:
                write(f"{each.name}.{SUFFIXES.get(form, form)}", str(render(table, form)))
            if challenge.outputs.page:
                page = report_page(
                    each.board,
                    each.records,
                    store=store,
                    claims=claims_of(registry, each.board, each.records),
                    title=f"{challenge.title}: {each.board.data}, {each.board.forward_class}",
                )
                write(f"{each.name}.html", page)
    except OSError as error:
        message = f"{error.filename or folder}: cannot be written: {error.strerror or error}"
        advice = "Free space, or name another folder in [outputs] of the challenge."
        raise RecordError(message, advice=advice) from error
    return written
