"""Challenge rules as data: tracks, gate, ties. No code branches on an edition."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from harness.errors import UsageError
from harness.protocol import Frozen


@dataclass(frozen=True, slots=True)
class Gate:
    """The quality an entry must reach to be ranked.

    Attributes:
        data: data set on which it is claimed; on any other no gate applies.
        scale: upscaling factor.
        metric: key in ``METRICS``, higher is better.
        minimum: least value, inclusive.
        decimals: the value is rounded half up to this many decimals before comparing, as
            printed figures are.
    """

    data: str
    scale: int
    metric: str
    minimum: float
    decimals: int

    def passes(self, value: float) -> bool:
        """Whether a value in base units reaches the gate after rounding."""
        step = Decimal(1).scaleb(-self.decimals)
        rounded = Decimal(repr(value)).quantize(step, rounding=ROUND_HALF_UP)
        return rounded >= Decimal(repr(self.minimum))


class Track(Frozen):
    """A ranking by the sum of per-metric ranks.

    Attributes:
        key: identifier.
        label: heading of its column.
        title: as the edition calls it.
        metrics: keys in ``METRICS``, each ranked in its own direction.
    """

    key: str
    label: str
    title: str
    metrics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """How an edition ranks its entries.

    Equal values and equal sums share the smallest rank (1, 1, 3). The first track orders the
    table.

    Attributes:
        name: identifier of the edition.
        title: its full name.
        source: where the rule stands, and what of it is inferred.
        gate: quality gate.
        tracks: main track first.
        columns: metrics shown, in order.
        footnotes: what the figures mean.
    """

    name: str
    title: str
    source: str
    gate: Gate
    tracks: tuple[Track, ...]
    columns: tuple[str, ...]
    footnotes: tuple[str, ...]

    @property
    def ranked_metrics(self) -> tuple[str, ...]:
        """Metrics that any track ranks by, in column order."""
        used = {metric for track in self.tracks for metric in track.metrics}
        return tuple(metric for metric in self.columns if metric in used)


NTIRE2022 = Rule(
    name="ntire2022",
    title="NTIRE 2022 Efficient Super-Resolution",
    source=(
        "NTIRE 2022 Challenge on Efficient Super-Resolution: Methods and Results. Rank sums and "
        "shared ranks reproduce the published table but for one printed tie in sub-track 1. The "
        "announced gate is 29.00 dB on DIV2K validation; as practised the test PSNR decided and "
        "six ranked entries lie below it."
    ),
    gate=Gate(data="div2k-valid", scale=4, metric="psnr_rgb", minimum=29.0, decimals=2),
    tracks=(
        Track(key="main", label="Main", title="Main (runtime)", metrics=("runtime_images",)),
        Track(
            key="sub1",
            label="Sub 1",
            title="Sub-track 1 (model complexity)",
            metrics=("params", "macs_ntire2022"),
        ),
        Track(
            key="sub2",
            label="Sub 2",
            title="Sub-track 2 (overall)",
            metrics=(
                "runtime_images",
                "params",
                "macs_ntire2022",
                "activations_ntire2022",
                "peak_bytes",
            ),
        ),
    ),
    columns=(
        "psnr_rgb",
        "runtime_images",
        "params",
        "macs_ntire2022",
        "activations_ntire2022",
        "peak_bytes",
        "conv_calls_ntire2022",
    ),
    footnotes=(
        (
            "FLOPs are multiply-accumulates plus one per ReLU-family module output, as the 2022 "
            "script counts them; Acts are elements of convolution outputs; #Conv counts calls."
        ),
        (
            "Runtime is the mean over images of per-image medians, warmed up. Published runtimes "
            "are from other hardware and one unwarmed pass: do not compare."
        ),
    ),
)

RULES: dict[str, Rule] = {rule.name: rule for rule in (NTIRE2022,)}


def get_rule(name: str) -> Rule:
    """A rule by name.

    Raises:
        UsageError: unknown name; the message names the known ones.
    """
    try:
        return RULES[name]
    except KeyError:
        near = difflib.get_close_matches(name, RULES, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        message = f"no rule is called {name!r}"
        raise UsageError(message, advice=f"{hint}Known: {', '.join(RULES)}.") from None
