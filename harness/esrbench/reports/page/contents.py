"""What the page shows, part by part, from a leaderboard and its records; no HTML is made here."""

from __future__ import annotations

import base64
import shlex
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Final

from esrbench.data.crops import read_crops
from esrbench.metrics import METRICS
from esrbench.ranking.selection import differences
from esrbench.records import (
    Absent,
    Complexity,
    Latency,
    PredictedMemory,
    Quality,
    Value,
    outermost,
)
from esrbench.reports.comparing import protocol_options
from esrbench.reports.details import blocks_table, flatten
from esrbench.reports.examination import examination_table
from esrbench.reports.page.charts import HeldRank, Scale, interval_of
from esrbench.reports.table import MISSING, Heading, Section, Table, pairs, plain
from esrbench.runtimes import times_by_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from esrbench.entries.registry import Registry
    from esrbench.metrics import Metric
    from esrbench.ranking.board import Leaderboard, LeaderboardEntry
    from esrbench.records import (
        Block,
        Conditions,
        Examination,
        ImageScore,
        Replicate,
        RunRecord,
    )
    from esrbench.reports.page.charts import Reading
    from esrbench.reports.table import Cell, Tone
    from esrbench.runs.store import Store

MOST_SCORES: Final = 10_000
"""In the table of images; what they take is about a megabyte."""
MOST_DETAILED: Final = 60
"""Entries whose blocks and raw times are shown."""
FOLDERS: Final = frozenset({"results folder", "cache folder"})
"""Checks of which a page says nothing: paths of a machine are nobody else's business."""
MOST_RATIO: Final = 100.0
"""Of a time to a median that is drawn; whoever says more is drawn there."""
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
Claims = dict[str, dict[str, float]]
"""Figures that authors state, in base units, by entry and metric."""

Processes = tuple[tuple[tuple[float, ...], ...], ...]
"""Figures of each thing of each process."""


@dataclass(frozen=True, slots=True)
class Times:
    """Raw times of one entry.

    Attributes:
        entry: its number on the page.
        name: of the entry.
        series: what each chart shows, and its figures.
        facts: sizes, cold starts, spreads and conditions in words.
    """

    entry: int
    name: str
    series: Mapping[str, Processes]
    facts: Table


@dataclass(frozen=True, slots=True)
class Cost:
    """Where the cost of one entry lies.

    Attributes:
        entry: its number on the page.
        name: of the entry.
        shares: of the blocks right below the network, of the MACs, activations and bytes of all.
        blocks: every block that the record tells of.
        memory: predicted over a forward, or None.
    """

    entry: int
    name: str
    shares: tuple[tuple[str, tuple[float, ...]], ...]
    blocks: Table | None
    memory: PredictedMemory | None


@dataclass(frozen=True, slots=True)
class Picture:
    """An image, or a part of one, as one entry shows it, or HR or LR.

    Attributes:
        label: name of the entry, ``HR`` or ``LR``.
        caption: scores of the whole image.
        source: as a ``data:`` URI, or a path beside the page.
    """

    label: str
    caption: str
    source: str


@dataclass(frozen=True, slots=True)
class Pictures:
    """The same image, or the same part of one, by all.

    Attributes:
        title: image and place.
        height: in HR pixels.
        width: likewise.
        pictures: HR and LR first if they are there, then entries in the order of the table.
    """

    title: str
    height: int
    width: int
    pictures: tuple[Picture, ...]


def rows_of(board: Leaderboard) -> tuple[LeaderboardEntry, ...]:
    """All rows in the order of the table; a row's number is the entry's on the page."""
    return (*board.ranked, *board.unranked)


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
    """What is drawn first: cost across, quality up, size as area; None without two metrics."""
    by_key = {scale.metric.key: scale for scale in scales}

    def first(*keys: str) -> Scale | None:
        return next((by_key[key] for key in keys if key in by_key), None)

    up = first("psnr_rgb", "psnr_y")
    across = first("runtime_images", "runtime_fixed", "macs_ntire2022", "macs_fvcore", "params")
    area = first("params", "macs_ntire2022", "macs_fvcore")
    return None if up is None or across is None else (across, up, area if area != across else None)


