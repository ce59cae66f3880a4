"""Notes for readers of a leaderboard, as sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from esrbench.metrics import METRICS
from esrbench.plaintext import plural
from esrbench.protocol import effort_of, size_text
from esrbench.records import Energy, Equality, Latency
from esrbench.runtimes import ACROSS_CLASSES
from esrbench.sandbox.tiers import SANDBOXES
from esrbench.statistics import STUDENT_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from esrbench.ranking.board import LeaderboardEntry
    from esrbench.ranking.rule import Gate, Rule, Track
    from esrbench.records import Absent, RunRecord

DISPUTED = "\N{DAGGER}"
"""Marks entries whose own times are disputed."""
OTHER_SOFTWARE = "\N{DOUBLE DAGGER}"
"""Marks entries that ran in their own interpreter."""
COLD_START = "*"
"""Marks published entries whose runtime includes a cold start."""
PROVISIONAL_MARK = "?"
"""Marks ranks in runtime that depend on fewer than three processes."""


def device_statement(record: RunRecord) -> str:
    """The images, device and settings of a record, in one line."""
    if record.entry.role == "images":
        return "SR images that were made elsewhere"
    environment = record.environment
    threads = plural(environment.threads, "thread")
    device = environment.accelerator or f"{environment.cpu}, {threads}"
    torch = environment.packages.get("torch", "absent")
    software = f"torch {torch}" if record.ran_with is None else record.ran_with.describe()
    forward, design = record.protocol.forward.label, record.protocol.latency
    effort = f", {effort_of(design) or 'own'} effort" if design else ""
    return f"{device}, {software}, {forward}, {environment.isolation}{effort}"


def banner(records: Sequence[RunRecord]) -> str | None:
    """A warning if submissions ran in a weaker sandbox than bubblewrap, or None."""
    complete = {tier for tier, sandbox in SANDBOXES.items() if sandbox.weakness() is None}
    ran = (record for record in records if record.entry.role != "images")
    tiers = {record.environment.isolation for record in ran} - complete
    if not tiers:
        return None
    return (
        f"Weak sandbox ({', '.join(sorted(tiers))} instead of bubblewrap): a hostile "
        "submission could have seen more than its own inputs."
    )


def gate_statement(rule: Rule, record: RunRecord, gates: Sequence[Gate]) -> str:
    """The sentence about the quality gate that this board may claim.

    Args:
        rule: rule with the gates.
        record: a record of the table.
        gates: the claimed gates.
    """
    if gates:
        said = f"Gate: {'; '.join(gate.describe() for gate in gates)}."
        missing = [gate for gate in rule.gates if gate not in gates]
        others = ", ".join(gate.title for gate in missing if gate.data)
        said += f" No gate is claimed on {others}: no verified images were measured there." * bool(
            others
        )
        beaten = ", ".join(gate.beats for gate in missing if gate.beats)
        said += (
            f" It is not claimed that entries beat {beaten}, which was not measured here."
            * bool(beaten)
        )
        pinned = " These images have no official hash: the organiser pinned them."
        return said + pinned * record.data.pinned
    if not rule.gates:
        return "The rule has no gate."
    data, scale = record.data.name, record.entry.scale
    if scale in rule.scales:
        if any(gate.data == data for gate in rule.gates):
            return (
                f"No gate is claimed: these images were given as a folder and are not proven to be "
                f"{data}; `esrbench fetch {data}` proves it."
            )
        if any(gate.data is None for gate in rule.gates):
            names = ", ".join(gate.beats for gate in rule.gates if gate.beats)
            return (
                f"No gate is claimed: entries must beat {names}, and no interpolation of that name "
                "was measured on these images."
            )
    scales = ", ".join(f"x{each}" for each in rule.scales)
    names = ", ".join(gate.data for gate in rule.gates if gate.data)
    where = f"{scales} on {names}" if names else scales
    held = "; ".join(gate.describe() for gate in rule.gates)
    return f"No gate is claimed. It holds at {where}: {held}; this is {data} x{scale}."


def rule_notes(rule: Rule, record: RunRecord) -> Iterator[str]:
    """Sentences about differences between a table's settings and the edition's."""
    if not rule.verified:
        yield f"This rule is unverified. {' '.join(rule.unverified)}"
    forward = record.protocol.forward
    if rule.precision is not None and forward.precision != rule.precision:
        yield f"The edition runs in {rule.precision}; this table is {forward.label}."
    ours, theirs = size_text(record.protocol.counted_input), size_text(rule.counted_input)
    differs = f"; the edition counts at 3x{theirs}, so its printed figures do not compare"
    yield f"Complexity at LR 3x{ours}{differs if ours != theirs else ''}."


def reference_notes(
    rule: Rule, tracks: Sequence[Track], relative_to: str | None, *, of_other_rounds: int = 0
) -> Iterator[str]:
    """Sentences about the reference of exponential scores.

    Args:
        rule: rule of the table.
        tracks: ranked tracks.
        relative_to: as in ``build_leaderboard``.
        of_other_rounds: number of entries that were timed with an earlier or later run of the
            baseline.
    """
    title = rule.baseline.title if rule.baseline else "the baseline"
    if not any(track.formula.reference == "baseline" for track in tracks):
        return
    if relative_to is None:
        relative = {metric for track in tracks for metric in track.formula.relative}
        counted = any(METRICS[metric].portable for metric in relative)
        counts = ", its parameters and FLOPs to the published ones" if counted else ""
        yield f"A score's runtime is relative to the baseline measured beside it{counts}."
    elif relative_to == "published":
        yield (
            f"Scores are relative to the published runtime of {title} ({rule.device}): they have a "
            "meaning only on that device."
        )
    else:
        yield (
            f"Scores are relative to the runtime of {relative_to} in place of {title}'s, so they "
            "are not the edition's."
        )
    if of_other_rounds:
        yield (
            f"Scores of {of_other_rounds} of these entries are relative to an earlier or later run "
            "of the baseline: the one that was timed in the same rounds as they were."
        )


def stability_notes(
    rows: Sequence[LeaderboardEntry], tracks: Sequence[Track], unknown: Absent | None
) -> Iterator[str]:
    """Sentences about provisional ranks and about ties."""
    if unknown is not None:
        yield (
            f"{PROVISIONAL_MARK} A provisional rank: {unknown.reason}, which may be off by 5 to "
            "20 % on a quiet machine and by far more beside other load. So is the Pareto front. "
            f"{unknown.advice}"
        )
        return
    tied = [
        track.label
        for track in tracks
        if any((place := row.places[track.key]).stability and place.stability.tied for row in rows)
    ]
    runtimes = {metric for row in rows for metric, held in row.rank_stability.items() if held.tied}
    tied += [metric.label for key, metric in METRICS.items() if key in runtimes]
    if tied:
        yield (
            "A rank such as 1-2 is a tie within the noise: the intervals of runtime overlap. "
            f"Ties are in {', '.join(tied)}. `esrbench race` tells two networks apart more finely."
        )


def software_notes(records: Sequence[RunRecord]) -> Iterator[str]:
    """Sentences that name entries with another interpreter, and the software that counted them."""
    moved = [(r.ran_with.describe(), r.entry.name) for r in records if r.ran_with is not None]
    for software in sorted({each for each, _ in moved}):
        names = ", ".join(sorted({name for each, name in moved if each == software}))
        yield f"{OTHER_SOFTWARE} Ran with {software}: {names}."
    counted = {r.counted_with.describe() for r in records if r.counted_with is not None}
    if counted:
        yield f"Entries with {OTHER_SOFTWARE} are counted with {', '.join(sorted(counted))}."


def backend_notes(records: Sequence[RunRecord]) -> Iterator[str]:
    """Sentences about the backends that ran the entries, and the difference of their SR."""
    deployed = [(r.entry.name, r.deployment) for r in records if r.deployment is not None]
    if not deployed:
        return
    software = {
        f"{each.backend} {', '.join(each.versions.values())}".strip() for _, each in deployed
    }
    said = "; ".join(
        f"{name} {each.equality.describe() if isinstance(each.equality, Equality) else each.doubt}"
        for name, each in sorted(deployed, key=lambda pair: pair[0])
    )
    yield f"Run by {', '.join(sorted(software))}. SR against eager torch's: {said}."
    quantised = (r.protocol.forward.quantisation for r in records)
    yield from dict.fromkeys(each.describe() for each in quantised if each is not None)


def energy_notes(records: Sequence[RunRecord]) -> Iterator[str]:
    """Sentences about what energy figures include and how accurate they are."""
    measured = [record.energy for record in records if isinstance(record.energy, Energy)]
    for counter in sorted({each.counter for each in measured}):
        of_it = [each for each in measured if each.counter == counter]
        domains = ", ".join(dict.fromkeys(name for each in of_it for name in each.domains))
        sizes = ", ".join(sorted({size_text(each.input_size) for each in of_it}))
        yield (
            f"Energy of one LR image of {sizes} above idle power, by {ENERGY_COUNTERS[counter]} "
            f"({domains}), median of {min(len(each.windows) for each in of_it)} windows or more, "
            f"with the delivery of its pixels. {ENERGY_LIMITS[counter]}"
        )


ENERGY_COUNTERS: Final = {"nvml": "NVML's counter", "rapl": "RAPL's counters"}
ENERGY_LIMITS: Final = {
    "nvml": (
        "The power sensors of A100 and H100 see 25 % of the runtime (arXiv 2312.02741), the "
        "counter changes every 20 to 100 ms, and on GH200 the counter covers the whole module."
    ),
    "rapl": "They cover everything that runs on these processors, including the evaluator.",
}


def notes_on(records: Sequence[RunRecord]) -> Iterator[str]:
    """Sentences about records that readers could misunderstand."""
    disputed = sorted(r.entry.name for r in records if r.status == "timing-disputed")
    if disputed:
        yield (
            f"{DISPUTED} The worker's own times disagree with the evaluator's; the runtime is the "
            f"larger of both: {', '.join(disputed)}."
        )
    images = sorted(r.entry.name for r in records if r.entry.role == "images")
    if images:
        yield f"{IMAGES_NOTE}: {', '.join(images)}."
    for source, note in WEIGHTS_NOTES.items():
        names = sorted(r.entry.name for r in records if r.entry.weights.source == source)
        if names:
            yield f"{note}: {', '.join(names)}."


def measuring_notes(records: Sequence[RunRecord], columns: Sequence[str]) -> Iterator[str]:
    """Sentences about how the figures in these columns were measured."""
    if records:
        yield f"{records[0].protocol.quality.describe(records[0].entry.scale)}."
    latencies = [record.latency for record in records if isinstance(record.latency, Latency)]
    if latencies and any(METRICS[metric].noisy for metric in columns):
        yield from _timing_notes(latencies)
    across = sorted(r.entry.name for r in records if ACROSS_CLASSES in {n.code for n in r.notices})
    if across:
        yield (
            "Their baseline ran in another precision, Python or torch, so a ratio to it does not "
            f"compare the networks alone: {', '.join(across)}."
        )
    predicted = "predicted_peak_bytes"
    if predicted in columns and any(r.measured(predicted) is not None for r in records):
        size = size_text(records[0].protocol.memory_input)
        yield (
            f"Predicted GPU memory is at LR 3x{size}, from tensor lifetimes and without "
            "cuDNN's workspaces; nothing ran on a GPU."
        )
    yield from prepared_notes(records)


IMAGES_NOTE = "SR images that were made elsewhere, scored without their network"
WEIGHTS_NOTES: Final[dict[Literal["demo", "random"], str]] = {
    "demo": "Demonstration weights of esrbench, not the authors'",
    "random": "Random weights, so no scores",
}
"""Notes on weights, by their source."""


def prepared_notes(records: Sequence[RunRecord]) -> Iterator[str]:
    """Sentences that name entries which their `prepare` hook changed before they were measured."""
    hooks = {f"{r.entry.name} by {r.entry.deployed_by}" for r in records if r.entry.deployed_by}
    if hooks:
        yield f"Counted and timed in prepared form: {', '.join(sorted(hooks))}."


def _timing_notes(latencies: Sequence[Latency]) -> Iterator[str]:
    """How runtimes were measured and what their intervals mean."""
    processes = min(len(latency.replicates) for latency in latencies)
    said = "Runtimes are of one process each"
    if processes > 1:
        said = (
            f"Runtimes are geometric means over {processes} fresh processes, entries interleaved "
            "in random order"
        )
    if processes < STUDENT_SAMPLES:
        yield f"{said}; they have no interval, because one process does not predict the next."
    else:
        yield (
            f"{said}; brackets give the 95 % interval over processes: Student's interval of the "
            "entry's own processes, or that of all ranked entries if it is wider."
        )
    devices = {each.device for latency in latencies for each in latency.replicates}
    if len(devices) > 1 and None not in devices:
        yield (
            f"Runtimes are of {len(devices)} devices of one kind; the intervals "
            "exclude differences between the devices."
        )
    sessions = len({latency.session for latency in latencies})
    if sessions > 1:
        yield f"The entries come from {sessions} runs: they were not interleaved with one another."
    baselines = sorted({latency.baseline.name for latency in latencies if latency.baseline})
    if baselines:
        yield (
            f"The baseline is {', '.join(baselines)}, timed in the same rounds as its run's "
            "entries."
        )
