"""Runs suites for commands, and prints the results."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING

import typer

from esrbench.cli.console import (
    again,
    messages,
    pasted,
    print_by_kind,
    print_json,
    print_notices,
    progress_bar,
)
from esrbench.cli.tables import print_table
from esrbench.errors import EXIT_INTERRUPTED, EXIT_MEASUREMENT_FAILED, UsageError
from esrbench.metrics import METRICS
from esrbench.plaintext import line, plural
from esrbench.records import Absent, Value
from esrbench.runs.lock import WAITING
from esrbench.runs.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.progress import TaskID

    from esrbench.ranking.board import Leaderboard
    from esrbench.records import EntryIdentity, RunRecord
    from esrbench.runs.cells import Engine
    from esrbench.runs.plan import Suite
    from esrbench.runs.progress import SuiteProgress


ROW = ("psnr_rgb", "params", "macs_ntire2022", "activations_ntire2022")
"""Metrics that are shown as soon as an entry is scored and counted."""
ROW_TIMED = ("runtime_images",)
"""Metrics that are shown once an entry is timed."""
MOST_WARNINGS = 2
"""Number of kinds of warnings that are shown below a table, without ``--verbose``."""


def shown_values(record: RunRecord, metrics: Iterable[str]) -> Iterator[str]:
    """Available metrics of a record, such as ``Params 0.433 M``."""
    for key in metrics:
        value = record.values.get(key)
        if isinstance(value, Value):
            yield f"{METRICS[key].label} {METRICS[key].show(value.value)}"


@contextmanager
def images_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each data set while its images are checked; call it with name, done and all."""
    with progress_bar() as progress:
        bars: dict[str, TaskID] = {}

        def on_image(spec: str, done: int, total: int) -> None:
            if spec not in bars:
                bars[spec] = progress.add_task(f"checking {spec}", total=total)
            progress.update(bars[spec], completed=done)

        yield on_image


def print_plan(
    suites: Sequence[Suite],
    store: Store,
    caption: str,
    *,
    resume: bool,
    engine: Engine | None,
    as_json: bool,
) -> None:
    """Print what suites would run.

    Raises:
        UsageError: JSON of several suites is asked for.
    """
    from esrbench.reports.forecast import forecast_table
    from esrbench.runs.forecast import forecast

    if as_json and len(suites) > 1:
        message = "--plan --json: one document holds the plan of one backend"
        raise UsageError(message, advice="Name one by --backend.")
    for suite in suites:
        found = forecast(suite, store, resume=resume, elsewhere=engine is not None)
        print_table(forecast_table(found, caption), as_json=as_json)


def execute(
    suites: Sequence[Suite],
    store: Store,
    known: list[RunRecord],
    *,
    resume: bool,
    engine: Engine | None,
    timeout_seconds: float,
    entry_seconds: float,
) -> tuple[list[RunRecord], bool]:
    """Run suites one after the other, under a progress bar.

    Args:
        suites: the plans, one for each backend.
        store: store of the records.
        known: receives records that existed already.
        resume: see ``run_suite``.
        engine: see ``run_suite``.
        timeout_seconds: see ``run_suite``.
        entry_seconds: see ``run_suite``.

    Returns:
        The records that were made, and whether a suite was interrupted.
    """
    from esrbench.runs.events import SuiteEvents
    from esrbench.runs.suite import run_suite

    records: list[RunRecord] = []
    with progress_bar(quiet=True, eta=False) as progress:
        task = progress.add_task("starting", total=None)
        where = ""

        def on_progress(now: SuiteProgress) -> None:
            nonlocal where
            where = now.describe()
            done, total = now.passes
            progress.update(task, completed=done, total=total)
            if not progress.console.is_terminal:
                progress.print(line(f"{where}: {now.entry}"), markup=False)

        def on_step(entry: str, step: str) -> None:
            progress.update(task, description=line(f"{where}: {entry}, {step}"), refresh=True)
            if step.startswith(WAITING) and not progress.console.is_terminal:
                progress.print(line(f"{entry}: {step}"), markup=False)

        def on_scored(record: RunRecord) -> None:
            if found := ", ".join(shown_values(record, ROW)):
                said = f"{record.entry.name} on {record.data.name}: {found}"
                progress.print(line(said), markup=False)

        def on_known(record: RunRecord) -> None:
            known.append(record)
            said = f"{record.entry.name} on {record.data.name}: {record.status}, measured before"
            progress.print(line(said), markup=False)

        try:
            run = partial(
                run_suite,
                store=store,
                resume=resume,
                engine=engine,
                events=SuiteEvents(
                    on_step=on_step,
                    on_known=on_known,
                    on_notice=lambda notice: print_notices([notice]),
                    on_progress=on_progress,
                    on_scored=on_scored,
                ),
                timeout_seconds=timeout_seconds,
                entry_seconds=entry_seconds,
            )
            for record in chain.from_iterable(map(run, suites)):
                records.append(record)
                said = f"{record.entry.name} on {record.data.name}: {record.status}"
                said += f" in {record.duration_seconds:.0f} s"
                cause = (record.cause or "").removeprefix(f"{record.status}: ")
                said += f" ({cause})" if cause else ""
                said += "".join(f", {each}" for each in shown_values(record, ROW_TIMED))
                more = f"; `esrbench help {record.status}` explains this"
                said += more if record.status != "ok" else ""
                progress.print(line(said), markup=False)
        except KeyboardInterrupt:
            return records, True
    return records, False


