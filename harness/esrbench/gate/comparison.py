"""Compare deterministic figures of one entry with the baseline's; ``runtime`` compares times."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from esrbench.gate.figures import (
    COUNTS,
    KNOWN,
    MEASURED_MEMORY,
    ON_DATA,
    differing_settings,
    differing_software,
)
from esrbench.gate.verdicts import ENTRY, KEEP, UPDATE, UPDATE_COMMAND, WEIGHTS, Finding, finding
from esrbench.metrics import METRICS
from esrbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from esrbench.gate.figures import EntryFigures, Measured, Number, Terms
    from esrbench.gate.verdicts import Verdict

WEIGHTS_SIZE = "weights_bytes"
"""The only count that needs the weights file."""


def compare(
    before: EntryFigures | None,
    before_terms: Terms | None,
    now: Measured,
    metrics: Collection[str] = KNOWN,
) -> Iterator[Finding]:
    """Compare what can be counted, hashed and scored.

    Args:
        before: the baseline's figures, or None if it has none of this entry.
        before_terms: the terms of those figures.
        now: the new figures.
        metrics: metrics to compare.

    Yields:
        One finding for each metric and data set that at least one side has, in the order of
        ``METRICS``.
    """
    key = now.name, now.scale
    if isinstance(now.figures, Absent):
        why = now.figures
        verdict: Verdict = "failed" if why.kind == "failed" else "missing"
        known = None if before is None else "measured"
        yield finding(key, ENTRY, verdict, why.reason, before=known, advice=why.advice)
    elif before is None or before_terms is None:
        reason = "the baseline has no such entry"
        advice = UPDATE_COMMAND
        yield finding(key, ENTRY, "missing", reason, now="measured", advice=advice)
    else:
        yield from _Comparison(before, before_terms, now, now.figures).findings(metrics)


@dataclass(frozen=True, slots=True)
class _Comparison:
    """One entry on both sides."""

    before: EntryFigures
    before_terms: Terms
    now: Measured
    figures: EntryFigures

    def findings(self, metrics: Collection[str]) -> Iterator[Finding]:
        if WEIGHTS in metrics:
            yield from self._weights()
        data = sorted({*self.before.scores, *self.figures.scores})
        wanted: list[tuple[str, str | None]] = [(metric, None) for metric in COUNTS]
        wanted += [(metric, name) for name in data for metric in ON_DATA]
        for metric, on in wanted:
            then, now = _value(self.before, metric, on), _value(self.figures, metric, on)
            if metric in metrics and (then, now) != (None, None):
                yield self._unavailable(metric, on, then, now) or self._number(
                    metric, on, then, now
                )

    def _weights(self) -> Iterator[Finding]:
        then, now = self.before.weights, self.figures.weights
        if then.sha256 is None and now.sha256 is None:
            return
        found = self._finding(WEIGHTS, None, then.sha256, now.sha256)
        if then.sha256 == now.sha256:
            yield found(verdict="unchanged", reason="the file is the same")
        elif then.sha256 is None:
            reason = f"the baseline has {then.source} weights, these are {now.source} ones"
            yield found(verdict="missing", reason=reason, advice=UPDATE)
        elif now.sha256 is None:
            yield self._without_weights(found)
        else:
            reason = f"the file differs: {then.sha256[:12]} then, {now.sha256[:12]} now"
            yield found(verdict="regressed", reason=reason, advice=UPDATE)

    def _without_weights(self, found: partial[Finding]) -> Finding:
        """The finding for a figure that needs the baseline's weights.

        The candidate lost them with its code, or this machine does not have them.
        """
        source, name = self.before.weights.source, self.now.name
        if source in {"demo", "submitted"}:
            shipped = "shipped" if source == "demo" else source
            return found(verdict="missing", reason=f"the {shipped} weights no longer exist")
        if source == "released":
            reason = "the released weights are not on this machine"
            advice = f"Run `esrbench fetch weights {name}`."
        else:
            reason = "no weights file is given here"
            advice = f"Give it: --weights {name}=FILE."
        return found(verdict="incomparable", reason=reason, advice=advice)

    def _unavailable(
        self, metric: str, data: str | None, before: Number | None, after: Number | None
    ) -> Finding | None:
        """The finding if this machine lacks the images, weights or GPU of the baseline."""
        found = self._finding(metric, data, before, after)
        then, now = self.before.scores.get(data or ""), self.figures.scores.get(data or "")
        if then is not None and now is not None:
            if then.digest != now.digest:
                reason = f"digest of the images: {then.digest[:12]} then, {now.digest[:12]} now"
                return found(verdict="incomparable", reason=reason, advice=UPDATE)
            if metric in MEASURED_MEMORY and then.accelerator != now.accelerator:
                devices = then.accelerator or "CPU", now.accelerator or "CPU"
                reason = "device: {} then, {} now".format(*devices)
                return found(verdict="incomparable", reason=reason)
            return None
        why = self.now.unopened.get(data or "")
        if now is None and why is not None:
            return found(verdict="incomparable", reason=why.reason, advice=why.advice)
        gone = self.before.weights.sha256 is not None and self.figures.weights.sha256 is None
        needed = now is None if data else metric == WEIGHTS_SIZE and after is None
        return self._without_weights(found) if gone and needed else None

    def _number(
        self, metric: str, data: str | None, then: Number | None, now: Number | None
    ) -> Finding:
        found = self._finding(metric, data, then, now)
        if now is None:
            why = self.now.absent.get((data, metric))
            if why is None:
                return found(verdict="missing", reason="it was not measured")
            verdict = "failed" if why.kind == "failed" else "missing"
            return found(verdict=verdict, reason=why.reason, advice=why.advice)
        if then is None:
            reason = "the baseline does not have it"
            return found(verdict="missing", reason=reason, advice=UPDATE)
        settings = differing_settings(metric, self.before_terms, self.now.terms)
        if settings:
            return found(verdict="incomparable", reason="; ".join(settings), advice=UPDATE)
        return self._judged(found, then, now)

    def _judged(self, found: partial[Finding], then: Number, now: Number) -> Finding:
        """The finding of two figures that may be compared."""
        metric = found.keywords["metric"]
        row = METRICS[metric]
        difference = now - then
        # Digits are kept to a tenth of the tolerance, so the last digit may be off by one.
        if abs(difference) <= row.tolerance * (1 + 1e-9):
            reason = "equal" if not difference else f"equal within {row.tolerance:g}"
            return found(verdict="unchanged", reason=reason)
        versions = differing_software(metric, self.before_terms, self.now.terms)
        if versions:
            reason = f"{_change(then, now)}, but so did {'; '.join(versions)}"
            return found(verdict="incomparable", reason=reason, advice=UPDATE)
        if (difference > 0) == (row.better == "higher"):
            return found(verdict="improved", reason=_change(then, now), advice=KEEP)
        return found(verdict="regressed", reason=_change(then, now), advice=UPDATE)

    def _finding(
        self, metric: str, data: str | None, before: Number | str | None, now: Number | str | None
    ) -> partial[Finding]:
        """A finding without its verdict and reason."""
        return partial(
            Finding,
            entry=self.now.name,
            scale=self.now.scale,
            metric=metric,
            data=data,
            before=before,
            now=now,
        )


def _value(figures: EntryFigures, metric: str, data: str | None) -> Number | None:
    if data is None:
        return figures.counts.get(metric)
    scores = figures.scores.get(data)
    return None if scores is None else scores.values.get(metric)


def _change(then: Number, now: Number) -> str:
    """Old and new figure and their difference, in words."""
    difference = now - then
    share = f" ({difference / then:+.2%})" if then else ""
    if isinstance(then, int) and isinstance(now, int):
        return f"{then:,} then, {now:,} now: {difference:+,}{share}"
    return f"{then} then, {now} now: {f'{difference:+.7f}'.rstrip('0')}"
