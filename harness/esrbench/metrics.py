"""The metrics, one row each: records, tables, rankings and gates read only this table.

A row says what a metric is called, how it is shown, on what it depends and how it is read from
what was measured. To add a metric, add a row. Values are kept in base units (counts, bytes,
seconds, dB); ``divisor`` and ``digits`` apply when rendering. "FLOPs" is the field's word for
multiply-accumulates: keys say ``macs``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from esrbench.plugins import load_entry_points
from esrbench.records import Absent, Latency, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from esrbench.protocol import CounterName
    from esrbench.records import (
        Audit,
        Complexity,
        Deployment,
        Energy,
        Graph,
        Memory,
        PredictedMemory,
        Quality,
        WeightsIdentity,
    )

MIB = 1024.0**2

Source = Literal["weights", "complexity", "quality", "latency", "memory", "deployment", "energy"]
"""The parts of a record that have measurements of an entry."""

Scope = Literal["data", "device"]
"""What a value depends on, apart from the entry: the data set, and the device with its software."""

Account = Literal["images", "fixed", "claims"]
"""The basis of a runtime: the forwards of the images, those of the fixed input, or only the
worker's claim."""

Reading = Value | Absent | int | float

NOT_MEASURED = Absent(kind="skipped", reason="it was not measured")


