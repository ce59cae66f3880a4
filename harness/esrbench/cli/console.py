"""Output of commands: results on stdout, everything else on stderr."""

from __future__ import annotations

import gc
import os
import re
import shlex
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from esrbench.errors import DataError, EsrbenchError
from esrbench.manual.messages import NOTICES
from esrbench.plaintext import in_ascii, line, plural, sentence, visible
from esrbench.reports.formats.json import json_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.progress import Progress, ProgressColumn
    from rich.segment import Segment

    from esrbench.entries.registry import Registry
    from esrbench.records import Notice
    from esrbench.sandbox.sandbox import Sandbox

ERROR_CHARACTERS = 3000
"""Largest length of an error's message, which may list the faults of a manifest."""
NAMED_ENTRIES = 8
"""Number of entries that a warning names, if it stands for several entries."""
MOST_ADVICE = 2
"""Number of pieces of advice that such a warning gives, if entries have different ones."""
CARRIED: Final = {
    "--results": (
        *("run", "status", "race", "runs", "score", "leaderboard", "report", "site", "compare"),
        *("figure", "show", "doctor"),
    ),
    "--data": ("run", "check", "baseline"),
}
"""Options that a suggested command inherits, with the commands for which they mean the same."""
_COMMAND = re.compile(r"`esrbench ([a-z-]+)[^`]*`")
_WORDS = re.compile(r"next: .*|\s*(?:`[^`]*`\S*|\S+)\s*", re.DOTALL)
"""Words, and whole commands. A line break within a command would end it when it is pasted."""
_LINE_COMMAND = re.compile(r"(?m)^(\s*)::")
_RATIO = "\\1\N{RATIO}\N{RATIO}"
"""Replacement for two colons that a CI runner would take for a command."""

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout, messages on stderr.")
]

_quiet = ContextVar("quiet", default=False)
"""Whether the command that runs prints tables and errors only."""


def _be_quiet(ctx: typer.Context, asked: bool) -> bool:
    _quiet.set(asked)
    ctx.call_on_close(lambda: _quiet.set(False))  # errors are printed afterwards
    return asked


QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet",
        callback=_be_quiet,
        is_eager=True,
        help="Print tables and errors only: no progress, no warnings and hints beside them.",
    ),
]


@cache
def _console() -> type[Console]:
    """A console on which no text can act as a command, even if a stranger wrote it.

    rich leaves control characters as they are. It also breaks lines at the end of a cell, so text
    from the middle of a line may begin a new one.
    """
    from rich.console import Console

    class PlainConsole(Console):
        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            ascii_only = self.options.ascii_only
            for segment in super().render(renderable, options):
                text = segment.text if segment.control else _shown(segment.text)
                yield segment._replace(text=in_ascii(text) if ascii_only else text)

        def print(self, *objects: Any, **options: Any) -> None:
            # rich must not wrap messages: it would break commands that users paste.
            if self.is_terminal and self.stderr:
                objects = tuple(
                    filled(each, self.width) if isinstance(each, str) else each for each in objects
                )
            super().print(*objects, **options)

    return PlainConsole


def filled(text: str, width: int) -> str:
    """A message in lines of a width, broken between words; commands for pasting stay whole."""
    lines = [""]
    for word in _WORDS.findall(text):
        if lines[-1].strip() and len(lines[-1] + word.rstrip()) > width:
            lines.append("")
        lines[-1] += word
    return "\n".join(each.rstrip(" ") for each in lines)


def _shown(text: str) -> str:
    """A piece of text for a terminal; line breaks stay."""
    cleaned = "\n".join(map(visible, text.split("\n")))
    return _LINE_COMMAND.sub(_RATIO, cleaned)


@contextmanager
def many_objects() -> Iterator[None]:
    """Make thousands of records and rows without garbage collection.

    They have no cycles, and looking for cycles takes as long as everything else.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # otherwise the last collection of the process looks at all of them
        if enabled:
            gc.enable()


def messages() -> Console:
    """Console for progress, warnings and errors; silent while a command with --quiet runs."""
    return _console()(stderr=True, highlight=False, soft_wrap=True, quiet=_quiet.get())


def results() -> Console:
    """Console for what was asked for; wide in a pipe, unless ``COLUMNS`` says how wide."""
    wide = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else 200
    return _console()(highlight=False, width=wide)


def progress_bar(*, quiet: bool = False, eta: bool = True) -> Progress:
    """A bar of counted steps with time left, on stderr, gone when done.

    Args:
        quiet: draw the bar only on ``refresh``, not ten times a second, because something is
            being timed.
        eta: show the time left; steps must take about the same time.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return transient_progress(
        # Names of images come from strangers, and must not be read as markup.
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        *((TextColumn("ETA"), TimeRemainingColumn()) if eta else ()),
        auto_refresh=not quiet,
    )


def transient_progress(*columns: ProgressColumn, auto_refresh: bool = True) -> Progress:
    """Progress on stderr that is gone when done. In a pipe, which would keep it, there is none.

    Args:
        columns: what a line shows, from left to right.
        auto_refresh: draw it ten times a second, not only on ``refresh``.
    """
    from rich.progress import Progress

    console = messages()
    return Progress(
        *columns,
        console=console,
        transient=True,
        auto_refresh=auto_refresh,
        disable=not console.is_terminal,
    )


def print_commands(why: str, commands: Sequence[str]) -> None:
    """Print a hint on stderr: what for, and the commands to run, each on its own line."""
    if commands:
        messages().print(f"hint: {why}, run:", markup=False)
    for command in commands:
        messages().print(f"  {command}", markup=False)


