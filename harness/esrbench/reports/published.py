"""Published figures of registered networks, from their descriptors and from papers' tables."""

from __future__ import annotations

import csv
from importlib import resources
from typing import TYPE_CHECKING

from esrbench.entries.registry import PublishedFigure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esrbench.entries.registry import Registry

PublishedKey = tuple[str, str, int, str | None]
"""Entry, metric, scale, and data set of a figure that belongs to one."""


def published_figures(registry: Registry) -> dict[PublishedKey, PublishedFigure]:
    """What is printed of registered networks; a descriptor's figure goes before a paper's."""
    figures: dict[PublishedKey, PublishedFigure] = {}
    for model in registry:
        for figure in model.published:
            figures.setdefault((model.name, figure.metric, figure.scale, figure.data), figure)
    for entry, figure in quality_rows():
        if entry in registry:
            figures.setdefault((entry, figure.metric, figure.scale, figure.data), figure)
    return figures


def quality_rows() -> Iterator[tuple[str, PublishedFigure]]:
    """PSNR-Y (dB) and SSIM-Y of ``published_quality.csv`` with the networks they belong to.

    They are of the authors' weights and of the tables named as their sources, most of which
    reprint older ones; figures that no such table could be found for are left out.
    """
    text = resources.files("esrbench.reports").joinpath("published_quality.csv").read_text("utf-8")
    for row in csv.DictReader(text.splitlines()):
        entry, scale, source = row.pop("entry"), int(row.pop("scale")), row.pop("source")
        for data, printed in row.items():
            for metric, value in zip(("psnr_y", "ssim_y"), printed.split("/"), strict=True):
                yield (
                    entry,
                    PublishedFigure(
                        metric=metric, scale=scale, value=float(value), source=source, data=data
                    ),
                )
