"""``esrbench convert-weights``: convert a stranger's checkpoint to safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esrbench.cli.console import JsonOption, messages, print_banner, print_json, results
from esrbench.cli.options import IsolationOption
from esrbench.errors import UsageError, WeightsError
from esrbench.files import replace_file

if TYPE_CHECKING:
    from esrbench.weights.conversion import ConversionReport

SUFFIX = ".safetensors"
AUTO = "auto"


def convert_weights_command(
    file: Annotated[Path, typer.Argument(help="Any checkpoint, or a safetensors file.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File to write.", show_default="beside FILE"),
    ] = None,
    key: Annotated[
        str,
        typer.Option(help="Name under which the state dict is nested; '' for none, auto to look."),
    ] = AUTO,
    prefix: Annotated[
        str,
        typer.Option(
            help="What to remove from the front of names, leaving out all other names; '' for "
            "nothing, auto for what torch and trainers add."
        ),
    ] = AUTO,
    rename: Annotated[
        list[str] | None,
        typer.Option(metavar="THEIRS=OURS", help="Rename dotted parts of names. Repeatable."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the output.")] = False,
    isolation: IsolationOption = "auto",
    timeout: Annotated[float, typer.Option(min=1, help="Seconds it may take.")] = 300,
    as_json: JsonOption = False,
) -> None:
    """Convert a weights file to safetensors in the sandbox, and print its lines of a manifest."""
    from esrbench.worker.launcher import open_launcher
    from esrbench.worker.reading import convert_confined

    target = _target(file, output, force=force)
    launcher = open_launcher(isolation)
    print_banner(launcher.sandbox)
    report, content = convert_confined(
        file,
        launcher,
        key=None if key == AUTO else key,
        prefix=None if prefix == AUTO else prefix,
        renames=[_pair(text) for text in rename or []],
        timeout_seconds=timeout,
    )
    _write(target, content)
    if as_json:
        print_json({"file": str(target), **report.model_dump(mode="json")})
        return
    _explain(report)
    table = {"file": target.name, "bytes": report.bytes, "sha256": report.sha256}
    lines = ["[weights]", *(f"{name} = {json.dumps(value)}" for name, value in table.items())]
    results().print("\n".join(lines), markup=False, soft_wrap=True)


def _target(file: Path, output: Path | None, *, force: bool) -> Path:
    """The path to write to. It is checked before anything is read."""
    from esrbench.entries.weight_files import require_text

    if not file.is_file():
        message = f"{file}: there is no such file"
        raise WeightsError(message, advice="Check the path.")
    require_text(file.resolve())
    target = file.with_suffix(SUFFIX) if output is None else output
    if target.suffix != SUFFIX:
        message = f"--output {target}: expected a name that ends in {SUFFIX}"
        raise UsageError(message, advice=f"For example {target.with_suffix(SUFFIX)}.")
    if not target.parent.is_dir():
        message = f"--output {target}: there is no folder {target.parent}"
        raise UsageError(message, advice="Make it first.")
    if target.exists() and target.samefile(file):
        message = f"{target}: the output would replace the input file"
        raise UsageError(message, advice="Name another by --output.")
    if target.exists() and not force:
        message = f"{target}: exists already"
        raise UsageError(message, advice="Name another by --output, or replace it by --force.")
    return target


def _pair(text: str) -> tuple[str, str]:
    theirs, separator, ours = text.partition("=")
    if not (theirs and separator and ours):
        message = f"--rename {text!r}: expected THEIRS=OURS"
        raise UsageError(message, advice="For example --rename esa.conv3=attention.refine.")
    return theirs, ours


def _write(target: Path, content: bytes) -> None:
    """Write the whole file or nothing, even if the machine fails."""
    try:
        replace_file(target, content)
    except OSError as error:
        message = f"{target}: cannot be written: {error.strerror or error}"
        raise UsageError(message, advice="Name another by --output.") from error


def _explain(report: ConversionReport) -> None:
    """Messages about what was taken and what was left out."""
    types = ", ".join(f"{count} {name}" for name, count in report.dtypes.items())
    lines = [f"{report.tensors} tensors ({types}), {report.elements} elements"]
    lines += [f"note: {note}" for note in report.notes]
    if report.copied:
        lines.append(f"{report.copied} tensors now have their own storage")
    if report.dropped:
        more = report.dropped - len(report.dropped_listed)
        listed = [*report.dropped_listed, *([f"{more} more"] if more else [])]
        lines.append(f"left out: {'; '.join(listed)}")
    for line in lines:
        messages().print(line, markup=False)