def conclude(
    records: Sequence[RunRecord],
    boards: Sequence[Leaderboard],
    store: Store,
    *,
    interrupted: bool,
    count: int,
    following: Sequence[tuple[str, str]] = (),
    verbose: bool,
    as_json: bool,
) -> None:
    """Print the results of a suite, and end with its exit code.

    Args:
        records: records of the suite, with those that existed already.
        boards: boards to print.
        store: store of the records.
        interrupted: the suite was interrupted.
        count: number of new records.
        following: next commands for the user, and what they are for.
        verbose: print every warning.
        as_json: print the records as one document instead of the boards.
    """
    from esrbench.entries.registry import default_registry
    from esrbench.reports.leaderboard import leaderboard_table

    if as_json:
        document = {
            "interrupted": interrupted,
            "records": [record.model_dump(mode="json") for record in records],
        }
        print_json(document)
    else:
        told = list(default_registry().notices)  # by ``open_registry``
        for board in boards:
            new = tuple(notice for notice in board.notices if notice not in told)
            if board is not boards[0]:
                print()  # noqa: T201 - between two tables
            told += new
            table = leaderboard_table(board.model_copy(update={"notices": new}))
            print_table(table, hint=False)
    report(records, verbose=verbose)
    if interrupted:
        runs = plural(len(records), "finished run")
        said = f"interrupted: {runs} in {store.runs}; `{again('--resume')}` continues"
        messages().print(said, markup=False)
        sys.exit(EXIT_INTERRUPTED)
    messages().print(f"{plural(count, 'new record')} in {store.runs}", markup=False)
    width = max((len(command) for command, _ in following), default=0)
    for command, what in following:
        messages().print(f"next: {command:{width}}  # {what}", markup=False)
    if any(record.status != "ok" and not record.ranked for record in records):
        raise typer.Exit(EXIT_MEASUREMENT_FAILED)


def report(records: Sequence[RunRecord], *, verbose: bool = False) -> None:
    """Print warnings of the runs, and hints on how to complete them.

    Without ``verbose``, print one warning for each of the two most frequent kinds, and one hint.
    """
    several = len({record.data.digest for record in records}) > 1
    named = [
        (f"{r.entry.name} on {r.data.name}" if several else r.entry.name, notice)
        for r in records
        for notice in r.notices
    ]
    print_by_kind(
        named,
        verbose=verbose,
        most=None if verbose else MOST_WARNINGS,
        all_shown_by=again("--resume", "--verbose"),
    )
    for hint in islice(hints(records), None if verbose else 1):
        messages().print(line(f"hint: {pasted(hint)}"), markup=False)


def hints(records: Sequence[RunRecord]) -> Iterator[str]:
    """Commands that would complete the runs, the most important first."""
    newest = {record.entry.name: record for record in records}
    for name, record in newest.items():
        if record.advice and not record.ranked:
            yield f"{name}: {record.advice}"
    for name, record in newest.items():
        psnr = record.values["psnr_rgb"]
        if isinstance(psnr, Absent) and psnr.kind == "unavailable" and psnr.advice:
            yield f"no PSNR for {name}. {psnr.advice}"
    yield from demonstration_hints(record.entry for record in records)


def demonstration_hints(entries: Iterable[EntryIdentity]) -> Iterator[str]:
    """The note on entries that ran with the weights that come with esrbench."""
    from esrbench.entries.registry import default_registry

    of_kind: dict[bool, dict[str, None]] = {}
    for each in entries:
        if each.weights.source == "demo":
            found = default_registry().get(each.name).released_weights(each.scale)
            of_kind.setdefault(found is not None, {})[each.name] = None
    for released, names in of_kind.items():
        said = (
            f"{', '.join(names)} ran with demonstration weights that esrbench trained, not the "
            "authors'"
        )
        if released:
            yield f"{said}; `esrbench fetch weights {' '.join(names)}` fetches the authors'."
        else:
            yield f"{said}; none were released. Give your own: --weights NAME=FILE."
