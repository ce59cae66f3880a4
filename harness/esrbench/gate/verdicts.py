"""Verdicts of the gate on single metrics of an entry, and the exit code that follows."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, Literal, get_args

from esrbench.errors import (
    EXIT_INCONCLUSIVE,
    EXIT_MEASUREMENT_FAILED,
    EXIT_OK,
    EXIT_REGRESSION,
)
from esrbench.protocol import Frozen
from esrbench.records import Count, Interval, Notice  # noqa: TC001 - pydantic reads them

Verdict = Literal[
    "regressed", "failed", "missing", "inconclusive", "incomparable", "improved", "unchanged"
]
VERDICTS: Final[tuple[Verdict, ...]] = get_args(Verdict)
"""The most serious first, as in reports."""

WEIGHTS: Final = "weights"
RUNTIME: Final = "runtime"
ENTRY: Final = "entry"
"""Subjects of findings that are not keys of ``esrbench.metrics.METRICS``: SHA-256 of the weights
file, the ratio of a paired race, and the entry as a whole."""

UPDATE: Final = "If this change is intended, run `esrbench baseline update` for it."
UPDATE_COMMAND: Final = "Run `esrbench baseline update`."
KEEP: Final = "Keep it: run `esrbench baseline update`."
"""Advice if the baseline is a file."""

Figure = int | float | str | None


class Finding(Frozen):
    """The verdict on one metric of one entry.

    Attributes:
        entry: registered name.
        scale: upscaling factor.
        metric: key in ``esrbench.metrics.METRICS``, or ``weights``, ``runtime`` or ``entry``.
        data: data set of scores and of measured memory, else None.
        verdict: ``regressed``: beyond its tolerance in the worse direction, or another checkpoint.
            ``improved``: beyond it in the better direction. ``unchanged``: within it.
            ``inconclusive``: too much noise. ``incomparable``: the two sides were not, or cannot
            be, measured with the same settings. ``missing``: only one side has it. ``failed``: the
            measurement failed.
        before: value of the baseline, in base units; None if it has none.
        now: value of the candidate, in base units; None if it has none.
        interval: interval of a runtime ratio, or None.
        reason: one sentence with figures.
        advice: what to do next, if anything.
    """

    entry: str
    scale: Count
    metric: str
    data: str | None = None
    verdict: Verdict
    before: Figure = None
    now: Figure = None
    interval: Interval | None = None
    reason: str
    advice: str | None = None

    @property
    def subject(self) -> str:
        """Entry, scale and metric in words."""
        on = f" on {self.data}" if self.data else ""
        return f"{self.entry} x{self.scale} {self.metric}{on}"

    @property
    def exit_code(self) -> int:
        """The exit code of the command if there were only this finding.

        If the candidate lacks a figure of the baseline, this is a regression. Otherwise one could
        pass the gate by deleting the figure. If only the baseline lacks a figure, it cannot be
        compared, which is no regression.
        """
        match self.verdict:
            case "regressed":
                return EXIT_REGRESSION
            case "failed":
                return EXIT_MEASUREMENT_FAILED
            case "missing":
                return EXIT_INCONCLUSIVE if self.before is None else EXIT_REGRESSION
            case "inconclusive" | "incomparable":
                return EXIT_INCONCLUSIVE
            case "improved" | "unchanged":
                return EXIT_OK


def finding(
    key: tuple[str, int], metric: str, verdict: Verdict, reason: str, **fields: Any
) -> Finding:
    """A finding on an entry, by its name and scale."""
    name, scale = key
    return Finding(entry=name, scale=scale, metric=metric, verdict=verdict, reason=reason, **fields)


class GateReport(Frozen):
    """All findings of a check.

    Attributes:
        baseline: name of the baseline, in words.
        strict: a figure that could not be judged counts as a regression.
        lenient: such a figure passes, unless nothing was compared at all.
        findings: by entry, in the order of the metrics.
        notices: typed warnings.
    """

    schema_version: Literal[1] = 1
    baseline: str
    strict: bool = False
    lenient: bool = False
    findings: tuple[Finding, ...]
    notices: tuple[Notice, ...] = ()

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many findings have each verdict, if any has it; the most serious first."""
        found = Counter(finding.verdict for finding in self.findings)
        return {verdict: found[verdict] for verdict in VERDICTS if found[verdict]}

    @property
    def judged(self) -> int:
        """Exit code without ``strict`` and ``lenient``.

        A regression decides, even if something else failed or could not be judged. If nothing was
        compared, nothing was judged.
        """
        codes = {finding.exit_code for finding in self.findings} or {EXIT_INCONCLUSIVE}
        order = (EXIT_REGRESSION, EXIT_MEASUREMENT_FAILED, EXIT_INCONCLUSIVE)
        return next((code for code in order if code in codes), EXIT_OK)

    @property
    def exit_code(self) -> int:
        """Exit code of the command."""
        if self.judged != EXIT_INCONCLUSIVE:
            return self.judged
        if self.strict:
            return EXIT_REGRESSION
        return EXIT_OK if self.lenient and self.findings else EXIT_INCONCLUSIVE

    @property
    def outcome(self) -> str:
        """One sentence: the verdict on all findings."""
        counted = ", ".join(f"{count} {verdict}" for verdict, count in self.counts.items())
        said = {
            EXIT_OK: "No regression",
            EXIT_REGRESSION: "Regression",
            EXIT_INCONCLUSIVE: "Not judged in full",
            EXIT_MEASUREMENT_FAILED: "A measurement failed",
        }[self.judged]
        if self.exit_code != self.judged:
            said += f", which --{'strict refuses' if self.strict else 'lenient lets pass'}"
        return f"{said}: {self.baseline}; {counted or 'nothing was compared'}."
