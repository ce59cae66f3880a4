"""``esrbench export``: write a network as the file that a backend runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from esrbench.cli.console import JsonOption, messages, open_registry, print_banner
from esrbench.cli.options import (
    CalibrateOption,
    EndsOption,
    IsolationOption,
    ScaleOption,
    TimeoutOption,
    parse_weights,
)
from esrbench.cli.tables import FormatOption, print_table
from esrbench.plaintext import line


def export_command(
    name: Annotated[str, typer.Argument(help="Network, by name or folder.")],
    to: Annotated[Literal["onnx", "openvino"], typer.Option(help="Format of the file.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder that receives NAME_xSCALE.onnx, or .xml and .bin; NAME_xSCALE_int8.onnx.",
            show_default="this folder",
            file_okay=False,
        ),
    ] = None,
    scale: ScaleOption = 4,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            help=(
                "Weights file, or random. Default: released, demonstration or random weights, "
                "the first available."
            )
        ),
    ] = None,
    precision: Annotated[
        Literal["fp32", "int8", "int8-w16"], typer.Option(help="Arithmetic of the file.")
    ] = "fp32",
    calibrate_with: CalibrateOption = None,
    fp32_ends: EndsOption = False,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
    isolation: IsolationOption = "auto",
    timeout: TimeoutOption = 900,
    table_format: FormatOption = "terminal",
    as_json: JsonOption = False,
) -> None:
    """Export a network for images of any size, in the sandbox, and check it by its own runtime.

    The check upscales the demo images by the file and by torch. If an operator cannot be exported,
    the error names its place in the network's code.
    """
    from esrbench.entries.registry import resolve_name
    from esrbench.reports.details import flat_table
    from esrbench.runs.exports import export_files
    from esrbench.runs.plan import plan_entries
    from esrbench.worker.launcher import open_launcher

    registry = open_registry()
    name = resolve_name(registry, name)
    (entry,) = plan_entries(registry, [name], scale, parse_weights(weights or [], [name]))
    launcher = open_launcher(isolation)
    print_banner(launcher.sandbox)
    messages().print(line(f"exporting {name} to {to} and checking the file"), markup=False)
    exported = export_files(
        entry,
        to,
        output or Path(),
        launcher,
        precision=precision,
        calibrate_with=calibrate_with,
        fp32_ends=fp32_ends,
        replacing=force,
        timeout_seconds=timeout,
    )
    print_table(flat_table(exported), table_format, as_json=as_json)
    messages().print(line(exported.said), markup=False)
