"""A table of the progress of running suites, over all machines."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from esrbench.plaintext import line
from esrbench.reports.table import MISSING, Heading, Note, Section, Span, Table, plain
from esrbench.runs.passes import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from esrbench.runs.status import Failure, SuiteStatus

NAMED_CELLS = 4
"""Cells that a note on failures names."""


def status_table(statuses: Sequence[SuiteStatus], stored: Mapping[str, int], caption: str) -> Table:
    """Progress of each suite on each data set, the machines at work, and failures.

    Args:
        statuses: of suites under way.
        stored: number of records by status; shown if no suite is under way. If a suite was
            interrupted, only of the records that were made after its last pass.
        caption: caption of the table.
    """
    names = ("Machine", "Device", "Makes now", "Cells begun", "Passes", "Newest pass")
    headings = tuple(
        Heading(name, align="right" if name in {"Cells begun", "Passes"} else "left")
        for name in names
    )
    several = len(statuses) > 1
    sections = tuple(
        Section(
            tuple(
                (
                    plain(each.name or MISSING),
                    plain(each.device or MISSING),
                    plain(", ".join(each.running) or MISSING),
                    plain(str(each.cells)),
                    plain(str(each.passes)),
                    plain(f"{each.newest:%Y-%m-%d %H:%M:%S} UTC" if each.newest else MISSING),
                )
                for each in status.machines
            ),
            label=status.data if several else "",
        )
        for status in statuses
    )
    if several:
        headings = (Heading("Data"), *headings)
    records = [
        {"suite": status.suite, "data": status.data} | asdict(each)
        for status in statuses
        for each in status.machines
    ]
    failures = [(each, status.data) for status in statuses for each in status.failures]
    return Table(
        headings=headings,
        sections=sections,
        caption=caption,
        lead=(*map(_progress, statuses), *_ended(statuses, stored)),
        notes=tuple(Note(_failure(each, data if several else "")) for each, data in failures),
        records=records,
        document={"suites": [_document(each) for each in statuses], "records": dict(stored)},
        label="tab:status",
    )


def _progress(status: SuiteStatus) -> Span:
    said = f"{status.data}: {status.progress.describe()}"
    if status.in_use:
        return Span(said)
    return Span(f"{said}. No machine works on it: run it again with --resume.", "doubtful")


def _ended(statuses: Sequence[SuiteStatus], stored: Mapping[str, int]) -> Iterator[Span]:
    """What is stored, if no suite is under way."""
    counts = ", ".join(f"{count} {status}" for status, count in stored.items())
    if not statuses:
        said = f". Records: {counts}." if stored else ", and there are no records."
        yield Span(f"No suite is under way{said}")
    elif stored:
        yield Span(f"Runs of later suites, which ended: {counts}.")


def _failure(failure: Failure, data: str) -> str:
    on = f" on {data}" if data else ""
    why = line(failure.why).rstrip(".")
    if failure.kind == "entry":
        return f"{failure.names[0]} failed{on}: {why}."
    tries = Counter(failure.names)
    cells = [f"{name} ({count} times)" if count > 1 else name for name, count in tries.items()]
    if len(cells) > NAMED_CELLS:
        cells = [*cells[:NAMED_CELLS], f"{len(cells) - NAMED_CELLS} more"]
    where = f" on {failure.where}" if failure.where else ""
    end = " A later try succeeded." if failure.done else ""
    named = f"{'Cells' if len(tries) > 1 else 'Cell'} {', '.join(cells)}"
    if failure.why == INTERRUPTED:
        were = "were" if len(tries) > 1 else "was"
        return f"{named} {were} interrupted{where}{on}.{end}"
    return f"{named} failed{where}{on}: {why}.{end}"


def _document(status: SuiteStatus) -> dict[str, Any]:
    progress = status.progress
    return asdict(status) | {
        "progress": {
            "passes": {"made": progress.passes[0], "all": progress.passes[1]},
            "entries": {"complete": progress.entries[0], "all": progress.entries[1]},
            "cells": dict(Counter(progress.cells.values())),
            "seconds_left": progress.seconds_left,
        }
    }
