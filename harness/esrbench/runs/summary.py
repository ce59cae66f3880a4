"""From raw findings to one value a metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esrbench.metrics import METRICS
from esrbench.probes.counters.operators import LIGHT, out_of_place
from esrbench.probes.notices import found_otherwise
from esrbench.protocol import COUNTERS
from esrbench.records import Absent, Quality, Value
from esrbench.runs.runtimes import runtime_values

if TYPE_CHECKING:
    from esrbench.records import Audit, Complexity, CounterResult, Latency, Memory, WeightsIdentity


def summarise(
    *,
    complexity: Complexity | Absent,
    quality: Quality | Absent,
    latency: Latency | Absent,
    memory: Memory | Absent,
    weights: WeightsIdentity,
    disputed: bool = False,
) -> dict[str, Value | Absent]:
    """One value for every metric of ``METRICS``: measured, or absent with the reason.

    Args:
        complexity: as in a record, like all that follow.
        quality: of SR images.
        latency: raw times.
        memory: of a GPU.
        weights: that ran.
        disputed: the worker's account of its time is not believed.
    """
    values: dict[str, Value | Absent] = {
        "weights_bytes": Absent(kind="unavailable", reason="no weights file was loaded")
        if weights.file_bytes is None
        else Value(value=weights.file_bytes),
        **runtime_values(latency, disputed=disputed),
        **_memory_values(memory),
        **_quality_values(quality),
        **_complexity_values(complexity),
    }
    return {key: values[key] for key in METRICS}


def _memory_values(memory: Memory | Absent) -> dict[str, Value | Absent]:
    keys = ("peak_bytes", "pass_peak_bytes")
    if isinstance(memory, Absent):
        return dict.fromkeys(keys, memory)
    return {key: Value(value=getattr(memory, key)) for key in keys}


def _quality_values(quality: Quality | Absent) -> dict[str, Value | Absent]:
    keys = ("psnr_rgb", "psnr_y", "ssim_y")
    if isinstance(quality, Absent):
        return dict.fromkeys(keys, quality)
    return {key: _mean_score(quality, key) for key in keys}


def _mean_score(quality: Quality, key: str) -> Value | Absent:
    scores: list[float] = []
    for image in quality.images:
        score: float | None = getattr(image, key)
        if score is None:
            reason = f"image {image.image} is reproduced without error: its PSNR is infinite"
            return Absent(kind="unavailable", reason=reason)
        scores.append(score)
    return Value(value=sum(scores) / len(scores))


def _complexity_values(complexity: Complexity | Absent) -> dict[str, Value | Absent]:
    keys = [f"macs_{counter}" for counter in COUNTERS]
    keys += ["params", "buffer_elements", "effective_constants", "predicted_peak_bytes"]
    keys += [f"{what}_{rule}" for what in ("activations", "conv_calls") for rule in CONV_RULES]
    if isinstance(complexity, Absent):
        return dict.fromkeys(keys, complexity)
    values: dict[str, Value | Absent] = {
        "params": Value(value=complexity.params),
        "buffer_elements": Value(value=complexity.buffer_elements),
        "effective_constants": _constants(complexity.audit),
        "predicted_peak_bytes": complexity.predicted_memory
        if isinstance(complexity.predicted_memory, Absent)
        else Value(value=complexity.predicted_memory.peak_bytes),
    }
    for counter in COUNTERS:
        result = complexity.counters.get(
            counter, Absent(kind="skipped", reason="the protocol leaves this counter out")
        )
        values[f"macs_{counter}"] = _figure(result, "macs")
        if counter in CONV_RULES:
            values[f"activations_{counter}"] = _figure(result, "activations")
            values[f"conv_calls_{counter}"] = _figure(result, "conv_calls")
    doubt = _doubt(complexity.audit)
    if doubt is not None:
        for key in ("macs_aten", "activations_aten", "conv_calls_aten"):
            if isinstance(values[key], Value):
                values[key] = doubt
    return values


def _doubt(audit: Audit | Absent) -> Absent | None:
    """Why the figures of the ``aten`` counter are no more than lower bounds, if so."""
    if isinstance(audit, Absent):
        return audit
    if audit.complete:
        return None
    if audit.recount is not None and not audit.recount.agrees:
        return Absent(
            kind="unavailable",
            reason=f"counted otherwise with pixel values: {found_otherwise(audit.recount)}",
            advice="See the notices of the entry; a network must do the same whoever looks.",
        )
    missed = [name for name in audit.uncounted if out_of_place(name) not in LIGHT] + list(
        audit.opaque
    )
    if not audit.derived_output:
        missed.append("work out of sight, from which the output derives")
    return Absent(
        kind="unavailable",
        reason=f"the count is a lower bound; it leaves out {', '.join(missed)}",
        advice="See the notices of the entry; count a version of operators that are known.",
    )


def _constants(audit: Audit | Absent) -> Value | Absent:
    """Constants used; those of work out of sight, or done only at times, are not known."""
    if isinstance(audit, Absent):
        return audit
    twofold = audit.recount is not None and not audit.recount.agrees
    if audit.opaque or not audit.derived_output or twofold:
        return _doubt(audit) or Value(value=audit.effective_constants)
    return Value(value=audit.effective_constants)


CONV_RULES = ("ntire2022", "aten")
"""Counters whose activations and #Conv are metrics of their own."""


def _figure(result: CounterResult | Absent, attribute: str) -> Value | Absent:
    if isinstance(result, Absent):
        return result
    figure: int | None = getattr(result, attribute)
    if figure is None:
        return Absent(kind="unavailable", reason=f"{result.counter} does not count {attribute}")
    return Value(value=figure)
