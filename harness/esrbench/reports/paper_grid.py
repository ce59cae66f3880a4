"""A paper's complexity columns and ours as a grid of text."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from esrbench.metrics import METRICS
from esrbench.reports.grid import MISSING, Grid, Heading, Note, Section, plain
from esrbench.reports.paper_table import CONVENTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.reports.grid import Cell, Tone
    from esrbench.reports.paper_table import ComparedRow, Verdict

TONES: dict[Verdict, Tone] = {
    "exact": "good",
    "rounded": "good",
    "other convention": "doubtful",
    "inconsistent": "wrong",
    "not printed": "faint",
}


def paper_grid(rows: Sequence[ComparedRow], *, caption: str) -> Grid:
    """Printed figures beside ours, with verdicts; a section a system."""
    params, flops = "Params [K]", "FLOPs [G]"
    headings = (
        Heading("System"),
        Heading("Scale"),
        Heading("printed", params, "right"),
        Heading("ours", params, "right"),
        Heading("verdict", params),
        Heading("printed", flops, "right"),
        Heading("by its rule", flops, "right"),
        Heading("aten", flops, "right"),
        Heading("rule", flops),
        Heading("verdict", flops),
        Heading("Remark"),
    )
    sections = tuple(
        Section(system, tuple(map(_cells, of_system)))
        for system, of_system in groupby(rows, key=lambda row: row.printed.system)
    )
    return Grid(caption, headings, sections, tuple(map(Note, CONVENTIONS)))


def _cells(row: ComparedRow) -> tuple[Cell, ...]:
    printed = row.printed
    return (
        plain(f"\N{MULTIPLICATION SIGN}{printed.scale}"),
        plain(printed.params_k),
        plain(f"{row.params / 1e3:.1f}"),
        plain(row.params_verdict, TONES[row.params_verdict]),
        plain(printed.flops_g or MISSING),
        plain(METRICS["macs_ntire2022"].format(row.flops_by_paper)),
        plain(METRICS["macs_aten"].format(row.macs)),
        plain(row.flops_origin),
        plain(row.flops_verdict, TONES[row.flops_verdict]),
        plain(row.remark),
    )
