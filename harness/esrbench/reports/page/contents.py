"""Contents of the page, part by part, from a leaderboard and its records; no HTML is made here."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from esrbench.metrics import METRICS
from esrbench.plaintext import sentence
from esrbench.ranking.selection import differences
from esrbench.records import (
    Absent,
    Complexity,
    PredictedMemory,
    Quality,
    Value,
)
from esrbench.reports.comparison_sources import published_figures
from esrbench.reports.details import block_shares, blocks_table, flatten
from esrbench.reports.examination import examination_table
from esrbench.reports.page.axes import Scale
from esrbench.reports.page.charts import HeldRank, interval_of
from esrbench.reports.page.pictures import psnr_text, spreads
from esrbench.reports.run_commands import protocol_options
from esrbench.reports.table import MISSING, Heading, Section, Table, pairs, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from esrbench.entries.registry import Registry
    from esrbench.metrics import Metric
    from esrbench.ranking.board import Leaderboard, LeaderboardEntry
    from esrbench.records import Examination, ImageScore, Notice, RunRecord
    from esrbench.reports.page.axes import Reading
    from esrbench.reports.table import TableCell, Tone

MOST_SCORES: Final = 10_000
"""Most cells of the table of images; this many take about a megabyte."""
MOST_DETAILED: Final = 60
"""Entries whose bars, blocks and raw times are shown."""
MOST_DIFFERENCES: Final = 1000
"""Lines of the table of runs that are left out."""
FOLDERS: Final = frozenset({"results folder", "cache folder"})
"""Checks that a page leaves out, because they show paths of a machine."""
COSTS: Final = (
    "params",
    "macs_ntire2022",
    "macs_fvcore",
    "macs_aten",
    "activations_ntire2022",
    "conv_calls_ntire2022",
    "effective_constants",
    "predicted_peak_bytes",
    "weights_bytes",
)
PYTHON: Final = "PYTHON"
"""Stands for the interpreter of an entry, whose path a page must not show."""
Claims = dict[str, dict[str, float]]
"""Figures that authors state, in base units, by entry and metric."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The parts of one entry that cost most.

    Attributes:
        entry: its number on the page.
        name: of the entry.
        shares: shares of the outermost blocks, and of what ran outside of them, in all MACs,
            activations and bytes.
        blocks: every block in the record.
        memory: predicted memory over a forward, or None.
    """

    entry: int
    name: str
    shares: tuple[tuple[str, tuple[float, ...]], ...]
    blocks: Table | None
    memory: PredictedMemory | None


def rows_of(board: Leaderboard) -> tuple[LeaderboardEntry, ...]:
    """All rows in the order of the table; a row's number is the entry's on the page."""
    return (*board.ranked, *board.unranked)


def first_rows(board: Leaderboard, most: int) -> Leaderboard:
    """The board with at most this many of its first rows."""
    ranked = board.ranked[:most]
    unranked = board.unranked[: most - len(ranked)]
    return board.model_copy(update={"ranked": ranked, "unranked": unranked})


def own_records(board: Leaderboard, records: Sequence[RunRecord]) -> dict[int, RunRecord]:
    """The records that the board shows, by the entry's number on the page."""
    by_id = {record.run_id: record for record in records}
    return {n: by_id[r.run_id] for n, r in enumerate(rows_of(board)) if r.run_id in by_id}


def scales(board: Leaderboard) -> list[Scale]:
    """Metrics that at least two entries have, in table order."""
    rows = rows_of(board)

    def reading(value: Value | Absent | None, metric: Metric) -> Reading:
        if not isinstance(value, Value):
            return None
        return (value.value / metric.divisor, *interval_of(value.interval, metric.divisor))

    readings = {m: [reading(row.values.get(key), m) for row in rows] for key, m in METRICS.items()}
    return [
        Scale.of(metric, each)
        for metric, each in readings.items()
        if sum(known is not None for known in each) > 1
    ]


def chart_axes(scales: Sequence[Scale]) -> tuple[Scale, Scale, Scale | None] | None:
    """Metrics of the first drawing: cost across, quality up, size as area; None without two."""
    by_key = {scale.metric.key: scale for scale in scales}

    def first(*keys: str) -> Scale | None:
        return next((by_key[key] for key in keys if key in by_key), None)

    up = first("psnr_rgb", "psnr_y")
    across = first("runtime_images", "runtime_fixed", "macs_ntire2022", "macs_fvcore", "params")
    area = first("params", "macs_ntire2022", "macs_fvcore")
    return None if up is None or across is None else (across, up, area if area != across else None)


def stability(board: Leaderboard) -> tuple[str, list[HeldRank]] | None:
    """Title of the first track with rank stability, and the stability of each rank."""
    for track in board.tracks:
        rows = []
        for number, row in enumerate(board.ranked):
            place = row.places.get(track.key)
            if place and place.rank is not None and place.stability:
                told = place.stability
                rows.append(HeldRank(number, row.entry, place.rank, told.low, told.high, told.held))
        if rows:
            return track.title, rows
    return None


