"""``esrbench compare``: the comparison table of a paper, from stored records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esrbench.cli.console import (
    JsonOption,
    QuietOption,
    messages,
    open_registry,
    print_commands,
    print_notices,
    progress_bar,
)
from esrbench.cli.options import CalibrateOption, ClassOption, ResultsOption, parse_size
from esrbench.cli.tables import (
    FormatOption,
    LabelOption,
    NotesOption,
    check_label,
    print_table,
)
from esrbench.errors import UsageError
from esrbench.plaintext import plural
from esrbench.runs.store import Store, default_results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.data.calibration import Calibration
    from esrbench.data.datasets import ImagePairs
    from esrbench.paired.backends import BackendRow
    from esrbench.protocol import Protocol
    from esrbench.records import BackendFigures
    from esrbench.reports.table import Table
    from esrbench.runs.evaluator import Entry


def compare_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Entries by name or folder, in the table's order.",
            show_default="all with records, by params",
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Data sets or folders, as in set5,set14,bsd100,./mine. Repeatable.",
            show_default="all with records",
        ),
    ] = None,
    scale: Annotated[
        list[str] | None,
        typer.Option(
            help="Upscaling factors, as in 2,3,4. Repeatable.", show_default="all with records"
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            help="Metrics by key (`esrbench list metrics`), separated by commas. Repeatable.",
            show_default="params,macs_ntire2022,macs_1280x720,psnr_y,ssim_y",
        ),
    ] = None,
    backends: Annotated[
        str | None,
        typer.Option(
            help="Run the entries by these backends beside eager torch, instead: all, or names "
            "separated by commas."
        ),
    ] = None,
    calibrate_with: CalibrateOption = None,
    input_size: Annotated[
        str, typer.Option(help="LR size that is timed, with --backends.")
    ] = "64x64",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads, with --backends.")
    ] = None,
    forward_class: ClassOption = None,
    published: Annotated[
        bool,
        typer.Option(
            "--published", help="Show published or claimed figures of networks that were not run."
        ),
    ] = False,
    table_format: FormatOption = "terminal",
    caption: Annotated[
        str | None, typer.Option(help="Caption of the table, instead of its title.")
    ] = None,
    label: LabelOption = None,
    notes: NotesOption = False,
    bibliography: Annotated[
        Path | None,
        typer.Option(
            "--references", help="New .bib file for the publications that LaTeX tables cite."
        ),
    ] = None,
    folder: ResultsOption = None,
    _quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Print a paper's comparison table of stored records, best and second best marked.

    Rows are grouped by scale; the columns are complexity, then PSNR and SSIM on Y of each data
    set. A dash stands for a missing run, and stderr has the commands that would measure it.
    """
    from esrbench.data.calibration import open_calibration
    from esrbench.data.datasets import name_in_records, open_dataset
    from esrbench.entries.registry import resolve_names
    from esrbench.paired.backends import compared_protocols, named_backends
    from esrbench.protocol import Protocol
    from esrbench.reports.comparing import build_comparison
    from esrbench.reports.comparison import comparison_table
    from esrbench.reports.comparison_sources import DEFAULT_COLUMNS, Wanted, write_references
    from esrbench.runs.plan import plan_entries

    check_label(label)
    if bibliography is not None:
        write_references(bibliography)
    registry = open_registry()
    if backends is not None:
        protocol = Protocol(threads=threads, counted_input=parse_size(input_size), latency=None)
        only = _scale(_one("--scale", scale, "4"))
        calibration = open_calibration(calibrate_with, only) if calibrate_with else None
        chosen = named_backends(_listed("--backends", [backends]))
        table = _by_backends(
            plan_entries(registry, resolve_names(registry, names or ()), only, {}),
            compared_protocols(protocol, chosen, calibration),
            open_dataset(_one("--data", data, "demo"), only),
            calibration,
            Store(folder or default_results()),
        )
        print_table(table, table_format, label=label, as_json=as_json)
        return
    wanted = Wanted(
        entries=tuple(resolve_names(registry, names or ())),
        data=tuple(map(name_in_records, _listed("--data", data))),
        scales=tuple(map(_scale, _listed("--scale", scale))),
        columns=_listed("--columns", columns) or DEFAULT_COLUMNS,
        forward_class=forward_class,
        published=published,
    )
    records, warnings = Store(folder or default_results()).load()
    print_notices(warnings)
    comparison = build_comparison(records, wanted, registry)
    print_notices(comparison.notices)
    table = comparison_table(comparison)
    table = replace(table, caption=caption or table.caption)
    print_table(table, table_format, label=label, notes=notes, as_json=as_json)
    print_commands("to fill the table", comparison.commands)


def _by_backends(
    entries: Sequence[Entry],
    protocols: Sequence[Protocol],
    pairs: ImagePairs,
    calibration: Calibration | None,
    store: Store,
) -> Table:
    """Entries under each protocol; stderr has each row as it is there, and a progress bar."""
    from esrbench.environment import cpus_available, describe_environment
    from esrbench.paired.backends import compare_backends, plan_rows, stored_rows
    from esrbench.records import BackendRecord
    from esrbench.reports.backends import backends_table, describe
    from esrbench.runs.lock import device_lock

    store.require_writable(BackendRecord)
    rows = plan_rows(entries, protocols, pairs)
    figures: list[BackendFigures] = []
    with (
        device_lock(
            "cpu", on_wait=lambda who: messages().print(f"waiting for {who}", markup=False)
        ),
        progress_bar(quiet=True, eta=False) as progress,
    ):
        known, notices = stored_rows(rows, store)
        print_notices(notices)
        measured = sum(row.fingerprint not in known for row in rows)
        messages().print(
            f"measuring {measured} of {plural(len(rows), 'row')}; "
            f"each is stored in {store.backends}",
            markup=False,
        )
        task = progress.add_task("starting", total=len(rows))

        def on_step(row: BackendRow, step: str) -> None:
            said = f"{row.entry.descriptor.name}: {row.protocol.forward.label}, {step}"
            progress.update(task, description=said, refresh=True)

        for each in compare_backends(
            rows, pairs, store, known=known, calibration=calibration, on_step=on_step
        ):
            figures.append(each)
            progress.console.print(describe(each), markup=False)
            progress.update(task, completed=len(figures), refresh=True)
    threads = protocols[0].threads or cpus_available()
    environment = describe_environment(threads=threads, accelerator=None)
    return backends_table(figures, protocols, environment, pairs.identity().title)


def _one(option: str, given: Sequence[str] | None, default: str) -> str:
    """The one value of an option that takes several elsewhere.

    Raises:
        UsageError: there are several.
    """
    if given and len(given) > 1:
        message = f"{option}: --backends takes one of them"
        raise UsageError(message, advice="Compare one after the other.")
    return given[0] if given else default


def _listed(option: str, texts: Sequence[str] | None) -> tuple[str, ...]:
    """Parts of values separated by commas, each once.

    Raises:
        UsageError: an empty part.
    """
    parts = [part.strip() for text in texts or () for part in text.split(",")]
    if not all(parts):
        message = f"{option} {','.join(texts or ())!r}: expected names separated by commas"
        raise UsageError(message, advice="Leave out the empty one.")
    return tuple(dict.fromkeys(parts))


def _scale(text: str) -> int:
    """A scale, as ``4`` or ``x4``.

    Raises:
        UsageError: not a positive number.
    """
    digits = text.removeprefix("x")
    if digits.isdecimal() and int(digits) > 0:
        return int(digits)
    message = f"--scale {text!r}: expected numbers separated by commas"
    raise UsageError(message, advice="For example 2,3,4.")
