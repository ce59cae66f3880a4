"""A paper's complexity columns beside our counts of the same networks."""

from __future__ import annotations

import csv
import math
from importlib import resources
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from esrbench.metrics import METRICS
from esrbench.protocol import Frozen
from esrbench.records import Complexity, required
from esrbench.reports.table import MISSING, Heading, Note, Section, Table, plain
from esrbench.runs.inspection import count_models

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from esrbench.entries.registry import Registry
    from esrbench.reports.table import TableCell, Tone

Verdict = Literal["exact", "rounded", "other convention", "inconsistent", "not printed"]

CONVENTIONS = (
    "rule ntire2022: the challenge's counter at an LR input of 3x256x256.",
    (
        "rule carn: the CARN paper's multiply-accumulates of a 1280x720 output, transposed "
        "convolutions counted at their output, divided by 3.49, 1.56 or 0.87 at x2, x3, x4, "
        "which stand for 1280x720 over the output of a 256x256 input (3.5156, 1.5625, 0.8789)."
    ),
    (
        "aten: multiply-accumulates that the network of the params column runs on a 256x256 LR "
        "image, which is enlarged first if the network needs it."
    ),
    "exact: the printed digits; rounded: truncated, or one off in the last digit.",
)
"""Meaning of the columns and verdicts."""

LR_SIDE = 256
CARN_PIXELS = 1280 * 720
CARN_DIVISORS = {2: 3.49, 3: 1.56, 4: 0.87}
LAST_DIGIT = 1.05
"""A figure counts as rounded differently within this many steps of its last printed digit."""


class PrintedRow(Frozen):
    """One system at one scale, as the paper prints it.

    Attributes:
        params_k: thousands of parameters, as text so that its digits are known.
        flops_g: 1e9 FLOPs, also as text; empty if not printed.
        params_entry: registered network whose parameters these are.
        flops_entry: registered network whose FLOPs these are.
        carn_720p_g: the CARN paper's figure behind ``flops_g``, if that is its origin.
    """

    system: str
    scale: int
    params_k: str
    flops_g: str
    params_entry: str
    flops_entry: str
    carn_720p_g: str


class ComparedRow(Frozen):
    """A printed row beside ours.

    Attributes:
        params: elements of ``printed.params_entry``.
        params_verdict: how close these parameters are to the printed figure.
        flops_origin: convention of ``flops_by_paper``.
        flops_by_paper: FLOPs of ``printed.flops_entry`` by the paper's convention.
        flops_verdict: how close these FLOPs are to the printed figure.
        macs: multiply-accumulates of ``printed.params_entry`` at LR 256x256 by ``aten``.
        remark: what a verdict other than exact means.
    """

    printed: PrintedRow
    params: int
    params_verdict: Verdict
    flops_origin: Literal["ntire2022", "carn"]
    flops_by_paper: float
    flops_verdict: Verdict
    macs: int
    remark: str


def printed_rows() -> tuple[PrintedRow, ...]:
    """Table 3 of the AIDN paper."""
    text = resources.files("esrbench.reports").joinpath("aidn2022_table3.csv").read_text("utf-8")
    return tuple(
        PrintedRow.model_validate_strings(row) for row in csv.DictReader(text.splitlines())
    )


def compare_rows(rows: Sequence[PrintedRow], registry: Registry) -> Iterator[ComparedRow]:
    """Count the networks behind printed rows and judge each figure.

    Raises:
        UsageError: a row names a network that is not registered.
        MeasurementError: a network could not be counted.
    """
    wanted = sorted(
        {(name, row.scale) for row in rows for name in (row.params_entry, row.flops_entry)}
    )
    models = [(registry.get(name), scale) for name, scale in wanted]
    counted = count_models(models, counters=("ntire2022", "aten"))
    found = {
        (name, scale): required(complexity, f"{name} x{scale}: ")
        for (name, scale), complexity in zip(wanted, counted, strict=True)
    }
    for row in rows:
        own, other = (found[name, row.scale] for name in (row.params_entry, row.flops_entry))
        yield _compare(row, own, other)


