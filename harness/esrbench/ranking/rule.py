"""The parts of a challenge's rule: gates, baseline, tracks. No code branches on an edition."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from esrbench.metrics import METRICS
from esrbench.protocol import Frozen, PrecisionName
from esrbench.ranking.formulas import Formula, RankSum, known_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping

Side = Annotated[int, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateCheck:
    """The result of checking an entry against a gate.

    Attributes:
        title: title of the gate's data.
        metric: key in ``METRICS``.
        value: unrounded value of the entry in the metric's base unit.
        needed: bound of the gate in the same unit.
        margin: unrounded margin by which it passes; negative if it fails.
        rounded: whether it passes as the edition rounds.
        strict: whether it passes unrounded.
    """

    title: str
    metric: str = "psnr_rgb"
    value: float
    needed: float
    margin: float
    rounded: bool
    strict: bool

    @property
    def of_quality(self) -> bool:
        """Whether the metric is a PSNR."""
        return METRICS[self.metric].unit == "dB"


class Gate(Frozen):
    """A bound that a ranked entry must keep: quality on a data set, or a budget.

    Attributes:
        data: name of the data set for which it holds; None for any.
        title: title of that data set. For a budget, the settings that it depends on, or empty.
        metric: key in ``METRICS``.
        minimum: least value, inclusive, in the metric's base unit.
        maximum: greatest value, inclusive, in the same unit; not rounded.
        beats: name of an interpolation; the entry's value on the same images must be higher. A
            gate has exactly one of minimum, maximum and beats.
        decimals: values are rounded half up to this many decimals before comparing, like printed
            figures. Budgets are not rounded.
    """

    data: str | None = None
    title: str = ""
    metric: str = "psnr_rgb"
    minimum: float | None = None
    maximum: float | None = None
    beats: str | None = None
    decimals: Annotated[int, Field(ge=0, le=9)] = 2

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if [self.minimum, self.maximum, self.beats].count(None) != 2:  # noqa: PLR2004 - of three
            raise ValueError(
                "a gate has either a minimum, a maximum or an interpolation that it beats"
            )
        known_metrics((self.metric,))
        if self.beats is not None and not self.of_quality:
            message = f"a gate against an interpolation needs psnr_rgb or psnr_y, not {self.metric}"
            raise ValueError(message)
        if self.data is not None and not METRICS[self.metric].per_data:
            message = f"{self.metric} does not depend on a data set: leave `data` out"
            raise ValueError(message)
        return self

    @property
    def of_quality(self) -> bool:
        """Whether the metric is a PSNR."""
        return METRICS[self.metric].unit == "dB"

    def check(self, value: float, interpolated: float | None = None) -> GateCheck:
        """Check a value against the gate, rounded and unrounded.

        Args:
            value: value in the metric's base unit.
            interpolated: PSNR in dB of the interpolation to beat, for gates with ``beats``.

        Raises:
            ValueError: the gate needs ``interpolated``, which is None.
        """
        if self.maximum is not None:
            kept = value <= self.maximum
            return GateCheck(
                title=self.title,
                metric=self.metric,
                value=float(value),
                needed=self.maximum,
                margin=float(self.maximum - value),
                rounded=kept,
                strict=kept,
            )
        needed = self.minimum if self.minimum is not None else interpolated
        if needed is None:
            message = f"the gate needs the value of {self.beats}"
            raise ValueError(message)
        step = Decimal(1).scaleb(-self.decimals)
        ours, theirs = (
            Decimal(repr(float(number))).quantize(step, rounding=ROUND_HALF_UP)
            for number in (value, needed)
        )
        beating = self.beats is not None
        return GateCheck(
            title=self.title,
            metric=self.metric,
            value=float(value),
            needed=float(needed),
            margin=float(value - needed),
            rounded=ours > theirs if beating else ours >= theirs,
            strict=value > needed if beating else value >= needed,
        )

    def describe(self) -> str:
        """The gate in words."""
        metric = METRICS[self.metric]
        on = f" on {self.title}" if self.title else ""
        if self.maximum is not None:
            return f"{metric.label} <= {metric.show(self.maximum)}{on}"
        rounding = f"as rounded to {self.decimals} decimals"
        if self.beats is not None:
            return f"{metric.label} above that of {self.beats}{on}, {rounding}"
        least = f"{self.minimum:.{self.decimals}f} {metric.unit}".strip()
        return f"{metric.label} >= {least}{on}, {rounding}"


class ReferenceEntry(Frozen):
    """The entry that scores are relative to, with its published figures.

    Attributes:
        title: the edition's name for it.
        entry: registered name of the network, or None if it is not registered.
        values: printed figures in base units, by metric key.
        psnr: RGB PSNR in dB by title of data.
    """

    title: str
    entry: str | None = None
    values: dict[str, Annotated[float, Field(gt=0)]] = {}
    psnr: dict[str, float] = {}


class Track(Frozen):
    """One ranking of an edition.

    Attributes:
        key: identifier.
        label: heading of its column.
        title: the edition's name for it.
        formula: computes the total by which entries are placed.
        ties_by: key of an earlier track whose order separates entries with equal totals. If None,
            these share the smallest place (1, 1, 3).
    """

    key: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    label: str
    title: str
    formula: Formula
    ties_by: str | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """Keys of the metrics that the formula uses."""
        return self.formula.metrics

    @property
    def headings(self) -> tuple[str, ...]:
        """Headings of its columns: the rank; for scores also the score and its logarithm."""
        if isinstance(self.formula, RankSum):
            return (self.label,)
        score = "Total" if self.label == "Score" else f"{self.label} score"
        return self.label, score, f"ln {score}"


class Rule(Frozen):
    """How an edition ranks its entries. The first track orders the table.

    Attributes:
        name: identifier of the edition.
        title: its full name.
        scales: upscaling factors for which it holds.
        source: publication of the rule.
        tracks: main track first; empty if it is not known how a total is computed.
        columns: metrics shown, in order.
        ranked_alone: metrics that are ranked in their own column although no track uses them.
        gates: all must be passed.
        baseline: entry to which scores are relative.
        ties: what is known about equal totals.
        inferred: facts that the sources do not state but their results show.
        unverified: facts that could not be checked.
        verified: whether its gates and formulas were read in their source. If not, boards say so.
        footnotes: sentences about the meaning of the figures.
        precision: precision of forwards, if the edition prescribes one.
        counted_input: LR height and width at which complexity is counted.
        device: device that measured the published runtimes and memory, as far as known.
    """

    name: Name
    title: str
    scales: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1)] = (4,)
    source: str
    tracks: tuple[Track, ...]
    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    ranked_alone: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    baseline: ReferenceEntry | None = None
    ties: str
    inferred: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()
    verified: bool = True
    footnotes: tuple[str, ...] = ()
    precision: PrecisionName | None = None
    counted_input: tuple[Side, Side] = (256, 256)
    device: str = "unknown"

    @property
    def ranked_metrics(self) -> tuple[str, ...]:
        """Metrics that a track uses, or that are ranked alone, in column order."""
        used = {metric for track in self.tracks for metric in track.metrics}
        used.update(self.ranked_alone)
        return tuple(metric for metric in self.columns if metric in used)

    @property
    def quality_gates(self) -> tuple[Gate, ...]:
        """The gates on PSNR, without budgets."""
        return tuple(gate for gate in self.gates if gate.of_quality)

    @property
    def published(self) -> Mapping[str, float]:
        """Published figures of the baseline, base units."""
        return {} if self.baseline is None else self.baseline.values

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        for keys in (self.columns, self.ranked_alone, tuple(self.published)):
            known_metrics(keys)
        headings = [
            "Entry",
            "Pareto",
            "Margin [dB]",
            *(METRICS[key].heading for key in self.columns),
        ]
        headings += [heading for track in self.tracks for heading in track.headings]
        twice = [heading for heading in dict.fromkeys(headings) if headings.count(heading) > 1]
        if twice:
            message = f"two columns have the heading {', '.join(twice)}: choose other labels"
            raise ValueError(message)
        earlier: list[str] = []
        for track in self.tracks:
            if track.key in earlier:
                message = f"two tracks have the key {track.key!r}"
                raise ValueError(message)
            hidden = [metric for metric in track.metrics if metric not in self.columns]
            if hidden:
                message = f"track {track.key!r} uses {', '.join(hidden)}: name it in columns too"
                raise ValueError(message)
            if track.ties_by is not None and track.ties_by not in earlier:
                message = f"track {track.key!r}: ties_by {track.ties_by!r} is not an earlier track"
                raise ValueError(message)
            # Runtime and memory come from the baseline that is measured beside the others.
            counts = [m for m in track.formula.relative if METRICS[m].portable]
            lacking = [metric for metric in counts if metric not in self.published]
            if track.formula.reference == "baseline" and lacking:
                message = (
                    f"track {track.key!r} is relative to the baseline, whose values lack "
                    f"{', '.join(lacking)}"
                )
                raise ValueError(message)
            earlier.append(track.key)
        if not self.verified and not self.unverified:
            raise ValueError("a rule that is not verified says in `unverified` what was not seen")
        return self
