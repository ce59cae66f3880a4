"""The table of what a suite would run."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

from esrbench.plaintext import plural
from esrbench.reports.table import MISSING, Heading, Note, Section, Table, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.runs.forecast import PlannedRun


def forecast_table(planned: Sequence[PlannedRun], caption: str) -> Table:
    """A row for each entry and data set, and notes on the total time and size.

    Args:
        planned: planned runs in order.
        caption: caption of the table.
    """
    names = ("Entry", "Data", "Class", "Where", "Passes", "Done", "Time", "Record", "By")
    headings = tuple(
        Heading(name, align="right" if name in {"Passes", "Done", "Time", "Record"} else "left")
        if name != "By"
        else Heading(name, prose=True)
        for name in names
    )
    rows = tuple(
        (
            plain(each.entry),
            plain(each.data),
            plain(each.forward_class),
            plain(each.where),
            plain(str(each.passes)),
            plain(str(each.done)),
            plain(_time(each.seconds)),
            plain(_size(each.size)),
            plain(each.basis, "plain" if each.passes else "faint"),
        )
        for each in planned
    )
    left = [each for each in planned if each.passes]
    known = [each for each in left if each.seconds is not None]
    seconds, size = sum(each.seconds or 0 for each in known), sum(each.size or 0 for each in known)
    total = (
        f"{plural(sum(each.passes for each in left), 'pass')} of {plural(len(left), 'run')} to make"
    )
    if done := sum(each.done for each in planned):
        total += f", {done} already there"
    if known:
        total += f"; they take about {_time(seconds)} in sequence, and {_size(size)} of records"
    if unknown := len(left) - len(known):
        total += f"; the duration of {plural(unknown, 'run')} is unknown"
    records = [asdict(each) for each in planned]
    notes = (
        Note(f"{total}."),
        Note("While a suite runs, its passes take about as much disk space again as its records."),
    )
    return Table(
        headings=headings, sections=(Section(rows),), caption=caption, notes=notes, records=records
    )


def _time(seconds: float | None) -> str:
    return MISSING if seconds is None else str(timedelta(seconds=round(seconds)))


def _size(size: int | None) -> str:
    return MISSING if size is None else f"{size / 1e6:.2f} MB"
