"""``esrbench import``: the entries of a challenge's repository as folders of submissions."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from esrbench.cli.console import JsonOption
from esrbench.cli.tables import FormatOption, print_table
from esrbench.errors import EXIT_MEASUREMENT_FAILED, UsageError
from esrbench.plaintext import line, plural
from esrbench.reports.table import MISSING, Heading, Note, Section, Span, Table, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from esrbench.entries.challenge import ImportedEntry, Outcome
    from esrbench.entries.script import Script
    from esrbench.reports.table import Tone

SCRIPT: Final = "test_demo.py"
SAID: Final[Mapping[Outcome, tuple[str, Tone]]] = {
    "imported": ("imported", "good"),
    "question": ("imported with a question", "doubtful"),
    "withheld": ("withheld", "faint"),
    "kept": ("is there already", "faint"),
    "failed": ("not imported", "wrong"),
}


def import_command(
    repository: Annotated[
        Path,
        typer.Argument(help=f"Folder with {SCRIPT}, or another script with one branch per team."),
    ],
    into: Annotated[
        Path | None,
        typer.Option("--into", help="Folder of all entries.", show_default="submissions"),
    ] = None,
    only: Annotated[str | None, typer.Option(help="Teams by number, such as 7,12.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing folders.")] = False,
    table_format: FormatOption = "terminal",
    as_json: JsonOption = False,
) -> None:
    """Turn a challenge's repository into submission folders, without running its code."""
    from esrbench.entries.challenge import import_team
    from esrbench.entries.script import read_script
    from esrbench.entries.submissions import submissions_folder

    script = read_script(repository / SCRIPT if repository.is_dir() else repository)
    folder = into or submissions_folder()
    numbers = _numbers(only, script)
    entries = [import_team(script, number, folder, force=force) for number in numbers]
    print_table(_table(entries, script, folder), table_format, as_json=as_json)
    if any(entry.outcome == "failed" for entry in entries):
        raise typer.Exit(EXIT_MEASUREMENT_FAILED)


def _numbers(only: str | None, script: Script) -> Sequence[int]:
    if only is None:
        return script.numbers
    words = [word.strip() for word in only.split(",")]
    unknown = [word for word in words if word not in map(str, script.numbers)]
    if unknown:
        message = f"--only {only}: {script.path} has no branch for {', '.join(unknown)}"
        known = ", ".join(map(str, script.numbers))
        raise UsageError(message, advice=f"It has branches for {known}.")
    return [int(word) for word in dict.fromkeys(words)]


def _table(entries: Sequence[ImportedEntry], script: Script, folder: Path) -> Table:
    """One row for each team, and the folder of the entries."""
    headings = ("team", "entry", "result", "weights", "requires", "question")
    rows = []
    for entry in entries:
        said, tone = SAID[entry.outcome]
        questions = [f"line {each.line}: {line(each.text)}" for each in entry.questions]
        rows.append(
            (
                plain(str(entry.number)),
                plain(entry.entry or MISSING),
                plain(said, tone),
                plain(line(entry.weights or MISSING)),
                plain(", ".join(entry.requirements) or MISSING),
                plain("; ".join(questions) or MISSING),
            )
        )
    counts = [
        f"{count} {said}"
        for outcome, (said, _) in SAID.items()
        if (count := sum(entry.outcome == outcome for entry in entries))
    ]
    return Table(
        headings=tuple(Heading(name, prose=name == "question") for name in headings),
        sections=(Section(tuple(rows)),),
        caption=f"Entries of {line(str(script.path))}",
        notes=tuple(map(Note, _advice(entries, folder))),
        outcome=Span(
            f"{plural(len(entries), 'team')}: {', '.join(counts)}; folder: {line(str(folder))}"
        ),
        records=[
            asdict(entry) | {"folder": str(entry.folder) if entry.folder else None}
            for entry in entries
        ],
    )


def _advice(entries: Sequence[ImportedEntry], folder: Path) -> Iterator[str]:
    """The next commands after an import."""
    written = [entry for entry in entries if entry.folder]
    required = sorted({each for entry in written for each in entry.requirements})
    if required:
        yield (
            f"All entries together require {line(', '.join(required))}. Install that, or make an "
            "environment for them: `esrbench help environments`."
        )
    if written:
        where, challenge = line(str(folder)), folder.parent / "challenge.toml"
        run = line(str(challenge)) if challenge.is_file() else f"{where}/team*"
        yield f"Next: `esrbench validate {where}/team* --fix`, then `esrbench run {run}`."
