"""The figures of one entry that the gate compares, and the terms under which they were measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from esrbench.environment import package_version
from esrbench.gate.verdicts import RUNTIME, WEIGHTS
from esrbench.metrics import METRICS
from esrbench.protocol import Device, Frozen, digest_of, size_text
from esrbench.records import NO_SUCH_METRIC, Absent, Count, Sha256, Tier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esrbench.protocol import Protocol
    from esrbench.records import Environment, RunRecord, Software, Value, WeightsIdentity

SCORES: Final = tuple(key for key, metric in METRICS.items() if metric.source == "quality")
"""Metrics of images: PSNR and SSIM."""
COUNTS: Final = tuple(
    key for key, metric in METRICS.items() if metric.source in {"complexity", "weights"}
)
"""Metrics of a network: counts, predicted memory and the size of the weights file."""
MEASURED_MEMORY: Final = tuple(k for k, metric in METRICS.items() if metric.source == "memory")
"""Metrics that a GPU's allocator measures."""
ON_DATA: Final = (*SCORES, *MEASURED_MEMORY)
"""Metrics that are measured on the images of a data set."""
KNOWN: Final = (WEIGHTS, *COUNTS, *ON_DATA)
"""All compared metrics except runtime."""
METRIC_NAMES: Final = (*KNOWN, RUNTIME)
"""Names for ``--metrics``."""
SOFTWARE: Final = ("torch", "fvcore", "ptflops")
"""Installed distributions that affect counting and scoring."""

Number = int | float
Key = tuple[str, int]
"""Registered name and scale of an entry."""


class Terms(Frozen):
    """The terms under which figures were measured.

    Attributes:
        protocol: settings by name; figures whose settings differ are never compared.
        software: versions by name. Figures that differ under different versions are not compared,
            because nobody could tell what caused the difference.
    """

    protocol: dict[str, str]
    software: dict[str, str]

    @property
    def digest(self) -> str:
        """Digest in a baseline file: the first 12 digits of the SHA-256."""
        return digest_of(self)[:12]


class WeightsFigure(Frozen):
    """The weights that were scored; as in ``WeightsIdentity``."""

    source: Literal["released", "demo", "submitted", "file", "random", "none"]
    sha256: Sha256 | None = None


class Scores(Frozen):
    """Means over the images of one data set.

    Attributes:
        digest: digest of all pixels of the images and their names.
        values: means, by metric.
        accelerator: name of the GPU, or None for the CPU.
    """

    digest: Sha256
    values: dict[str, Number]
    accelerator: str | None = None


class RatioTerms(Frozen):
    """The terms of a ratio of runtimes; ratios with different terms are incomparable.

    Another processor or another number of threads changes the times of two networks differently.

    Attributes:
        device: where forwards ran.
        forward: class of precision, layout and compilation.
        threads: CPU threads.
        machine: processor or GPU.
        cpu_model: family, model and stepping of the processor; None on a GPU, and if they are not
            known.
        torch: version of torch.
        sandbox: tier of the workers' sandbox; None in an older file without this field.
        settings: settings of the memory allocator and the GPU's libraries, and environment
            variables that affect runtimes, by name.
    """

    device: Device
    forward: str
    threads: Count
    machine: str
    cpu_model: str | None = None
    torch: str
    sandbox: Tier | None = None
    settings: dict[str, str] = {}


class RuntimeRatio(RatioTerms):
    """Time of an entry divided by that of a reference, from pairs within one process.

    Attributes:
        reference: registered name.
        ratio: median of the pairs.
        low: lower bound of its rank interval.
        high: upper bound.
        pairs: number of pairs.
        input_size: height and width of the LR input.
    """

    reference: str
    ratio: Annotated[float, Field(gt=0)]
    low: Annotated[float, Field(gt=0)]
    high: Annotated[float, Field(gt=0)]
    pairs: Count
    input_size: tuple[Count, Count]


class EntryFigures(Frozen):
    """All figures of one entry that the gate compares.

    Attributes:
        terms: digest of the terms of counts and scores.
        weights: which weights were scored.
        counts: figures by metric of ``COUNTS``.
        scores: metrics of ``SCORES`` and ``MEASURED_MEMORY``, by data set; only with trained
            weights.
        runtime: ratio to a reference entry, or None if not requested.
    """

    terms: str
    weights: WeightsFigure
    counts: dict[str, Number]
    scores: dict[str, Scores] = {}
    runtime: RuntimeRatio | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures that were just measured, and why others are absent.

    Attributes:
        name: registered name of the entry.
        scale: upscaling factor.
        figures: the figures, or why there are none.
        terms: the terms under which they were measured.
        absent: why a figure is absent, by data set (None for counts) and metric.
        unopened: why a data set could not be opened, by name.
    """

    name: str
    scale: int
    figures: EntryFigures | Absent
    terms: Terms
    absent: Mapping[tuple[str | None, str], Absent] = field(default_factory=dict)
    unopened: Mapping[str, Absent] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Name in a baseline file."""
        return entry_key(self.name, self.scale)


def entry_key(name: str, scale: int) -> str:
    """Name of an entry at a scale in a baseline file."""
    return f"{name} x{scale}"


