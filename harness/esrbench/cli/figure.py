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

    from esrbench.records import RunRecord


def figure_command(
    kind: Annotated[
        Literal["pareto", "crops"],
        typer.Argument(help="A trade-off chart, or the same crop by several entries."),
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Entries by name or folder.", show_default="all with records"),
    ] = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="File to write: .pdf, .svg, .png, .pgf."),
    ] = Path("figure.pdf"),
    data: Annotated[
        str | None, typer.Option(help="Data set name.", show_default="of the newest record")
    ] = None,
    scale: Annotated[
        int | None, typer.Option(help="Upscaling factor.", show_default="of the newest record")
    ] = None,
    x: Annotated[str, typer.Option("--x", help="Metric across, for pareto.")] = "params",
    y: Annotated[str, typer.Option("--y", help="Metric up, for pareto.")] = "psnr_y",
    area: Annotated[
        str | None, typer.Option(help="Metric that areas are in proportion to, for pareto.")
    ] = None,
    own: Annotated[
        list[str] | None, typer.Option(help="Entry drawn as a star. Repeatable.")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Published figures beside one's own, for pareto.")
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
        int, typer.Option(min=1, max=2, help="Columns of the article that it is as wide as.")
    ] = 1,
    title: Annotated[str, typer.Option(help="Above the figure.", show_default="none")] = "",
    forward_class: ClassOption = None,
    folder: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw a figure for a paper from stored records and published figures.

    Equal records give equal bytes.
    """
    from esrbench.reports import figures

    store = Store(folder or default_results())
    records, notices = store.load()
    print_notices(notices)
    if kind == "pareto":
        from esrbench.entries.registry import resolve_names
        from esrbench.reports.comparing import build_comparison
        from esrbench.reports.comparison import with_columns
        from esrbench.reports.comparison_sources import Wanted

        registry = open_registry()
        newest = max(records, key=lambda record: record.created, default=None)
        data = data or (newest.data.name if newest else "urban100")
        wanted = Wanted(
            entries=tuple(resolve_names(registry, names or ())),
            data=(data,),
            scales=(scale or (newest.entry.scale if newest else 4),),
            columns=tuple(dict.fromkeys([x, y, *([area] if area else [])])),
            forward_class=forward_class,
            published=published,
        )
        comparison = build_comparison(records, wanted, registry)
        print_notices(comparison.notices)
        comparison = with_columns(comparison, wanted.columns)
        drawn = figures.pareto(comparison, own=own or (), columns=column, title=title)
    else:
        drawn = _crops(records, store, names or [], data, scale, crop, column)
    figures.save(drawn, output)
    if as_json:
        print_json({"file": str(output), "kind": kind})
    else:
        messages().print(f"{output}: written", markup=False)


def _crops(
    records: Sequence[RunRecord],
    store: Store,
    names: Sequence[str],
    data: str | None,
    scale: int | None,
    number: int | None,
    column: int,
) -> Figure:
    """The figure of one crop, and on stderr which one it is and by what rule."""
    import numpy as np

    from esrbench.data.crops import RULE, read_crops
    from esrbench.data.datasets import open_dataset
    from esrbench.errors import DataError
    from esrbench.ranking.selection import select_comparable
    from esrbench.reports import figures

    wanted = [
        record
        for record in records
        if data in {None, record.data.name} and scale in {None, record.entry.scale}
    ]
    newest, chosen, notices = select_comparable(wanted)
    print_notices(notices)
    by_name = {record.entry.name: record for record in chosen}
    shown = [by_name[name] for name in names if name in by_name] or chosen
    missing = [name for name in names if name not in by_name]
    known = read_crops(store.crops_of(newest.data.digest))
    if missing or not known:
        what = f"no run of {', '.join(missing)}" if missing else "no crops"
        message = f"{store.folder}: {what} on {newest.data.name} x{newest.entry.scale}"
        raise UsageError(message, advice="Measure by `esrbench run` on a declared data set.")
    panels = [figures.panels_of(shown, store, each, newest.data.digest) for each in known]

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
        pairs = open_dataset(newest.data.name, newest.entry.scale)
    except (DataError, UsageError):
        pass  # the crops are there without the images
    else:
        at = next((i for i, pair in enumerate(pairs.pairs) if pair.name == box.image), None)
        whole = None if at is None else figures.Panel(box.image, "", pairs.read_hr(at))
    return figures.crops(panels[index], whole=whole, box=box, columns=column)
