"""Figures for papers and notebooks, from records; matplotlib draws them (extra ``figures``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esrbench.data.datasets import name_in_records
from esrbench.entries.registry import default_registry, resolve_names
from esrbench.reports import figures
from esrbench.reports.comparing import build_comparison
from esrbench.reports.comparison import with_columns
from esrbench.reports.comparison_sources import Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from esrbench.records import RunRecord

__all__ = ["pareto"]


def pareto(
    records: Sequence[RunRecord],
    *,
    x: str = "params",
    y: str = "psnr_y",
    area: str | None = None,
    models: Sequence[str] = (),
    data: str | None = None,
    scale: int | None = None,
    forward_class: str | None = None,
    published: bool = False,
    own: Sequence[str] = (),
    columns: int = 1,
    title: str = "",
) -> Figure:
    """Draw entries by two metrics, a third one as area, with intervals and the Pareto front.

    Args:
        records: of any data set and scale.
        x: key of the metric across.
        y: of the metric up.
        area: of the metric that areas are in proportion to, or None.
        models: names or folders; all with records if left out.
        data: name of a data set; that of the newest record if left out.
        scale: upscaling factor; likewise.
        forward_class: precision, layout and compilation, such as ``fp16``; likewise.
        published: published figures beside one's own.
        own: entries that are drawn as stars.
        columns: of the article that the figure is as wide as, 1 or 2.
        title: above it.

    Returns:
        A figure; ``savefig`` writes it, and a notebook shows it after ``%matplotlib inline``.

    Raises:
        UsageError: matplotlib is missing, unknown names, or no entry has both metrics.
    """
    newest = max(records, key=lambda record: record.created, default=None)
    registry = default_registry()
    keys = dict.fromkeys(key for key in (x, y, area) if key is not None)
    wanted = Wanted(
        entries=tuple(resolve_names(registry, models)),
        data=(name_in_records(data) if data else newest.data.name if newest else "urban100",),
        scales=(scale or (newest.entry.scale if newest else 4),),
        columns=tuple(keys),
        forward_class=forward_class,
        published=published,
    )
    comparison = build_comparison(records, wanted, registry)
    return figures.pareto(with_columns(comparison, keys), own=own, columns=columns, title=title)
