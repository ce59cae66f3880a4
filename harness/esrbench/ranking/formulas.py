"""Formulas: each computes one number from an entry's figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from esrbench.metrics import METRICS
from esrbench.protocol import Frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Figures = Mapping[str, float]
    """By metric, base units."""

Reference = Literal["none", "baseline", "interpolation"]
"""Where a formula's reference figures come from: nowhere, the baseline, or an interpolation."""


class Total(NamedTuple):
    """The result of a formula for one entry.

    Attributes:
        order: sort key of the places; smaller is better.
        value: sum of ranks, or score; None if the score exceeds the largest float.
        log: natural logarithm of a positive score; None for sums of ranks and for scores of 0.
    """

    order: float
    value: float | None
    log: float | None = None


class RankSum(Frozen):
    """Sum of an entry's ranks in some metrics; one metric alone is that metric's ranking.

    Attributes:
        kind: name of the formula.
        metrics: keys in ``METRICS``, each ranked in its own direction.
    """

    kind: Literal["rank-sum"] = "rank-sum"
    metrics: Annotated[tuple[str, ...], Field(min_length=1)]
    reference: ClassVar[Reference] = "none"
    relative: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        known_metrics(self.metrics)
        return self

    def total(self, values: Figures, ranks: Mapping[str, int], references: Figures) -> Total:  # noqa: ARG002 - all formulas are called alike
        """Sum of an entry's ranks in the metrics; rank 1 is the best."""
        sum_of_ranks = sum([ranks[metric] for metric in self.metrics])
        return Total(sum_of_ranks, sum_of_ranks)

    def describe(self, references: Figures) -> str:  # noqa: ARG002 - all formulas are called alike
        """The formula in words."""
        labels = [METRICS[metric].label for metric in self.metrics]
        if len(labels) == 1:
            return f"rank in {labels[0]}"
        return f"sum of ranks in {', '.join(labels)}; lower is better"


class Exponential(Frozen):
    """Weighted sum of ``exp(factor * x / x_baseline)``; lower is better.

    Attributes:
        kind: name of the formula.
        weights: weight of each metric, by key.
        factor: factor of ``x / x_baseline``.
    """

    kind: Literal["exponential"] = "exponential"
    weights: Annotated[dict[str, Annotated[float, Field(gt=0)]], Field(min_length=1)]
    factor: Annotated[float, Field(gt=0)] = 2.0
    reference: ClassVar[Reference] = "baseline"

    @property
    def metrics(self) -> tuple[str, ...]:
        """Keys in ``METRICS``."""
        return tuple(self.weights)

    @property
    def relative(self) -> tuple[str, ...]:
        """Metrics that are divided by the baseline's: all."""
        return self.metrics

    @model_validator(mode="after")
    def _lower_is_better(self) -> Self:
        known_metrics(self.metrics)
        for metric in self.metrics:
            if METRICS[metric].better == "higher":
                message = f"a higher {metric} is better, but in this score lower is better"
                raise ValueError(message)
        return self

    def total(self, values: Figures, ranks: Mapping[str, int], references: Figures) -> Total:  # noqa: ARG002 - all formulas are called alike
        """The score from an entry's figures and the baseline's, both in base units.

        Entries are placed by the logarithm, which does not overflow.
        """
        terms = {
            metric: self.factor * values[metric] / references[metric] for metric in self.weights
        }
        top = max(terms.values())
        scaled = sum(
            weight * math.exp(terms[metric] - top) for metric, weight in self.weights.items()
        )
        log = top + math.log(scaled)
        try:
            value = math.fsum(
                weight * math.exp(terms[metric]) for metric, weight in self.weights.items()
            )
        except OverflowError:
            return Total(order=log, value=None, log=log)
        return Total(order=log, value=value, log=log)

    def describe(self, references: Figures) -> str:
        """The formula with its weights and the baseline's figures."""
        terms = [
            f"{weight:g} exp({self.factor:g} {METRICS[metric].label} / "
            f"{_shown(metric, references)})"
            for metric, weight in self.weights.items()
        ]
        return f"{' + '.join(terms)}; lower is better"


