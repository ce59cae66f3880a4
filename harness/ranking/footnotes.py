"""What a reader of a leaderboard must know, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.metrics import METRICS
from harness.records import Complexity, Latency, PredictedMemory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.ranking.rules import Rule
    from harness.records import RunRecord


def device_statement(record: RunRecord) -> str:
    """What a record was measured on, in one line."""
    environment = record.environment
    threads = f"{environment.threads} thread{'s' if environment.threads != 1 else ''}"
    device = environment.accelerator or f"{environment.cpu}, {threads}"
    torch_version = environment.packages.get("torch", "absent")
    forward = record.protocol.forward.label
    return f"{device}, torch {torch_version}, {forward}, {environment.isolation}"


def gate_statement(rule: Rule, record: RunRecord, *, gated: bool) -> str:
    """What is claimed of the quality gate.

    Args:
        rule: holds the gate.
        record: of the table.
        gated: the gate is claimed.
    """
    gate = rule.gate
    label = METRICS[gate.metric].label
    if gated:
        return f"Gate: {label} >= {gate.minimum:.2f} dB on {gate.data}, as rounded to 2 decimals."
    if record.data.name == gate.data and record.entry.scale == gate.scale:
        return (
            f"No gate is claimed: these images were given as a folder and are not proven to be "
            f"{gate.data}; `esrbench fetch {gate.data}` proves it."
        )
    return (
        f"No gate is claimed: the {gate.minimum:.2f} dB gate holds on {gate.data} x{gate.scale}, "
        f"this is {record.data.name} x{record.entry.scale}."
    )


def notes_on(records: Sequence[RunRecord]) -> list[str]:
    """How the figures of a table's records were taken."""
    return [
        *_regime_notes(records),
        *_weights_notes(records),
        *_prepared_notes(records),
    ]


def _regime_notes(records: Sequence[RunRecord]) -> list[str]:
    """How runtimes were taken and what their intervals cover."""
    latencies = [record.latency for record in records if isinstance(record.latency, Latency)]
    if not latencies:
        return []
    processes = max(len(latency.replicates) for latency in latencies)
    notes = [
        "Brackets give the 95 % interval over the rounds of one process; others may differ by "
        "more: official runs take --processes 5 or more."
        if processes == 1
        else f"Runtimes are geometric means over {processes} fresh processes, entries interleaved "
        "in random order; brackets give Student's 95 % interval over three processes or more."
    ]
    sessions = len({latency.session for latency in latencies})
    if sessions > 1:
        notes.append(
            f"The entries come from {sessions} runs: they were not interleaved with one another."
        )
    baselines = {latency.baseline.name for latency in latencies if latency.baseline}
    if baselines:
        named = ", ".join(sorted(baselines))
        notes.append(f"The baseline is {named}, timed in the same rounds as its run's entries.")
    predicted = [
        record.complexity.predicted_memory
        for record in records
        if isinstance(record.complexity, Complexity)
    ]
    if any(isinstance(each, PredictedMemory) for each in predicted):
        height, width = records[0].protocol.memory_input
        notes.append(
            f"Predicted GPU memory is at LR 3x{height}x{width}, from tensor lifetimes and without "
            "cuDNN's workspaces; nothing ran on a GPU."
        )
    return notes


def _weights_notes(records: Sequence[RunRecord]) -> list[str]:
    said = {
        "random": "Random weights, hence no PSNR",
        "demo": "Demonstration weights of esrbench, not the authors'",
    }
    notes = []
    for source, note in said.items():
        names = sorted(r.entry.name for r in records if r.entry.weights.source == source)
        if names:
            notes.append(f"{note}: {', '.join(names)}.")
    return notes


def _prepared_notes(records: Sequence[RunRecord]) -> list[str]:
    prepared = sorted(
        f"{record.entry.name} by {record.entry.prepare}"
        for record in records
        if record.entry.prepare is not None
    )
    return [f"Counted and timed in prepared form: {', '.join(prepared)}."] if prepared else []