def stability(board: Leaderboard) -> tuple[str, list[HeldRank]] | None:
    """Title of the first track of which noise is known, and what it leaves of each rank."""
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
    """How each run ended, what it says of itself, and what to do about it."""
    rows = []
    for number, row in enumerate(rows_of(board)):
        record = records.get(number)
        said = [row.unranked_because or ""]
        if record is not None:
            said += [record.advice or "", *(f"{n.code}: {n.message}" for n in record.notices)]
        told = "; ".join(_claimed(row, claims.get(row.entry, {}))) or MISSING
        tone: Tone = "good" if row.status == "ok" else "doubtful"
        rows.append(
            (
                plain(row.entry),
                plain(row.status, "faint" if row.status == "published" else tone),
                plain(row.weights),
                plain(record.environment.isolation if record else MISSING),
                plain(_software(record) if record else MISSING),
                plain(told),
                plain(" ".join(each for each in said if each) or MISSING),
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


def _claimed(row: LeaderboardEntry, claims: Mapping[str, float]) -> Iterator[str]:
    for key, claimed in claims.items():
        value = row.values.get(key)
        measured = METRICS[key].show(value.value) if isinstance(value, Value) else MISSING
        yield f"{METRICS[key].label} {METRICS[key].format(claimed)}, {measured}"


def images_table(board: Leaderboard, records: Sequence[RunRecord]) -> Table | None:
    """PSNR and SSIM of every image and entry, images on which entries differ most first."""
    key = next((key for key in board.columns if METRICS[key].source == "quality"), "psnr_rgb")
    key = "psnr_y" if key == "psnr_y" else "psnr_rgb"
    scored = [(r.entry.name, r.quality) for r in records if isinstance(r.quality, Quality)]
    if not scored:
        return None
    shown = scored[: max(1, MOST_SCORES // len(scored[0][1].images))]
    scores = [{image.image: image for image in quality.images} for _, quality in shown]

    def spread(image: str) -> float:
        known = (getattr(each[image], key) for each in scores if image in each)
        found = [psnr for psnr in known if psnr is not None]
        return max(found) - min(found) if found else 0.0

    def cell(each: Mapping[str, ImageScore], image: str) -> Cell:
        if image not in each:
            return plain(MISSING)
        return plain(f"{_psnr(getattr(each[image], key))} / {each[image].ssim_y:.4f}")

    images = sorted({image for each in scores for image in each})
    images.sort(key=spread, reverse=True)
    rows = [
        (plain(image), plain(f"{spread(image):.2f}"), *(cell(each, image) for each in scores))
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


def crops(
    records: Sequence[RunRecord], store: Store, room: int
) -> tuple[list[Pictures], list[str]]:
    """The crops that the runs kept, and what is missing, in words.

    Args:
        records: of the board, in order; those that find no room on the page are named.
        store: that holds the crops.
        room: bytes that all crops may take on the page.
    """
    if not records:
        return [], []
    folder = store.crops_of(records[0].data.digest)
    known = read_crops(folder)
    kept: dict[str, dict[str, str]] = {}
    names = {crop.filename for crop in known}
    absent, crowded = [], []
    places = [("HR", folder / "HR"), ("LR", folder / "LR")]
    places += [(r.entry.name, store.crops_of(r.fingerprint)) for r in records]
    for label, place in places:
        files = [path for path in (place / name for name in sorted(names)) if path.is_file()]
        size = sum(path.stat().st_size for path in files) * 4 // 3
        size += 400 * len(files)  # the elements around them
        if size > room:
            crowded.append(label)
        elif files:
            room -= size
            kept[label] = {path.name: _data_uri(path.read_bytes()) for path in files}
        elif label not in {"HR", "LR"}:
            absent.append(label)
    captions = {r.entry.name: image_captions(r) for r in records}
    views = [
        Pictures(
            f"{crop.image}, row {crop.top}, column {crop.left}",
            crop.height,
            crop.width,
            tuple(
                Picture(label, captions.get(label, {}).get(crop.image, ""), files[crop.filename])
                for label, files in kept.items()
                if crop.filename in files
            ),
        )
        for crop in known
    ]
    said = []
    if absent and records[0].data.verified:
        again = shlex.join(["esrbench", "run", *absent, "--data", records[0].data.name])
        said.append(f"No crops were kept of {', '.join(absent)}: `{again}` makes them.")
    if crowded:
        said.append(f"There is no room on this page for the crops of {', '.join(crowded)}.")
    return views, said


def _psnr(value: float | None) -> str:
    """A PSNR in dB; that of an image without error is infinite."""
    return "\N{INFINITY}" if value is None else METRICS["psnr_rgb"].format(value)


def image_captions(record: RunRecord) -> dict[str, str]:
    """Scores of each image in words."""
    if isinstance(record.quality, Absent):
        return {}
    return {
        image.image: f"{_psnr(image.psnr_rgb)} dB, SSIM {image.ssim_y:.4f}"
        for image in record.quality.images
    }


def _data_uri(content: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(content).decode()}"


def costs_table(board: Leaderboard, records: Sequence[RunRecord]) -> tuple[Table, list[Metric]]:
    """Everything counted of each entry, and the metrics of which bars are drawn."""
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


def costs(records: Mapping[int, RunRecord]) -> list[Cost]:
    """Where the cost lies of the entries whose blocks or memory are told, the first of them."""
    found = []
    for entry, record in records.items():
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
            shares = tuple(_shares(blocks))
            found.append(Cost(entry, record.entry.name, shares, table, told))
    return found[:MOST_DETAILED]


def _shares(blocks: Sequence[Block]) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Of the blocks right below the network."""

    def figures(block: Block) -> tuple[int, ...]:
        return block.macs, block.activations, block.allocated_bytes

    for block in outermost(blocks):
        whole = zip(figures(block), figures(blocks[0]), strict=True)
        yield block.name, tuple(part / total if total else 0.0 for part, total in whole)


def times(records: Mapping[int, RunRecord]) -> list[Times]:
    """Raw times of the entries that have some, the first of them."""
    return [
        _times(entry, record.entry.name, record.latency)
        for entry, record in records.items()
        if isinstance(record.latency, Latency)
    ][:MOST_DETAILED]


def _times(entry: int, name: str, latency: Latency) -> Times:
    replicates = latency.replicates
    fixed = [samples for each in replicates for samples in each.timed_fixed]
    by_size = [
        sorted(each.timed_images, key=lambda s: (s.lr_size[0] * s.lr_size[1], s.input_name))
        for each in replicates
    ]
    series = {
        "Rounds at the fixed input, in order [ms]": _in_order(each.seconds for each in fixed),
        "Warm-up before them [ms]": _in_order(each.warmup_seconds for each in fixed),
        "Rounds of each image, smallest image first [ms]": tuple(
            tuple(tuple(s * 1e3 for s in samples.seconds) for samples in images)
            for images in by_size
        ),
        "Drift within an image: each round against the image's median": tuple(
            map(_round_drift, replicates)
        ),
        "Drift between images: each against its median in all processes, as they were timed": (
            _image_drift(replicates)
        ),
    }
    facts = [(f"Process {each.index + 1}", _process(each)) for each in replicates]
    for size in times_by_size(latency):
        height, width = size.lr_size
        facts.append(
            (
                f"LR {height}x{width}",
                (
                    f"median {size.median * 1e3:.2f} ms, 5th to 95th percentile "
                    f"{size.p5 * 1e3:.2f} to {size.p95 * 1e3:.2f} ms; "
                    f"{size.images} images, {size.rounds} forwards"
                ),
            )
        )
    return Times(entry, name, series, pairs(facts))


def _in_order(processes: Iterable[Sequence[float]]) -> Processes:
    """Milliseconds of forwards, one after the other."""
    return tuple(tuple((s * 1e3,) for s in seconds) for seconds in processes)


def _round_drift(replicate: Replicate) -> tuple[tuple[float, ...], ...]:
    """Of each round that half of the images have, the median ratio to the image's median."""
    ratios = [
        [min(s / middle, MOST_RATIO) for s in samples.seconds]
        for samples in replicate.timed_images
        if (middle := median(samples.seconds)) > 0
    ]
    longest = max(map(len, ratios), default=0)
    rounds = [[each[n] for each in ratios if n < len(each)] for n in range(longest)]
    return tuple((median(each),) for each in rounds if 2 * len(each) >= len(ratios))


def _image_drift(replicates: Sequence[Replicate]) -> Processes:
    """Ratios of an image's median to that of all processes; nothing of a single process."""
    if len(replicates) < 2:  # noqa: PLR2004 - one has nothing to be compared with
        return ()
    medians = [
        {samples.input_name: median(samples.seconds) for samples in each.timed_images}
        for each in replicates
    ]
    middles = {
        name: median([each[name] for each in medians if name in each])
        for names in medians
        for name in names
    }
    return tuple(
        tuple(
            (min(s / middles[name], MOST_RATIO),) for name, s in each.items() if middles[name] > 0
        )
        for each in medians
    )


def _process(replicate: Replicate) -> str:
    """What is told of a process beside its rounds."""
    said = []
    if replicate.cold_start_seconds is not None:
        said.append(f"cold start {replicate.cold_start_seconds * 1e3:.1f} ms")
    if replicate.cpus:
        said.append(f"CPUs {', '.join(map(str, replicate.cpus))}")
    if replicate.conditions is not None:
        said += _conditions(replicate.conditions)
    return "; ".join(said) or MISSING


def _conditions(conditions: Conditions) -> Iterator[str]:
    if conditions.other_load is not None:
        yield f"other processes took {conditions.other_load:.1%} of the CPU time"
    if conditions.steal:
        yield f"the hypervisor took {conditions.steal:.1%}"
    if conditions.clock_hz is not None:
        low, high = (hertz / 1e6 for hertz in conditions.clock_hz)
        yield f"GPU clock {low:.0f} to {high:.0f} MHz"
    if conditions.temperature_celsius is not None:
        yield f"up to {conditions.temperature_celsius:.0f} degrees Celsius"
    if conditions.throttle_reasons:
        yield f"clocks were lowered: {', '.join(conditions.throttle_reasons)}"


def left_out(board: Leaderboard, records: Sequence[RunRecord]) -> Table | None:
    """Runs on the same images that are not comparable, with each setting that differs."""
    shown = list(own_records(board, records).values())
    if not shown:
        return None
    reference = next((record for record in shown if record.ranked), shown[0])
    names = {record.run_id for record in shown}
    place = reference.data.name, reference.entry.scale
    rows = []
    for record in records:
        same = (record.data.name, record.entry.scale) == place and record.run_id not in names
        if not same or not differences(record, reference):
            continue
        theirs, ours = _settings(record), _settings(reference)
        for setting in dict.fromkeys((*ours, *theirs)):
            here, there = ours.get(setting, MISSING), theirs.get(setting, MISSING)
            if here != there:
                rows.append((record.entry.name, record.run_id, setting, here, there))
    if not rows:
        return None
    names_of = ("Entry", "Run", "Setting", "In this table", "In that run")
    return Table(
        headings=tuple(map(Heading, names_of)),
        sections=(Section(tuple(tuple(map(plain, row)) for row in rows)),),
    )


def _settings(record: RunRecord) -> dict[str, str]:
    document = record.model_dump(mode="json", include={"protocol", "environment"})
    return {**dict(flatten(document)), "data.digest": record.data.digest}


def machine(record: RunRecord, examinations: Sequence[Examination]) -> list[Table]:
    """Environment and protocol of a run, a line each setting; what the doctor found, if it did."""
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
    """The command that measures the same entries again, where options say all of it."""
    ran = [record for record in records if record.entry.role != "images"]
    if not ran:
        return ""
    first = ran[0]
    words = ["esrbench", "run", *(record.entry.name for record in ran)]
    words += ["--data", first.data.name, "--scale", str(first.entry.scale)]
    return shlex.join(words + protocol_options(first.protocol))


def claims_of(registry: Registry, names: Iterable[str], scale: int) -> Claims:
    """What registered networks of these names state of themselves alone, not of a device."""
    return {
        name: {
            figure.metric: figure.value
            for figure in registry.get(name).published
            if figure.scale == scale and METRICS[figure.metric].scope == ()
        }
        for name in names
        if name in registry
    }
