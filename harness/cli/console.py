"""How commands speak: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.errors import DataError, EsrbenchError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console
    from rich.progress import Progress

    from harness.catalog.registry import Registry
    from harness.records import Notice

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout, messages on stderr.")
]


def messages() -> Console:
    """Console for progress, warnings and errors."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def results() -> Console:
    """Console for what was asked for; wide where nobody looks at a terminal."""
    from rich.console import Console

    wide = None if sys.stdout.isatty() else 200
    return Console(highlight=False, width=wide)


def progress_bar(*, quiet: bool = False) -> Progress:
    """A bar of counted steps with time left, on stderr, gone when done.

    Args:
        quiet: drawn only when asked to (``refresh``), not ten times a second beside what is
            being timed.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=messages(),
        transient=True,
        auto_refresh=not quiet,
    )


def print_json(document: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))  # noqa: T201


def open_registry() -> Registry:
    """The registry of networks; warns of distributions that could not be loaded."""
    from harness.catalog.registry import default_registry

    registry = default_registry()
    print_notices(registry.notices)
    return registry


def print_notices(notices: Iterable[Notice], *, subject: str = "") -> None:
    """Print typed warnings, of a subject if there is one."""
    of = f"{subject}: " if subject else ""
    for notice in notices:
        line = f"warning ({notice.code}): {of}{notice.message}. {notice.advice}"
        messages().print(line, style="yellow", markup=False)


def report_error(error: EsrbenchError, *, as_json: bool) -> None:
    """Print an error with its problems and advice."""
    problems = error.problems if isinstance(error, DataError) else ()
    if as_json:
        document = {
            "message": error.message,
            "problems": problems,
            "advice": error.advice,
            "exit_code": error.exit_code,
        }
        print_json({"error": document})
    console = messages()
    console.print(f"error: {error.message}", style="bold red", markup=False)
    for problem in problems:
        console.print(f"  - {problem}", markup=False)
    if error.advice:
        console.print(error.advice, markup=False)