@dataclass(frozen=True, slots=True)
class Findings:
    """Measurements of one entry, each part as in a record.

    Attributes:
        weights: that ran.
        complexity: counts and predicted memory.
        quality: scores of the images.
        latency: raw times.
        memory: of a GPU.
        deployment: by a backend other than eager torch.
        energy: of a loop of forwards.
        doubts: accounts of time on which no runtime may rest, and why.
    """

    weights: WeightsIdentity | Absent = NOT_MEASURED
    complexity: Complexity | Absent = NOT_MEASURED
    quality: Quality | Absent = NOT_MEASURED
    latency: Latency | Absent = NOT_MEASURED
    memory: Memory | Absent = NOT_MEASURED
    deployment: Deployment | Absent = NOT_MEASURED
    energy: Energy | Absent = NOT_MEASURED
    doubts: Mapping[Account, Absent] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Metric:
    """One measurable quantity.

    Attributes:
        key: identifier in records.
        label: table heading, without the unit.
        source: the part of ``Findings`` that it is read from.
        read: gives the value, in base units, of that part; a count stays an integer.
        unit: unit shown after division by ``divisor``; empty for dimensionless values.
        better: direction in which the value improves.
        divisor: base units per shown unit.
        digits: decimals shown.
        needs: accounts of time that it rests on; it is absent where one of them is in doubt.
        scope: on what it depends beside the entry.
        noisy: it differs between processes on one device, so that it has an interval.
        tolerance: absolute difference in base units within which values of the same inputs count
            as equal; noisy metrics are judged by their intervals.
        settings: of ``esrbench.gate.figures.Terms`` on which it depends; a trailing dot means all
            below.
        software: distributions whose versions may alter it.
        beside: columns of a leaderboard beside which it stands where it says more of them.
        scored_by: of a score of images that is taken where it is asked for, ``module:attr`` of
            what takes it: called with SR, HR and the border to leave out, uint8 (H, W, 3) RGB and
            pixels, it returns a number. It may be called in several threads.
        on_request: measured only where it is asked for.
        about: what it is, in sentences of Markdown; the manual shows it.
    """

    key: str
    label: str
    source: Source
    read: Callable[[Any], Reading]
    unit: str = ""
    better: Literal["lower", "higher"] = "lower"
    divisor: float = 1.0
    digits: int = 0
    needs: tuple[Account, ...] = ()
    scope: tuple[Scope, ...] = ()
    noisy: bool = False
    tolerance: float = 0.0
    settings: tuple[str, ...] = ("version",)
    software: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    scored_by: str = ""
    on_request: bool = False
    about: str = ""

    @property
    def heading(self) -> str:
        """Label with its unit in brackets."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label

    @property
    def per_data(self) -> bool:
        """Whether it is taken on the images of a data set."""
        return "data" in self.scope

    @property
    def portable(self) -> bool:
        """Whether values of two devices compare."""
        return "device" not in self.scope

    @property
    def column(self) -> str:
        """Heading in files of published figures, which are printed in the shown unit."""
        return self.key if self.divisor == 1 else f"{self.key}_{self.unit}"

    def format(self, value: float) -> str:
        """Render a value given in base units, without its unit."""
        return f"{value / self.divisor:.{self.digits}f}"

    def show(self, value: float) -> str:
        """Render a value given in base units, with its unit."""
        return f"{self.format(value)} {self.unit}".strip()

    def extract(self, findings: Findings) -> Value | Absent:
        """Its value, or why there is none."""
        part = getattr(findings, self.source)
        failed = _failed_replicate(part) if isinstance(part, Latency) else None
        if isinstance(part, Absent) or failed is not None:
            return failed or part
        doubts = [findings.doubts[need] for need in self.needs if need in findings.doubts]
        if doubts:
            return doubts[0]
        try:
            found = self.read(part)
            return found if isinstance(found, Value | Absent) else Value(value=found)
        except Exception as error:  # noqa: BLE001 - a fault of one row costs that metric alone
            reason = f"the metric {self.key} cannot be read: {type(error).__name__}: {error}"
            advice = (
                f"Correct `read` of {self.key}, or let it return Absent where there is no value."
            )
            return Absent(kind="failed", reason=reason, advice=advice)


def extract_values(findings: Findings) -> dict[str, Value | Absent]:
    """A value, or the reason why there is none, for every metric."""
    return {metric.key: metric.extract(findings) for metric in METRICS.values()}


def _failed_replicate(latency: Latency) -> Absent | None:
    """Why no runtime can be told although some processes were timed."""
    parts = (part for each in latency.replicates for part in (each.fixed, each.images))
    return next(
        (part for part in parts if isinstance(part, Absent) and part.kind != "skipped"), None
    )


def _file_bytes(weights: WeightsIdentity) -> Reading:
    if weights.file_bytes is None:
        return Absent(kind="unavailable", reason="no weights file was loaded")
    return weights.file_bytes


def _mean(score: str) -> Callable[[Quality], Reading]:
    def read(quality: Quality) -> Reading:
        mean: float | None = getattr(quality.mean, score)
        if mean is not None:
            return mean
        exact = next(each.image for each in quality.images if getattr(each, score) is None)
        reason = f"image {exact} is reproduced without error: its PSNR is infinite"
        return Absent(kind="unavailable", reason=reason)

    return read


def image_metric(key: str, label: str, scored_by: str, **row: Any) -> Metric:
    """The row of a score of images that is taken where ``--metric KEY`` asks for it.

    Args:
        key: identifier in records.
        label: table heading.
        scored_by: as in ``Metric``.
        row: further fields of ``Metric`` that are not those of PSNR-Y, such as ``unit``,
            ``digits``, ``better`` and ``tolerance``.
    """
    reason, advice = "it was not asked for", f"`esrbench run --metric {key}` asks for it."
    if not scored_by:
        reason, advice = "nothing here takes it", "A plugin may: see `esrbench help extending`."
    not_asked = Absent(kind="skipped", reason=reason, advice=advice)

    def read(quality: Quality) -> Reading:
        scores: list[float] = []
        for image in quality.images:
            score = image.others.get(key, not_asked)
            if isinstance(score, Absent):
                return score
            scores.append(score)
        return sum(scores) / len(scores)

    given = {"unit": "", "tolerance": 0.0, "on_request": True} | row
    return Metric(key, label, read=read, scored_by=scored_by, **_SCORE | given)


def _runtime(reading: str) -> Callable[[Latency], Reading]:
    def read(latency: Latency) -> Reading:
        from esrbench.runtimes import READINGS  # it needs numpy, which takes 0.2 s to import

        return READINGS[reading](latency)

    return read


def _counted(counter: CounterName, attribute: str) -> Callable[[Complexity], Reading]:
    def read(complexity: Complexity) -> Reading:
        left_out = Absent(kind="skipped", reason="the protocol leaves this counter out")
        result = complexity.counters.get(counter, left_out)
        if isinstance(result, Absent):
            return result
        figure: int | None = getattr(result, attribute)
        if figure is None:
            return Absent(kind="unavailable", reason=f"{counter} does not count {attribute}")
        doubt = _doubt(complexity.audit) if counter == "aten" else None
        return figure if doubt is None else doubt

    return read


def _for_1280x720(complexity: Complexity) -> Reading:
    found = complexity.at_1280x720
    if isinstance(found, Absent):
        return found
    return _doubt(complexity.audit) or found.macs


def _doubt(audit: Audit | Absent) -> Absent | None:
    """Why the figures of the ``aten`` counter are no more than lower bounds, if so."""
    if isinstance(audit, Absent):
        return audit
    if audit.complete:
        return None
    if audit.recount is not None and not audit.recount.agrees:
        return Absent(
            kind="unavailable",
            reason=f"counted otherwise with pixel values: {audit.recount.describe()}",
            advice="See the notices of the entry; a network must compute the same whether or not "
            "it is watched.",
        )
    missed = [*audit.unknown, *audit.opaque]
    if not audit.derived_output:
        missed.append("work out of sight, from which the output derives")
    return Absent(
        kind="unavailable",
        reason=f"the count is a lower bound; it leaves out {', '.join(missed)}",
        advice="See the notices of the entry; count a version of operators that are known.",
    )


def _constants(complexity: Complexity) -> Reading:
    """Constants used; those of work out of sight, or done only at times, are not known."""
    audit = complexity.audit
    if isinstance(audit, Absent):
        return audit
    twofold = audit.recount is not None and not audit.recount.agrees
    unseen = audit.opaque or not audit.derived_output or twofold
    return (_doubt(audit) if unseen else None) or audit.effective_constants


def _predicted(complexity: Complexity) -> Reading:
    memory: PredictedMemory | Absent = complexity.predicted_memory
    return memory if isinstance(memory, Absent) else memory.peak_bytes


def _of_graph(attribute: str) -> Callable[[Deployment], Reading]:
    def read(deployment: Deployment) -> Reading:
        graph: Graph | None = deployment.graph
        if graph is None:
            reason = f"{deployment.backend} runs the network's code, and no graph of it"
            return Absent(kind="unavailable", reason=reason)
        found: float = getattr(graph, attribute)
        return found

    return read


def _psnr_difference(deployment: Deployment) -> Reading:
    equality = deployment.equality
    if isinstance(equality, Absent):
        return equality
    if equality.psnr_difference is None:
        return Absent(kind="unavailable", reason="an image is reproduced without error")
    return equality.psnr_difference


def _joules(energy: Energy) -> Reading:
    from esrbench.statistics import median_value  # it needs numpy, likewise

    found = median_value(energy.joules_per_image)
    if min(energy.joules_per_image) > 0:
        return found
    idle = sum(each.watts for each in energy.idle) / len(energy.idle)
    reason = f"the counter tells no more than idle power, {idle:.0f} W, in a window of work"
    return Absent(kind="unavailable", reason=reason)


_SCORE: Final[dict[str, Any]] = {
    "unit": "dB",
    "better": "higher",
    "digits": 2,
    "source": "quality",
    "scope": ("data",),
    "tolerance": 1e-4,
    "settings": ("version", "forward", "quality."),
    "software": ("torch",),
}
_RUNTIME: Final[dict[str, Any]] = {
    "unit": "ms",
    "divisor": 1e-3,
    "digits": 2,
    "source": "latency",
    "needs": ("images",),
    "scope": ("data", "device"),
    "noisy": True,
    "settings": ("version", "forward"),
    "software": ("torch",),
}
_AT_FIXED_INPUT: Final[dict[str, Any]] = _RUNTIME | {
    "scope": ("device",),
    "settings": ("version", "forward", "counted_input"),
}
_MILLIONS: Final[dict[str, Any]] = {"unit": "M", "divisor": 1e6, "digits": 3}
_BYTES: Final[dict[str, Any]] = {"unit": "MiB", "divisor": MIB, "digits": 2}
_COUNT: Final[dict[str, Any]] = {
    "source": "complexity",
    "settings": ("version", "counted_input"),
    "software": ("torch",),
}
_FLOPS: Final[dict[str, Any]] = _COUNT | {"unit": "G", "divisor": 1e9, "digits": 2}
_ACTS: Final[dict[str, Any]] = _COUNT | {"unit": "M", "divisor": 1e6, "digits": 2}
_MEMORY: Final[dict[str, Any]] = _BYTES | {
    "source": "memory",
    "scope": ("data", "device"),
    "settings": ("version", "forward"),
    "software": ("torch",),
}

_DEPLOYMENT: Final[dict[str, Any]] = {
    "source": "deployment",
    "settings": ("version", "forward"),
    "software": ("torch",),
}
_OPENING: Final[dict[str, Any]] = _DEPLOYMENT | {
    "unit": "s",
    "digits": 1,
    "scope": ("device",),
}

_ROWS: Final = (
    Metric(
        "psnr_rgb",
        "PSNR",
        about=(
            "PSNR of uint8 RGB, without a border of `scale` pixels, as the mean over the "
            "images. The challenge's gate is on it."
        ),
        read=_mean("psnr_rgb"),
        **_SCORE,
    ),
    Metric(
        "psnr_y",
        "PSNR-Y",
        about="PSNR of luma (BT.601, unrounded), as papers print it, without the same border.",
        read=_mean("psnr_y"),
        **_SCORE,
    ),
    Metric(
        "ssim_y",
        "SSIM-Y",
        about="SSIM of luma (BT.601, unrounded), without the same border.",
        read=_mean("ssim_y"),
        **_SCORE | {"unit": "", "digits": 4, "tolerance": 1e-5},
    ),
    image_metric(
        "ssim_rgb",
        "SSIM",
        "esrbench.probes.quality:ssim",
        about="Mean of the SSIM of red, green and blue.",
        digits=4,
        tolerance=1e-5,
    ),
    image_metric(
        "perceptual_score",
        "Perceptual score",
        "",
        about=(
            "A score of how good images look; rules of some tracks name it, and a plugin takes it."
        ),
        digits=4,
    ),
    Metric(
        "runtime_images",
        "Runtime",
        about=(
            "The challenge's runtime: mean over the images of the median of each image. The "
            "larger of the worker's own time and the externally measured time counts."
        ),
        read=_runtime("images"),
        **_RUNTIME,
    ),
    Metric(
        "runtime_with_bicubic",
        "Runtime with bicubic input",
        about=(
            "Runtime with the time that bicubic enlargement of the LR image takes, for "
            "networks that take it enlarged."
        ),
        read=_runtime("with_bicubic"),
        **_RUNTIME | {"needs": ("images", "claims")},
    ),
    Metric(
        "runtime_fixed",
        "Runtime at fixed input",
        about=(
            "Runtime at the fixed input, which is LR 256x256 unless `--input-size` says otherwise."
        ),
        read=_runtime("fixed"),
        **_AT_FIXED_INPUT | {"needs": ("fixed",)},
    ),
    Metric(
        "runtime_ratio",
        "Runtime / baseline",
        about="Runtime in relation to that of the baseline in the same rounds.",
        read=_runtime("ratio"),
        beside=("runtime_images",),
        **_RUNTIME | {"unit": "", "divisor": 1.0, "digits": 3},
    ),
    Metric(
        "runtime_trusted",
        "Runtime from outside",
        about="Time of a forward by the evaluator's clock, less what a null network takes.",
        read=_runtime("external"),
        **_RUNTIME,
    ),
    Metric(
        "cold_start",
        "Cold start",
        about="First forward of a fresh process at the fixed input, as the worker tells it.",
        read=_runtime("cold_start"),
        **_AT_FIXED_INPUT | {"needs": ("claims",)},
    ),
    Metric(
        "params",
        "Params",
        about="Parameters of the network in the form in which it is measured.",
        source="complexity",
        read=lambda c: c.params,
        **_MILLIONS,
    ),
    Metric(
        "buffer_elements",
        "Buffers",
        about="Elements of its buffers.",
        source="complexity",
        read=lambda c: c.buffer_elements,
    ),
    Metric(
        "weights_bytes",
        "Weights file",
        about="Size of the file that its weights were read from.",
        source="weights",
        read=_file_bytes,
        **_BYTES,
    ),
    Metric(
        "macs_ntire2022",
        "FLOPs",
        about=(
            "Multiply-accumulates at LR 256x256 by the hook rule of the challenge's scripts "
            "of 2022 and 2023."
        ),
        read=_counted("ntire2022", "macs"),
        **_FLOPS,
    ),
    Metric(
        "macs_fvcore",
        "FLOPs (fvcore)",
        about=(
            "Multiply-accumulates at LR 256x256 by fvcore, which the challenge uses from 2024 on."
        ),
        read=_counted("fvcore", "macs"),
        **_FLOPS | {"software": ("torch", "fvcore")},
    ),
    Metric(
        "macs_ptflops",
        "FLOPs (ptflops)",
        about="Multiply-accumulates at LR 256x256 by ptflops, which many papers quote.",
        read=_counted("ptflops", "macs"),
        **_FLOPS | {"software": ("torch", "ptflops")},
    ),
    Metric(
        "macs_aten",
        "FLOPs (aten)",
        about="Multiply-accumulates at LR 256x256 of all operators that ran, by our own count.",
        read=_counted("aten", "macs"),
        **_FLOPS,
    ),
    Metric(
        "macs_1280x720",
        "FLOPs at 1280x720",
        about=(
            "Multiply-accumulates for an SR image of 1280x720 pixels, by our own count; older "
            "papers print these."
        ),
        read=_for_1280x720,
        **_FLOPS | {"settings": ("version",)},
    ),
    Metric(
        "activations_ntire2022",
        "Acts",
        about=(
            "Elements of the outputs of all convolution modules at LR 256x256, as the "
            "challenge counts them."
        ),
        read=_counted("ntire2022", "activations"),
        **_ACTS,
    ),
    Metric(
        "activations_aten",
        "Acts (aten)",
        about="Elements of the outputs of all convolutions that ran at LR 256x256.",
        read=_counted("aten", "activations"),
        **_ACTS,
    ),
    Metric(
        "conv_calls_ntire2022",
        "#Conv",
        about="Calls of convolution modules in a forward.",
        read=_counted("ntire2022", "conv_calls"),
        **_COUNT,
    ),
    Metric(
        "conv_calls_aten",
        "#Conv (aten)",
        about="Convolutions that ran in a forward.",
        read=_counted("aten", "conv_calls"),
        **_COUNT,
    ),
    Metric(
        "effective_constants",
        "Constants used",
        about=(
            "Numbers that meet the image in a forward, whether they are parameters, buffers "
            "or numbers in the code."
        ),
        read=_constants,
        **_COUNT | _MILLIONS,
    ),
    Metric(
        "predicted_peak_bytes",
        "GPU Mem. predicted",
        about=(
            "GPU memory that tensor lifetimes predict at LR 510x510, for machines without a GPU."
        ),
        read=_predicted,
        beside=("peak_bytes", "pass_peak_bytes"),
        **_COUNT | _BYTES | {"settings": ("version", "forward", "memory_input")},
    ),
    Metric(
        "peak_bytes",
        "GPU Mem.",
        about=(
            "Most GPU memory that PyTorch's allocator had in use within a forward on the images."
        ),
        read=lambda memory: memory.peak_bytes,
        **_MEMORY,
    ),
    Metric(
        "pass_peak_bytes",
        "GPU Mem. of the whole pass",
        about=(
            "Most GPU memory in use from loading to the end of the pass, which is the "
            "challenge's number."
        ),
        read=lambda memory: memory.pass_peak_bytes,
        **_MEMORY,
    ),
    Metric(
        "psnr_difference",
        "PSNR - eager torch's",
        about="PSNR of a backend less that of eager torch, on the same images.",
        read=_psnr_difference,
        **_SCORE | _DEPLOYMENT | {"digits": 4},
    ),
    Metric(
        "graph_bytes",
        "Graph file",
        about="Size of the graph that a backend runs.",
        read=_of_graph("file_bytes"),
        **_BYTES | _DEPLOYMENT,
    ),
    Metric(
        "build_seconds",
        "Build",
        about="Time to export or compile the graph.",
        read=_of_graph("build_seconds"),
        **_OPENING,
    ),
    Metric(
        "load_seconds",
        "Load",
        about="Time until a backend is ready for its first forward.",
        read=lambda d: d.load_seconds,
        **_OPENING | {"digits": 2},
    ),
    Metric(
        "energy",
        "Energy",
        about=(
            "Energy of an image at the fixed input, above idle power, by the counter of the "
            "GPU or of the CPU."
        ),
        unit="J/image",
        digits=3,
        source="energy",
        read=_joules,
        scope=("device",),
        settings=("version", "forward", "counted_input"),
        software=("torch",),
        on_request=True,
    ),
)

METRICS: dict[str, Metric] = {metric.key: metric for metric in _ROWS}
"""Every metric by key, in table order: those of this module, then those of plugins."""
_OPEN: Final = METRICS["perceptual_score"]
"""Rules name it, and nothing here takes it: a plugin may put its own in this place."""


def _accept(offered: Any, _origin: str) -> None:
    """Add what a distribution offers, or nothing of it."""
    rows = (offered,) if isinstance(offered, Metric) else tuple(offered)
    for row in rows:
        if not isinstance(row, Metric):
            message = f"expected a Metric, got {type(row).__name__}"
            raise TypeError(message)
        if row.key in METRICS and METRICS[row.key] is not _OPEN:
            message = f"a metric is called {row.key} already"
            raise ValueError(message)
    METRICS.update((row.key, row) for row in rows)


PLUGIN_NOTICES: Final = load_entry_points("esrbench.metrics", _accept, missing="metrics")
"""Errors of distributions whose metrics could not be added."""
