"""``esrbench figure``: figures for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from esrbench.cli.console import (
    JsonOption,
    messages,
    open_registry,
    print_json,
    print_notices,
)
from esrbench.cli.options import ClassOption, ResultsOption
from esrbench.errors import UsageError
from esrbench.runs.store import Store, default_results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from esrbench.entries.registry import Registry
    from esrbench.records import RunRecord


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

    Equal records give equal bytes.
    """
    from esrbench.data.datasets import name_in_records
    from esrbench.entries.registry import resolve_names
    from esrbench.reports import figures

    store = Store(folder or default_results())
    records, notices = store.load()
    print_notices(notices)
    registry = open_registry()
    entries = resolve_names(registry, names or ())
    drawn: Figure | None
    if kind == "crops":
        drawn = _crops(records, store, registry, entries, data, scale, crop, column, output)
    elif kind == "cost":
        shown = _chosen(records, entries, data and name_in_records(data), scale, store)
        drawn = figures.cost(figures.blocks_of(shown, registry), columns=column, title=title)
    else:
        from esrbench.reports.comparing import build_comparison
        from esrbench.reports.comparison import with_columns
        from esrbench.reports.comparison_sources import Wanted
        from esrbench.reports.table import DAGGERS

        if kind == "ablation" and len(entries) < 2:  # noqa: PLR2004 - a parent and a variant
            message = "an ablation needs the names of a parent and of its variants"
            raise UsageError(
                message, advice="Write `esrbench figure ablation PARENT VARIANT -o FILE`."
            )
        newest = max(records, key=lambda record: record.created, default=None)
        known = newest.data.name if newest else "urban100"
        area = None if kind == "ablation" else area
        wanted = Wanted(
            entries=tuple(entries),
            data=(name_in_records(data) if data else known,),
            scales=(scale or (newest.entry.scale if newest else 4),),
            columns=tuple(dict.fromkeys([x, y, *([area] if area else [])])),
            forward_class=forward_class,
            published=published,
        )
        comparison = build_comparison(records, wanted, registry)
        print_notices(comparison.notices)
        comparison = with_columns(comparison, wanted.columns)
        if kind == "ablation":
            drawn = figures.ablation(comparison, columns=column, title=title)
        else:
            drawn = figures.pareto(comparison, own=own or (), columns=column, title=title)
        for note in figures.notes_below(comparison):
            messages().print(f"note: {f'{DAGGERS[note.mark]} {note.text}'.lstrip()}", markup=False)
    if drawn is not None:
        figures.save(drawn, output)
    if as_json:
        print_json({"file": str(output), "kind": kind})
    else:
        messages().print(f"{output}: written", markup=False)


def _chosen(
    records: Sequence[RunRecord],
    names: Sequence[str],
    data: str | None,
    scale: int | None,
    store: Store,
) -> list[RunRecord]:
    """The newest comparable run of each entry on one data set, in the order of the names.

    Raises:
        UsageError: an entry was not run there.
    """
    from esrbench.ranking.selection import select_comparable

    wanted = [
        record
        for record in records
        if data in {None, record.data.name} and scale in {None, record.entry.scale}
    ]
    newest, chosen, notices = select_comparable(wanted)
    print_notices(notices)
    by_name = {record.entry.name: record for record in chosen}
    if missing := [name for name in names if name not in by_name]:
        where = f"{newest.data.name} x{newest.entry.scale}"
        message = f"{store.folder}: no run of {', '.join(missing)} on {where}"
        raise UsageError(message, advice="Measure by `esrbench run` on a declared data set.")
    return [by_name[name] for name in names] or list(chosen)


def _crops(
    records: Sequence[RunRecord],
    store: Store,
    registry: Registry,
    names: Sequence[str],
    data: str | None,
    scale: int | None,
    number: int | None,
    column: int,
    output: Path,
) -> Figure | None:
    """The figure of one crop, None where it was written as LaTeX; on stderr which crop, and why."""
    import numpy as np

    from esrbench.data.crops import RULE, read_crops
    from esrbench.data.datasets import name_in_records, open_dataset
    from esrbench.errors import DataError
    from esrbench.reports import figures
    from esrbench.reports.comparing import display_names

    shown = _chosen(records, names, data and name_in_records(data), scale, store)
    of = shown[0].data
    known = read_crops(store.crops_of(of.digest))
    if not known:
        message = f"{store.folder}: no crops on {of.name} x{of.scale}"
        raise UsageError(message, advice="Measure by `esrbench run` on a declared data set.")
    called = display_names([record.entry.name for record in shown], registry)
    panels = [figures.panels_of(shown, store, each, of.digest, called) for each in known]

    def spread(index: int) -> float:
        stacked = [panel.pixels.astype(np.float32) for panel in panels[index][1:]]
        return float(np.stack(stacked).std(axis=0).mean()) if stacked else 0.0

    if number is not None and number > len(known):
        message = f"--crop {number}: there are {len(known)}"
        raise UsageError(message, advice=f"Give a number from 1 to {len(known)}.")
    index = max(range(len(known)), key=spread) if number is None else number - 1
    box = known[index]
    rule = "on which the entries differ most" if number is None else "as asked for"
    said = f"crop {index + 1} of {len(known)}, {rule}: {box.image}, row {box.top}, "
    messages().print(f"{said}column {box.left}. {RULE}.", markup=False)
    whole = None
    try:
        pairs = open_dataset(data or of.name, of.scale)
    except (DataError, UsageError):
        pass  # the crops are there without the images
    else:
        at = next((i for i, pair in enumerate(pairs.pairs) if pair.name == box.image), None)
        whole = None if at is None else figures.Panel(box.image, "", pairs.read_hr(at))
    if output.suffix == ".tex":
        figures.save_tabular(panels[index], output, whole=whole, box=box, columns=column)
        return None
    return figures.crops(panels[index], whole=whole, box=box, columns=column)