class RealTime(Frozen):
    """``coefficient * 2^delta / sqrt(t)``, higher is better; 0 without a gain.

    ``delta`` is the gain in PSNR over interpolation in dB. ``t`` is the runtime in ms.

    Attributes:
        kind: name of the formula.
        floor: name of the interpolation baseline.
        quality: key of the PSNR.
        runtime: key of the runtime.
        coefficient: constant factor of the score.
    """

    kind: Literal["real-time"] = "real-time"
    floor: str = "bicubic"
    quality: str = "psnr_rgb"
    runtime: str = "runtime_images"
    coefficient: Annotated[float, Field(gt=0)] = 20.0
    reference: ClassVar[Reference] = "interpolation"

    @property
    def metrics(self) -> tuple[str, ...]:
        """Keys in ``METRICS``."""
        return (self.quality, self.runtime)

    @property
    def relative(self) -> tuple[str, ...]:
        """The metric that is compared with interpolation's."""
        return (self.quality,)

    @model_validator(mode="after")
    def _psnr_and_runtime(self) -> Self:
        known_metrics(self.metrics)
        for field, unit in (("quality", "dB"), ("runtime", "ms")):
            metric = getattr(self, field)
            if METRICS[metric].unit != unit:
                message = f"{field} must be a metric in {unit}, and {metric} is not"
                raise ValueError(message)
        return self

    def total(self, values: Figures, ranks: Mapping[str, int], references: Figures) -> Total:  # noqa: ARG002 - all formulas are called alike
        """The score from an entry's PSNR in dB and runtime in seconds, and interpolation's PSNR."""
        gained = max(values[self.quality] - references[self.quality], 0.0)
        if gained == 0.0:
            return Total(order=math.inf, value=0.0)
        milliseconds = 1e3 * values[self.runtime]
        log = math.log(self.coefficient) + gained * math.log(2) - math.log(milliseconds) / 2
        value = self.coefficient * 2**gained / math.sqrt(milliseconds)
        return Total(order=-log, value=value, log=log)

    def describe(self, references: Figures) -> str:
        """The formula, with interpolation's PSNR if it is known."""
        psnr = METRICS[self.quality].label
        interpolated = "interpolation's on the same images"
        if self.quality in references:
            interpolated = f"{references[self.quality]:.2f} dB"
        return (
            f"{self.coefficient:g} * 2^delta / sqrt({METRICS[self.runtime].label} in ms), delta = "
            f"max({psnr} - {interpolated}, 0); higher is better"
        )


class Speedup(Frozen):
    """``2^quality * (t_baseline / t)^exponent``, higher is better.

    Attributes:
        kind: name of the formula.
        quality: key of a score without unit; higher is better.
        runtime: key of the runtime ``t``.
        exponent: exponent of the speedup over the baseline.
    """

    kind: Literal["speedup"] = "speedup"
    quality: str
    runtime: str = "runtime_images"
    exponent: Annotated[float, Field(gt=0)] = 0.2
    reference: ClassVar[Reference] = "baseline"

    @property
    def metrics(self) -> tuple[str, ...]:
        """Keys in ``METRICS``."""
        return (self.quality, self.runtime)

    @property
    def relative(self) -> tuple[str, ...]:
        """The metric that is compared with the baseline's."""
        return (self.runtime,)

    @model_validator(mode="after")
    def _score_and_runtime(self) -> Self:
        known_metrics(self.metrics)
        quality = METRICS[self.quality]
        if quality.unit or quality.better == "lower":
            message = f"quality must be a score without unit, and {self.quality} is not"
            raise ValueError(message)
        if METRICS[self.runtime].unit != "ms":
            message = f"runtime must be a metric in ms, and {self.runtime} is not"
            raise ValueError(message)
        return self

    def total(self, values: Figures, ranks: Mapping[str, int], references: Figures) -> Total:  # noqa: ARG002 - all formulas are called alike
        """The score from an entry's quality and runtime, and the baseline's runtime (same unit)."""
        speedup = references[self.runtime] / values[self.runtime]
        log = values[self.quality] * math.log(2) + self.exponent * math.log(speedup)
        try:
            return Total(order=-log, value=math.exp(log), log=log)
        except OverflowError:
            return Total(order=-log, value=None, log=log)

    def describe(self, references: Figures) -> str:
        """The formula, with the baseline's runtime if it was published."""
        return (
            f"2^({METRICS[self.quality].label}) * ({_shown(self.runtime, references)} / "
            f"{METRICS[self.runtime].label})^{self.exponent:g}; higher is better"
        )


def _shown(metric: str, references: Figures) -> str:
    """The baseline's figure of a metric, if it was published."""
    return METRICS[metric].show(references[metric]) if metric in references else "the baseline's"


def known_metrics(keys: Sequence[str]) -> None:
    """Reject unknown and repeated metric keys.

    Raises:
        ValueError: a key is unknown or repeated; the message names it.
    """
    unknown = [key for key in keys if key not in METRICS]
    if unknown:
        message = f"no metric is called {', '.join(unknown)}: see `esrbench list metrics`"
        raise ValueError(message)
    twice = [key for key in dict.fromkeys(keys) if keys.count(key) > 1]
    if twice:
        message = f"named twice: {', '.join(twice)}"
        raise ValueError(message)


Formula = Annotated[RankSum | Exponential | RealTime | Speedup, Field(discriminator="kind")]