def print_json(document: Any) -> None:
    """Print one JSON document; invisible characters are escaped by their numbers."""
    print(json_text(document), end="")  # noqa: T201


def again(*options: str) -> str:
    """The command as it was given, with further options, for pasting."""
    more = [each for each in options if each not in sys.argv]
    return shlex.join(["esrbench", *sys.argv[1:], *more])


def command(verb: str, *words: str, **options: object) -> str:
    """A command for pasting. An option that is None is left out; a list repeats its option."""
    given = [
        text
        for name, value in options.items()
        for each in (value if isinstance(value, (list, tuple)) else [value])
        if each is not None
        for text in (f"--{name.replace('_', '-')}", str(each))
    ]
    return shlex.join(["esrbench", verb, *words, *given])


def pasted(text: str) -> str:
    """Text whose commands inherit ``--results`` and ``--data`` from the running command."""
    verb, *words = sys.argv[1:] or [""]
    given = [
        (option, value)
        for word, following in pairwise([*words, ""])
        for option, equals, joined in [word.partition("=")]
        if option in CARRIED and verb in CARRIED[option]
        for value in [joined if equals else following]
    ]

    def completed(found: re.Match[str]) -> str:
        whole, other = found[0], found[1]
        if "--help" in whole:
            return whole
        more = [
            word
            for option, value in given
            if other in CARRIED[option] and option not in whole
            for word in (option, value)
        ]
        return f"{whole[:-1]} {shlex.join(more)}`" if more else whole

    return _COMMAND.sub(completed, text)


def open_registry() -> Registry:
    """The registry of networks; warns of distributions that could not be loaded."""
    from esrbench.entries.registry import default_registry

    registry = default_registry()
    broken = {error.message: name for name, error in registry.broken.items()}
    named = [(broken.get(notice.message, ""), notice) for notice in registry.notices]
    print_by_kind(named, hint="`esrbench validate NAME` says what is wrong with each")
    return registry


def print_notices(notices: Iterable[Notice], *, subject: str = "") -> None:
    """Print typed warnings; a subject, if given, stands in front."""
    of = f"{subject}: " if subject else ""
    for notice in notices:
        said = sentence(line(notice.message))
        text = f"warning ({notice.code}): {of}{said} {pasted(line(notice.advice))}"
        text += pointer(notice.code)
        messages().print(text, style="yellow", markup=False)


def pointer(code: str) -> str:
    """The command that shows the manual's text on a notice, if there is one."""
    return f" More: `esrbench help {code}`." if code in NOTICES else ""


def print_by_kind(
    named: Iterable[tuple[str, Notice]],
    *,
    verbose: bool = False,
    most: int | None = None,
    all_shown_by: str = "",
    hint: str = "",
) -> None:
    """Print typed warnings of many entries, one line for each kind, with one message of each.

    Args:
        named: entries and warnings; without a name, the warning itself names its entries.
        verbose: print a line for each warning.
        most: number of kinds to show, the most frequent first; None for all.
        all_shown_by: command that shows the other kinds too.
        hint: how to see each warning, if some share a line.
    """
    kinds: dict[str, dict[str, list[Notice]]] = {}
    for name, notice in named:
        kinds.setdefault(notice.code, {}).setdefault(name, []).append(notice)
    grouped = False
    frequent = sorted(kinds, key=lambda code: -len(kinds[code])) if most else kinds
    for code in [*frequent][:most]:
        entries = kinds[code]
        if verbose or len(entries) == 1:
            for name, notices in entries.items():
                print_notices(notices, subject=name)
            continue
        grouped = True
        names = [*list(entries)[:NAMED_ENTRIES], *(["..."] if len(entries) > NAMED_ENTRIES else [])]
        advice = dict.fromkeys(
            pasted(line(n.advice)) for notices in entries.values() for n in notices
        )
        first, (seen, *_) = next(iter(entries.items()))
        text = f"warning ({code}): {len(entries)} entries ({', '.join(names)}), such as {first}: "
        text += f"{sentence(line(seen.message))} {' '.join([*advice][:MOST_ADVICE])}"
        text += pointer(code)
        messages().print(text, style="yellow", markup=False)
    if most and len(kinds) > most:
        more = plural(len(kinds) - most, "more kind")
        messages().print(f"{more} of warnings: `{all_shown_by}` shows them", markup=False)
    if grouped and hint:
        messages().print(f"hint: {pasted(hint)}", markup=False)


def print_banner(sandbox: Sandbox) -> None:
    """Say what a sandbox does not keep from networks, unless it keeps everything."""
    if sandbox.banner is not None:
        messages().print(f"warning: {sandbox.banner}", style="yellow", markup=False)


def report_error(error: EsrbenchError, *, as_json: bool) -> None:
    """Print an error with its problems and advice."""
    problems = error.problems if isinstance(error, DataError) else ()
    advice = error.advice and pasted(error.advice)
    if as_json:
        document = {
            "message": error.message,
            "problems": problems,
            "advice": advice,
            "exit_code": error.exit_code,
        }
        print_json({"error": document})
    console = messages()
    console.print(f"error: {line(error.message, ERROR_CHARACTERS)}", style="bold red", markup=False)
    for problem in problems:
        console.print(f"  - {line(problem)}", markup=False)
    # Some advice is a list of commands, one on each line.
    for each in advice.split("\n") if advice else ():
        console.print(line(each), markup=False)
