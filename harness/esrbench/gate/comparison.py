"""Deterministic figures of one entry against the baseline's; noise is ``runtime``'s matter."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from esrbench.gate.figures import (
    COUNTS,
    MEASURED_MEMORY,
    SCORES,
    differing_settings,
    differing_software,
)
from esrbench.gate.verdicts import ENTRY, WEIGHTS, Finding
from esrbench.metrics import METRICS
from esrbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from esrbench.gate.figures import EntryFigures, Measured, Number, Scores, Terms

UPDATE = "If that is meant, run `esrbench baseline update` for it."
KEEP = "Keep it: run `esrbench baseline update`."
UPDATES = {UPDATE, KEEP}
"""What to do where the baseline is a file."""
WEIGHTS_SIZE = "weights_bytes"
"""The one count that needs the file of weights."""
KNOWN = (WEIGHTS, *COUNTS, *SCORES, *MEASURED_MEMORY)


def compare(
    before: EntryFigures | None,
    before_terms: Terms | None,
    now: Measured,
    metrics: Collection[str] = KNOWN,
) -> Iterator[Finding]:
    """Compare what can be counted, hashed and scored.

    Args:
        before: the baseline's figures, or None where it has none of this entry.
        before_terms: on which those were taken.
        now: what was just measured.
        metrics: which ones to compare.

    Yields:
        One finding a metric and data set that either side has, in the order of ``METRICS``.
    """
    if isinstance(now.figures, Absent):
        known = None if before is None else "measured"
        failed = now.figures.kind == "failed"
        yield Finding(
            entry=now.name,
            scale=now.scale,
            metric=ENTRY,
            verdict="failed" if failed else "missing",
            before=known,
            reason=now.figures.reason,
            advice=now.figures.advice,
        )
        return
    if before is None or before_terms is None:
        yield Finding(
            entry=now.name,
            scale=now.scale,
            metric=ENTRY,
            verdict="missing",
            now="measured",
            reason="the baseline has no such entry",
            advice=f"Run `esrbench baseline update {now.name}`.",
        )
        return
    yield from _Comparison(before, before_terms, now, now.figures).findings(metrics)


class _Comparison:
    """One entry on both sides."""

    def __init__(
        self, before: EntryFigures, before_terms: Terms, now: Measured, figures: EntryFigures
    ) -> None:
        self.before = before
        self.before_terms = before_terms
        self.now = now
        self.figures = figures

    def findings(self, metrics: Collection[str]) -> Iterator[Finding]:
        if WEIGHTS in metrics:
            yield from self._weights()
        for metric in COUNTS:
            then, now = self.before.counts.get(metric), self.figures.counts.get(metric)
            if metric not in metrics or (then, now) == (None, None):
                continue
            if metric == WEIGHTS_SIZE and now is None and self._weights_gone:
                yield self._without_weights(self._finding(metric, None, then, now))
            else:
                yield self._number(metric, None, then, now)
        for data in sorted({*self.before.scores, *self.figures.scores}):
            yield from self._scores(data, metrics)

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
            reason = f"the file is another: {then.sha256[:12]} then, {now.sha256[:12]} now"
            yield found(verdict="regressed", reason=reason, advice=UPDATE)

    @property
    def _weights_gone(self) -> bool:
        """Whether the baseline has a file of weights, and this machine none."""
        return self.before.weights.sha256 is not None and self.figures.weights.sha256 is None

    def _without_weights(self, found: partial[Finding]) -> Finding:
        """The finding of what needs the baseline's weights: lost with the code, or not here."""
        source, name = self.before.weights.source, self.now.name
        if source in {"demo", "submitted"}:
            shipped = "shipped" if source == "demo" else source
            return found(verdict="missing", reason=f"the {shipped} weights are gone")
        if source == "released":
            reason = "the released weights are not on this machine"
            advice = f"Run `esrbench fetch weights {name}`."
        else:
            reason = "the file of weights is not given here"
            advice = f"Give it: --weights {name}=FILE."
        return found(verdict="incomparable", reason=reason, advice=advice)

    def _scores(self, data: str, metrics: Collection[str]) -> Iterator[Finding]:
        then, now = self.before.scores.get(data), self.figures.scores.get(data)
        for metric in (*SCORES, *MEASURED_MEMORY):
            if metric not in metrics:
                continue
            values = (_value(then, metric), _value(now, metric))
            if values == (None, None):
                continue
            yield self._score(metric, data, then, now)

    def _score(self, metric: str, data: str, then: Scores | None, now: Scores | None) -> Finding:
        before, after = _value(then, metric), _value(now, metric)
        found = self._finding(metric, data, before, after)
        why = self.now.unopened.get(data)
        if now is None and why is not None:
            return found(verdict="incomparable", reason=why.reason, advice=why.advice)
        if now is None and self._weights_gone:
            return self._without_weights(found)
        if then is not None and now is not None:
            if then.digest != now.digest:
                reason = f"digest of the images: {then.digest[:12]} then, {now.digest[:12]} now"
                return found(verdict="incomparable", reason=reason)
            if metric in MEASURED_MEMORY and then.accelerator != now.accelerator:
                reason = f"device: {_device(then)} then, {_device(now)} now"
                return found(verdict="incomparable", reason=reason)
        return self._number(metric, data, before, after)

    def _number(
        self, metric: str, data: str | None, then: Number | None, now: Number | None
    ) -> Finding:
        found = self._finding(metric, data, then, now)
        if now is None:
            why = self.now.absent.get((data, metric))
            reason = why.reason if why else "it was not measured"
            failed = why is not None and why.kind == "failed"
            advice = why.advice if why else None
            return found(verdict="failed" if failed else "missing", reason=reason, advice=advice)
        if then is None:
            reason = "the baseline does not have it"
            return found(verdict="missing", reason=reason, advice=UPDATE)
        settings = differing_settings(metric, self.before_terms, self.now.terms)
        if settings:
            return found(verdict="incomparable", reason="; ".join(settings), advice=UPDATE)
        row = METRICS[metric]
        difference = now - then
        # Digits are kept to a tenth of the tolerance, so the last one may be off by one.
        if abs(difference) <= row.tolerance * (1 + 1e-9):
            reason = "equal" if not difference else f"equal within {row.tolerance:g}"
            return found(verdict="unchanged", reason=reason)
        versions = differing_software(metric, self.before_terms, self.now.terms)
        if versions:
            reason = f"{_change(then, now)}, but so did {'; '.join(versions)}"
            return found(verdict="incomparable", reason=reason, advice=UPDATE)
        better = (difference > 0) == (row.better == "higher")
        return found(
            verdict="improved" if better else "regressed",
            reason=_change(then, now),
            advice=KEEP if better else UPDATE,
        )

    def _finding(
        self, metric: str, data: str | None, before: Number | str | None, now: Number | str | None
    ) -> partial[Finding]:
        """A finding that lacks its verdict and the reason."""
        return partial(
            Finding,
            entry=self.now.name,
            scale=self.now.scale,
            metric=metric,
            data=data,
            before=before,
            now=now,
        )


def _value(scores: Scores | None, metric: str) -> Number | None:
    return None if scores is None else scores.values.get(metric)


def _device(scores: Scores) -> str:
    return scores.accelerator or "CPU"


def _change(then: Number, now: Number) -> str:
    """Old and new figure and their difference, in words."""
    difference = now - then
    share = f" ({difference / then:+.2%})" if then else ""
    if isinstance(then, int) and isinstance(now, int):
        return f"{then:,} then, {now:,} now: {difference:+,}{share}"
    return f"{then} then, {now} now: {f'{difference:+.7f}'.rstrip('0')}"