def entries_table(board: Leaderboard, records: Mapping[int, RunRecord], claims: Claims) -> Table:
    """The end of each run, its notices, and advice."""
    rows = []
    for number, row in enumerate(rows_of(board)):
        record = records.get(number)
        said = [row.unranked_because or ""]
        if record is not None:
            said += [record.advice or "", *(f"{n.code}: {n.message}" for n in record.notices)]
        told = "; ".join(_claimed(row, record, claims.get(row.entry, {}))) or MISSING
        tone: Tone = "good" if row.status == "ok" else "doubtful"
        rows.append(
            (
                plain(row.entry),
                plain(row.status, "faint" if row.status == "published" else tone),
                plain(row.weights),
                plain(record.environment.isolation if record else MISSING),
                plain(_software(record) if record else MISSING),
                plain(told),
                plain(" ".join(sentence(each) for each in said if each) or MISSING),
            )
        )
    names = (
        *("Entry", "Status", "Weights", "Sandbox", "Environment"),
        *("Claimed, measured", "Notices and advice"),
    )
    return Table(
        headings=tuple(Heading(name, prose=name in names[-2:]) for name in names),
        sections=(Section(tuple(rows)),),
    )


def _software(record: RunRecord) -> str:
    if record.ran_with is not None:
        return record.ran_with.describe()
    environment = record.environment
    return f"Python {environment.python}, torch {environment.packages.get('torch', MISSING)}"


def _claimed(
    row: LeaderboardEntry, record: RunRecord | None, claims: Mapping[str, float]
) -> Iterator[str]:
    for key, claimed in claims.items():
        value = record.value(key) if record else row.values.get(key)
        measured = METRICS[key].show(value.value) if isinstance(value, Value) else MISSING
        yield f"{METRICS[key].label} {METRICS[key].format(claimed)}, {measured}"


