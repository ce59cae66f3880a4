"""``esrbench figure``: figures for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from esrbench.cli.console import (
    JsonOption,
    messages,
    open_registry,
    print_commands,
    print_json,
    print_notices,
)
from esrbench.cli.options import ClassOption, ResultsOption
from esrbench.errors import UsageError
from esrbench.runs.store import Store, default_results


def figure_command(
    kind: Annotated[
        Literal["pareto", "crops", "ablation", "cost"],
        typer.Argument(
            help="A trade-off chart; the same crop by several entries; variants against their "
            "parent, which is named first; the share of each block in the cost."
        ),
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Entries by name or folder.", show_default="all with records"),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="File to write: .pdf, .svg, .png, .pgf; .tex for crops."
        ),
    ] = Path("figure.pdf"),
    data: Annotated[
        str | None, typer.Option(help="Data set name.", show_default="of the newest record")
    ] = None,
    scale: Annotated[
        int | None, typer.Option(help="Upscaling factor.", show_default="of the newest record")
    ] = None,
    x: Annotated[
        str, typer.Option("--x", help="Metric of the horizontal axis, for pareto and ablation.")
    ] = "params",
    y: Annotated[
        str, typer.Option("--y", help="Metric of the vertical axis, for pareto and ablation.")
    ] = "psnr_y",
    area: Annotated[
        str | None, typer.Option(help="Metric that sets the area of the markers, for pareto.")
    ] = None,
    own: Annotated[
        list[str] | None,
        typer.Option(
            help="Entry drawn as a star. Repeatable.", show_default="those that ran, if published"
        ),
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Draw published figures too, for pareto.")
    ] = False,
    crop: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of the crop, for crops.",
            show_default="the one on which entries differ most",
        ),
    ] = None,
    column: Annotated[
        int, typer.Option(min=1, max=2, help="Width of the figure in columns of the article.")
    ] = 1,
    title: Annotated[str, typer.Option(help="Title above the figure.", show_default="none")] = "",
    forward_class: ClassOption = None,
    folder: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw a figure for a paper from stored records and published figures.

    The same records give the same bytes.
    """
    from esrbench.entries.registry import resolve_names
    from esrbench.reports import figures
    from esrbench.reports.figure_style import save

    store = Store(folder or default_results())
    records, notices = store.load()
    print_notices(notices)
    registry = open_registry()
    entries = resolve_names(registry, names or ())
    if kind in {"crops", "cost"}:
        from esrbench.data.datasets import name_in_records
        from esrbench.ranking.selection import select_named
        from esrbench.reports.crops import choose_crop, write_crops

        named = data and name_in_records(data)
        shown, left_out = select_named(records, entries, data=named, scale=scale)
        print_notices(left_out)
        if kind == "cost":
            drawn = figures.cost(figures.blocks_of(shown, registry), columns=column, title=title)
            save(drawn, output)
        else:
            chosen = choose_crop(shown, store, registry, data=data, number=crop)
            messages().print(chosen.reason, markup=False)
            write_crops(chosen, output, columns=column)
    else:
        from esrbench.reports.table import DAGGERS

        if kind == "ablation" and len(entries) < 2:  # noqa: PLR2004 - a parent and a variant
            message = "an ablation needs the names of a parent and of its variants"
            raise UsageError(
                message, advice="Write `esrbench figure ablation PARENT VARIANT -o FILE`."
            )
        third = [area] if area and kind == "pareto" else []
        comparison = figures.compare_for_chart(
            records,
            registry,
            [x, y, *third],
            entries=entries,
            data=data,
            scale=scale,
            forward_class=forward_class,
            published=published,
        )
        print_notices(comparison.notices)
        if kind == "ablation":
            drawn = figures.ablation(comparison, columns=column, title=title)
        else:
            drawn = figures.pareto(comparison, own=own or (), columns=column, title=title)
        for note in figures.notes_below(comparison):
            messages().print(f"note: {f'{DAGGERS[note.mark]} {note.text}'.lstrip()}", markup=False)
        save(drawn, output)
        print_commands("to draw the entries that were not run", comparison.commands)
    if as_json:
        print_json({"file": str(output), "kind": kind})
    else:
        messages().print(f"{output}: written", markup=False)