def _compare(row: PrintedRow, own: Complexity, other: Complexity) -> ComparedRow:
    params_verdict, params_remark = _judge_params(row, own)
    by_rule = required(other.counters["ntire2022"])
    ntire = by_rule.macs / 1e9
    convolutions = by_rule.macs - (by_rule.elementwise or 0)
    pixels = (LR_SIDE * row.scale) ** 2
    at_720p = convolutions * CARN_PIXELS / pixels / 1e9
    carn = at_720p / CARN_DIVISORS[row.scale]
    origin: Literal["ntire2022", "carn"] = "carn" if row.carn_720p_g else "ntire2022"
    flops_verdict, flops_remark = _judge_flops(row, ntire=ntire, at_720p=at_720p)
    return ComparedRow(
        printed=row,
        params=own.params,
        params_verdict=params_verdict,
        flops_origin=origin,
        flops_by_paper=(carn if origin == "carn" else ntire) * 1e9,
        flops_verdict=flops_verdict,
        macs=required(own.counters["aten"]).macs,
        remark="; ".join(filter(None, (params_remark, flops_remark))),
    )


def _judge_params(row: PrintedRow, ours: Complexity) -> tuple[Verdict, str]:
    if matches(row.params_k, ours.params / 1e3):
        return "exact", ""
    if matches(row.params_k, ours.weight_params / 1e3):
        return "other convention", "parameters are without biases"
    if math.floor(ours.params / 1e3) == int(row.params_k):
        return "rounded", "parameters are truncated"
    return "inconsistent", f"{row.params_entry} has {ours.params / 1e3:.1f}K parameters"


def _judge_flops(row: PrintedRow, *, ntire: float, at_720p: float) -> tuple[Verdict, str]:
    if not row.flops_g:
        return "not printed", ""
    if row.carn_720p_g:
        quotient = float(row.carn_720p_g) / CARN_DIVISORS[row.scale]
        if not matches(row.flops_g, quotient):
            return "inconsistent", f"FLOPs are not CARN's {row.carn_720p_g} G divided"
        verdict = closeness(row.carn_720p_g, at_720p)
        remark = f"at 720p {at_720p:.2f} G, CARN prints {row.carn_720p_g}"
    else:
        verdict = closeness(row.flops_g, ntire)
        remark = f"FLOPs are {ntire:.3f} G by the counter"
    if verdict != "inconsistent" and row.flops_entry != row.params_entry:
        return "inconsistent", f"FLOPs are of {row.flops_entry}, parameters of {row.params_entry}"
    return verdict, "" if verdict == "exact" else remark


def closeness(printed: str, value: float) -> Verdict:
    """How close a value is to the printed digits: equal, one off in the last digit, or further."""
    if matches(printed, value):
        return "exact"
    return "rounded" if abs(float(printed) - value) < LAST_DIGIT * step(printed) else "inconsistent"


def step(printed: str) -> float:
    """One unit of the last printed digit."""
    return 10.0 ** -len(printed.partition(".")[2])


def matches(printed: str, value: float) -> bool:
    """Whether a value rounds to the printed digits; ties may round either way."""
    return abs(float(printed) - value) <= 0.5 * step(printed) * (1 + 1e-9)


TONES: dict[Verdict, Tone] = {
    "exact": "good",
    "rounded": "good",
    "other convention": "doubtful",
    "inconsistent": "wrong",
    "not printed": "faint",
}


def paper_table(rows: Sequence[ComparedRow], *, caption: str) -> Table:
    """Printed figures beside ours, with verdicts; one section for each system."""
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
        Heading("Remark", prose=True),
    )
    sections = tuple(
        Section(tuple(map(_cells, of_system)), system)
        for system, of_system in groupby(rows, key=lambda row: row.printed.system)
    )
    documents = [row.model_dump(mode="json") for row in rows]
    return Table(
        headings=headings,
        sections=sections,
        caption=caption,
        notes=tuple(map(Note, CONVENTIONS)),
        records=[row.pop("printed") | row for row in map(dict, documents)],
        document=documents,
        label="tab:complexity",
    )


def _cells(row: ComparedRow) -> tuple[TableCell, ...]:
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