def images_table(board: Leaderboard, records: Sequence[RunRecord]) -> Table | None:
    """PSNR and SSIM of every image and entry; images on which entries differ most come first."""
    key = next((key for key in board.columns if METRICS[key].source == "quality"), "psnr_rgb")
    key = "psnr_y" if key == "psnr_y" else "psnr_rgb"
    scored = [(r.entry.name, r.quality) for r in records if isinstance(r.quality, Quality)]
    if not scored:
        return None
    shown = scored[: max(1, MOST_SCORES // len(scored[0][1].images))]
    scores = [{image.image: image for image in quality.images} for _, quality in shown]

    def cell(each: Mapping[str, ImageScore], image: str) -> TableCell:
        if image not in each:
            return plain(MISSING)
        return plain(f"{psnr_text(getattr(each[image], key))} / {each[image].ssim_y:.4f}")

    apart = spreads([quality for _, quality in shown], key)
    images = sorted(apart, key=lambda image: (-apart[image], image))
    rows = [
        (plain(image), plain(f"{apart[image]:.2f}"), *(cell(each, image) for each in scores))
        for image in images
    ]
    left = sum(record.measured(key) is not None for record in records) - len(shown)
    return Table(
        headings=(
            Heading("Image"),
            Heading("Spread", align="right"),
            *(Heading(name, align="right") for name, _ in shown),
        ),
        sections=(Section(tuple(rows)),),
        caption=f"{METRICS[key].heading} / SSIM-Y of each image; spread: best PSNR less worst"
        + (f"; {left} more entries are left out" if left else ""),
    )


def costs_table(board: Leaderboard, records: Sequence[RunRecord]) -> tuple[Table, list[Metric]]:
    """All counts of each entry, and the metrics that are drawn as bars."""
    known = [METRICS[key] for key in COSTS if any(r.measured(key) is not None for r in records)]
    rows = []
    for record in records:
        figures = ((m, record.measured(m.key)) for m in known)
        rows.append(
            (
                plain(record.entry.name),
                *(plain(MISSING if value is None else m.format(value)) for m, value in figures),
            )
        )
    table = Table(
        headings=(Heading("Entry"), *(Heading(m.heading, align="right") for m in known)),
        sections=(Section(tuple(rows)),),
        caption=f"Counted at LR {'x'.join(map(str, records[0].protocol.counted_input))}"
        if records
        else "",
    )
    drawn = [m for m in known if m.key in {"params", *board.columns} or m.key == "macs_aten"]
    return table, drawn


def costs(records: Mapping[int, RunRecord], most: int) -> list[Cost]:
    """The cost of the first entries by block, if their records have blocks or memory."""
    found = []
    for entry, record in islice(records.items(), most):
        counted = record.complexity
        if not isinstance(counted, Complexity):
            continue
        blocks = () if isinstance(counted.blocks, Absent) else counted.blocks
        memory = counted.predicted_memory
        told = memory if isinstance(memory, PredictedMemory) and memory.timeline else None
        if blocks or told:
            table = (
                blocks_table(blocks, "Each block counts the blocks within it") if blocks else None
            )
            shares = block_shares(
                blocks, [attrgetter(c) for c in ("macs", "activations", "allocated_bytes")]
            )
            found.append(Cost(entry, record.entry.name, tuple(shares.items()), table, told))
    return found


def left_out(board: Leaderboard, records: Sequence[RunRecord]) -> Table | None:
    """Settings in which runs on the same images are not comparable, with the entries of these runs.

    Runs that differ in the same way stand in one line.
    """
    shown = list(own_records(board, records).values())
    if not shown:
        return None
    reference = next((record for record in shown if record.ranked), shown[0])
    names = {record.run_id for record in shown}
    place = reference.data.name, reference.entry.scale
    ours = _settings(reference)
    runs: dict[tuple[str, str, str], Counter[str]] = {}
    for record in records:
        same = (record.data.name, record.entry.scale) == place and record.run_id not in names
        if not same or not differences(record, reference):
            continue
        theirs = _settings(record)
        for setting in dict.fromkeys((*ours, *theirs)):
            here, there = ours.get(setting, MISSING), theirs.get(setting, MISSING)
            if here != there:
                runs.setdefault((setting, here, there), Counter())[record.entry.name] += 1
    if not runs:
        return None
    rows = [(*reason, _counted_names(counts)) for reason, counts in runs.items()]
    told = rows[:MOST_DIFFERENCES]
    return Table(
        headings=tuple(map(Heading, ("Setting", "In this table", "In those runs", "Entries"))),
        sections=(Section(tuple(tuple(map(plain, row)) for row in told)),),
        caption=f"The first {len(told)} of {len(rows)} lines" if len(told) < len(rows) else "",
    )


def _counted_names(runs: Counter[str]) -> str:
    """Names of entries, with the number of their runs where it is not one."""
    return ", ".join(
        f"{name} ({count} runs)" if count > 1 else name for name, count in runs.items()
    )


def unread_files(notices: Sequence[Notice], results: Path) -> Table | None:
    """Files of results that could not be read: which, why, and what to do.

    Args:
        notices: notices of ``Store.load``.
        results: folder of results; the page does not show its path.
    """
    rows = []
    for notice in notices:
        file, _, reason = notice.message.replace(f"{results}{os.sep}", "").partition(": ")
        rows.append((file, reason, notice.advice))
    if not rows:
        return None
    headings = (Heading("File"), Heading("Reason", prose=True), Heading("Advice", prose=True))
    return Table(
        headings=headings, sections=(Section(tuple(tuple(map(plain, row)) for row in rows)),)
    )


def _settings(record: RunRecord) -> dict[str, str]:
    document = record.model_dump(mode="json", include={"protocol", "environment"})
    return {**dict(flatten(document)), "data.digest": record.data.digest}


def machine(record: RunRecord, examinations: Sequence[Examination]) -> list[Table]:
    """Environment and protocol of a run, one setting a line; and the doctor's findings, if any."""
    environment = record.environment.model_dump(mode="json")
    protocol = record.protocol.model_dump(mode="json")
    tables = [
        pairs([*flatten(environment)], "Environment"),
        pairs([*flatten(protocol)], "Protocol"),
    ]
    found = [each for each in examinations if each.is_of(record.environment)]
    if found:
        nearest = min(found, key=lambda each: abs(each.created - record.created))
        when = f"{nearest.created:%Y-%m-%d %H:%M} UTC"
        checks = [check for check in nearest.checks if check.name not in FOLDERS]
        table = examination_table(checks, nearest.device)
        tables.insert(0, replace(table, caption=f"What esrbench doctor found on {when}"))
    return tables


def command(records: Sequence[RunRecord]) -> str:
    """The command that measures the same entries again, if options can express all settings.

    ``PYTHON`` stands for the interpreter of an entry that ran in one of its own.
    """
    ran = [record for record in records if record.entry.role != "images"]
    if not ran:
        return ""
    first = ran[0]
    words = ["esrbench", "run", *(record.entry.name for record in ran)]
    words += ["--data", first.data.name, "--scale", str(first.entry.scale)]
    words += protocol_options(first.protocol)
    for record in ran:
        words += ["--python", f"{record.entry.name}={PYTHON}"] if record.ran_with else []
    return shlex.join(words)


def claims_of(registry: Registry, board: Leaderboard, records: Sequence[RunRecord]) -> Claims:
    """Published figures of a board's networks at its scale and data, without those of devices."""
    own = own_records(board, records).values()
    claims: Claims = {record.entry.name: {} for record in own}
    for record in list(own)[:1]:
        for (name, metric, scale, data), figure in published_figures(registry).items():
            here = scale == record.entry.scale and data in {None, record.data.name}
            if here and name in claims and METRICS[metric].portable:
                claims[name][metric] = figure.value
    return claims
