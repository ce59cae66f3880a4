"""The table that a notebook shows for a record."""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING, Any

from esrbench.metrics import METRICS, Findings, extract_values
from esrbench.plaintext import sentence
from esrbench.protocol import size_text
from esrbench.ranking.board import Leaderboard
from esrbench.records import (
    Absent,
    Complexity,
    LatencySamples,
    Quality,
    RaceRecord,
    RunRecord,
)
from esrbench.reports.comparison import Comparison, comparison_table
from esrbench.reports.details import quality_table, race_sentence
from esrbench.reports.leaderboard import leaderboard_table
from esrbench.reports.table import MISSING, Heading, Section, Span, Table, plain, value_fields
from esrbench.statistics import median_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esrbench.records import Value


@singledispatch
def table_of(record: object) -> Table:
    """The table of a record.

    Raises:
        TypeError: there is no table for this type.
    """
    raise TypeError(f"{type(record).__name__} has no table")


table_of.register(Leaderboard, leaderboard_table)
table_of.register(Comparison, comparison_table)
table_of.register(Quality, quality_table)


@table_of.register(RunRecord)
def _run(record: RunRecord) -> Table:
    """One row for each metric."""
    outcome = None
    if record.status != "ok":
        said = sentence(f"{record.status}: {record.cause or 'no cause is known'}")
        outcome = Span(f"{said} {record.advice or ''}".rstrip(), "wrong")
    return _metrics(
        record.values,
        caption=f"{record.entry.name} x{record.entry.scale} on {record.data.title}",
        outcome=outcome,
        notices=record.notices,
    )


@table_of.register(Complexity)
def _complexity(complexity: Complexity) -> Table:
    """One row for each metric that is counted."""
    values = extract_values(Findings(complexity=complexity))
    counted = {key: each for key, each in values.items() if METRICS[key].source == "complexity"}
    return _metrics(counted, caption="Complexity of one forward", notices=complexity.notices)


def _metrics(values: Mapping[str, Value | Absent], **fields: Any) -> Table:
    """Metrics in the units of tables; in the records, in base units."""
    rows, records = [], []
    for key, metric in METRICS.items():
        value = values.get(key)
        if value is None:
            continue
        shown, interval, reason = MISSING, "", ""
        if isinstance(value, Absent):
            reason = value.reason
        else:
            shown = metric.format(value.value)
            if value.interval is not None:
                low, high = map(metric.format, (value.interval.low, value.interval.high))
                interval = f"[{low}, {high}]"
        rows.append((metric.heading, shown, interval, reason))
        held = None if isinstance(value, Absent) else value
        records.append(
            {
                "metric": key,
                "value": held.value if held else None,
                "low": held.interval.low if held and held.interval else None,
                "high": held.interval.high if held and held.interval else None,
                "absent": reason or None,
            }
        )
    headings = (
        Heading("Metric"),
        Heading("Value", align="right"),
        Heading("Interval", align="right"),
        Heading("Why there is none", prose=True),
    )
    filled = [index for index in range(len(headings)) if any(row[index] for row in rows)]
    return Table(
        headings=tuple(headings[index] for index in filled),
        sections=(Section(tuple(tuple(plain(row[index]) for index in filled) for row in rows)),),
        records=records,
        **fields,
    )


@table_of.register(LatencySamples)
def _times(samples: LatencySamples) -> Table:
    """The median in milliseconds; the records have one row for each round, in seconds."""
    median = median_value(samples.seconds)
    metric = METRICS["runtime_fixed"]
    interval = MISSING
    if median.interval is not None:
        low, high = map(metric.format, (median.interval.low, median.interval.high))
        interval = f"[{low}, {high}] at {median.interval.confidence:.1%}"
    counts = map(str, (len(samples.seconds), len(samples.warmup_seconds)))
    row = (metric.format(median.value), interval, *counts)
    names = (f"Median [{metric.unit}]", "Interval", "Rounds", "Warm-up forwards")
    return Table(
        headings=tuple(Heading(name, align="right") for name in names),
        sections=(Section((tuple(map(plain, row)),)),),
        caption=f"Time of a forward at LR {size_text(samples.lr_size)}",
        records=[{"round": n, "seconds": each} for n, each in enumerate(samples.seconds)],
    )


@table_of.register(RaceRecord)
def _race(record: RaceRecord) -> Table:
    """The ratio of the two networks, and of two copies of the baseline."""
    baseline = record.baseline.name
    rows, records = [], []
    for what, estimate in (
        (f"{record.candidate.name} / {baseline}", record.estimate),
        (f"{baseline} / its copy", record.self_check),
    ):
        known = None if isinstance(estimate, Absent) else estimate
        fields = value_fields(
            "runtime_ratio",
            known.ratio if known else None,
            known.interval if known else None,
        )
        records.append({"ratio_of": what, **fields, "pairs": known.pairs if known else None})
        shown = [MISSING, MISSING, MISSING]
        if known is not None:
            interval = f"[{known.interval.low:.4f}, {known.interval.high:.4f}]"
            shown = [f"{known.ratio:.4f}", interval, str(known.pairs)]
        rows.append(tuple(map(plain, (what, *shown))))
    return Table(
        headings=(
            Heading("Time of"),
            *(Heading(text, align="right") for text in ("Ratio", "Interval", "Pairs")),
        ),
        sections=(Section(tuple(rows)),),
        caption=f"Race of {record.candidate.name} x{record.candidate.scale} and {baseline}",
        outcome=Span(race_sentence(record)),
        notices=record.notices,
        records=records,
    )
