"""Figures for papers and notebooks, from records; matplotlib draws them (extra ``figures``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esrbench.entries.registry import default_registry, resolve_names
from esrbench.reports import figures

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
    registry = default_registry()
    comparison = figures.compare_for_chart(
        records,
        registry,
        [x, y, *([] if area is None else [area])],
        entries=resolve_names(registry, models),
        data=data,
        scale=scale,
        forward_class=forward_class,
        published=published,
    )
    return figures.pareto(comparison, own=own, columns=columns, title=title)