def parse_key(key: str) -> Key:
    """Name and scale of an entry in a baseline file.

    Raises:
        ValueError: the text has another form.
    """
    name, _, scale = key.rpartition(" x")
    if not name or not scale.isdecimal() or int(scale) < 1:
        message = f"{key!r}: expected a network and a scale, such as 'rfdn x4'"
        raise ValueError(message)
    return name, int(scale)


def terms_of(
    protocol: Protocol,
    software: Mapping[str, str] | None = None,
    *,
    counted_with: Software | None = None,
) -> Terms:
    """The terms of a protocol.

    Args:
        protocol: settings.
        software: versions by name; the installed ones if left out.
        counted_with: environment that counted a network of another interpreter, if there was one.
    """
    installed = software or {name: package_version(name) for name in SOFTWARE}
    versions = {name: installed.get(name, "absent").partition("+")[0] for name in SOFTWARE}
    if counted_with is not None:
        versions["torch"] += f", counted with {counted_with.torch.partition('+')[0]}"
    quality = protocol.quality.model_dump(mode="json")
    return Terms(
        protocol={
            "version": str(protocol.version),
            "counted_input": size_text(protocol.counted_input),
            "memory_input": size_text(protocol.memory_input),
            "forward": protocol.forward.label,
            "seed": str(protocol.seed),
            **{f"quality.{key}": str(value) for key, value in quality.items()},
        },
        software=versions,
    )


def differing_settings(metric: str, before: Terms, now: Terms) -> list[str]:
    """Names and both values of the settings that differ and that a metric depends on."""
    wanted = METRICS[metric].settings
    found = sorted(set(before.protocol) | set(now.protocol))
    return _differing(
        [name for name in found if name in wanted or f"{name.partition('.')[0]}." in wanted],
        before.protocol,
        now.protocol,
    )


def differing_software(metric: str, before: Terms, now: Terms) -> list[str]:
    """Names and both versions of software that differs and that a metric may depend on."""
    return _differing(METRICS[metric].software, before.software, now.software)


def ratio_terms(protocol: Protocol, environment: Environment) -> RatioTerms:
    """The terms of a race."""
    on_cpu = environment.accelerator is None
    return RatioTerms(
        device=protocol.device,
        forward=protocol.forward.label,
        threads=environment.threads,
        machine=environment.accelerator or environment.cpu,
        cpu_model=environment.cpu_model if on_cpu else None,
        torch=environment.packages.get("torch", "absent").partition("+")[0],
        sandbox=environment.isolation,
        settings={**environment.malloc, **environment.libraries, **environment.variables},
    )


def differing_ratio_terms(before: RatioTerms, now: RatioTerms) -> list[str]:
    """Names and both values of the terms in which two ratios of runtimes differ."""
    named = [name for name in RatioTerms.model_fields if name != "settings"]
    then, here = (
        {name: str(value) for name in named if (value := getattr(terms, name)) is not None}
        | terms.settings
        for terms in (before, now)
    )
    # A file without the sandbox also has no settings, and then the sandbox differs anyway.
    recorded = before.sandbox is not None and now.sandbox is not None
    settings = sorted({*before.settings, *now.settings}) if recorded else []
    return _differing([*named, *settings], then, here)


def weights_figure(identity: WeightsIdentity) -> WeightsFigure:
    """The part of an identity that a baseline keeps."""
    return WeightsFigure(source=identity.source, sha256=identity.sha256)


def number(metric: str, value: float) -> Number:
    """A value for a file: a count as an integer, a score rounded to a tenth of its tolerance."""
    tolerance = METRICS[metric].tolerance
    if not tolerance:
        return int(value) if float(value).is_integer() else value
    decimals = 1
    while 10.0**-decimals > tolerance / 9:
        decimals += 1
    return round(value, decimals)


def pick(
    values: Mapping[str, Value | Absent], metrics: tuple[str, ...]
) -> tuple[dict[str, Number], dict[str, Absent]]:
    """The measured values of some metrics, and why the others are absent."""
    found: dict[str, Number] = {}
    absent: dict[str, Absent] = {}
    for metric in metrics:
        value = values.get(metric, NO_SUCH_METRIC)
        if isinstance(value, Absent):
            absent[metric] = value
        else:
            found[metric] = number(metric, value.value)
    return found, absent


def scores_of(record: RunRecord) -> tuple[Scores, dict[str, Absent]]:
    """The values that a run measured on its images, and why the rest is absent."""
    values, absent = pick(record.values, ON_DATA)
    accelerator = record.environment.accelerator
    return Scores(digest=record.data.digest, values=values, accelerator=accelerator), absent


def figures_of(record: RunRecord) -> tuple[EntryFigures, Terms]:
    """The figures of a stored run, without runtimes, which come from another regime."""
    packages = record.environment.packages
    terms = terms_of(record.protocol, packages, counted_with=record.counted_with)
    counts, _ = pick(record.values, COUNTS)
    scores, _ = scores_of(record)
    figures = EntryFigures(
        terms=terms.digest,
        weights=weights_figure(record.entry.weights),
        counts=counts,
        scores={record.data.name: scores} if scores.values else {},
    )
    return figures, terms


def _differing(
    names: Sequence[str], before: Mapping[str, str], now: Mapping[str, str]
) -> list[str]:
    return [
        f"{name}: {before.get(name, 'none')} then, {now.get(name, 'none')} now"
        for name in names
        if before.get(name) != now.get(name)
    ]
