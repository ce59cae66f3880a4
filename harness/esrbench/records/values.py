"""A measured value, and its replacement if there is none."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import Field

from esrbench.errors import MeasurementError
from esrbench.protocol import Frozen

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Seconds = Annotated[float, Field(ge=0, le=1e7)]
FoundT = TypeVar("FoundT")


FailureKind = Literal[
    "load-error", "forward-error", "invalid-output", "timeout", "oom", "crash", "protocol"
]
"""What can go wrong with a network in its worker, in this order: it does not build or load; its
forward raises; its output is no SR image; it does not answer in time; memory runs out; its process
dies; its messages break the worker's protocol."""


class Absent(Frozen):
    """A value that was not measured, and why; never 0, never a guess.

    Attributes:
        kind: ``unavailable`` (this machine or entry cannot have it), ``skipped`` (the protocol
            leaves it out) or ``failed`` (it was tried).
        reason: one sentence.
        advice: what would make it measurable, if anything.
        failure: what went wrong, where a network failed; None where the harness or its machine
            did, and for the other kinds.
    """

    kind: Literal["unavailable", "skipped", "failed"]
    reason: str
    advice: str | None = None
    failure: FailureKind | None = None


def required(found: FoundT | Absent, of: str = "") -> FoundT:
    """A measured value; if it is absent, an error that begins with the name of what is missing.

    Raises:
        MeasurementError: nothing was.
    """
    if isinstance(found, Absent):
        raise MeasurementError(f"{of}{found.reason}", advice=found.advice)
    return found


class Notice(Frozen):
    """A typed warning about a measurement.

    Attributes:
        code: stable identifier, such as ``counter-spread``.
        message: what was seen, with figures.
        advice: what to do about it.
    """

    code: str
    message: str
    advice: str


class Interval(Frozen):
    """A confidence interval.

    Attributes:
        low: lower bound.
        high: upper bound.
        confidence: coverage. For ``student`` it is exact on log-normal samples. For ``bootstrap``
            it is nominal. For ``order-statistics`` it is that of a single look at independent
            samples, so it is nominal if rounds or pairs ended because of the interval.
        method: how it was made.
    """

    low: float
    high: float
    confidence: Annotated[float, Field(ge=0, le=1)]
    method: Literal["order-statistics", "bootstrap", "student"]


class Value(Frozen):
    """A measured value of one metric in base units, with its interval when it is noisy.

    Attributes:
        value: an integer for what is counted; records of 0.1 have floats throughout.
        interval: of noisy metrics.
    """

    value: int | float
    interval: Interval | None = None
