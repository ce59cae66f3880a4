"""The course of a learning rate over a stage. Imports no torch."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from esrbench.protocol import Frozen


class LearningRate(Frozen):
    """The learning rate of every iteration of a stage.

    Attributes:
        shape: ``constant``; ``linear`` or ``cosine`` (half a period, Loshchilov & Hutter 2017)
            from ``first`` to ``last``, both of which are used; ``step`` multiplies by ``factor``
            every ``every``, never below ``last``.
        first: highest rate.
        last: rate of the last iteration, or floor; ``first`` if left out.
        warmup: iterations that rise in equal steps to ``first`` before the shape begins.
        every: epochs (iterations in a stage that is counted in them), for ``step``.
        factor: for ``step``.
    """

    shape: Literal["constant", "linear", "cosine", "step"]
    first: Annotated[float, Field(gt=0)]
    last: Annotated[float, Field(gt=0)] | None = None
    warmup: Annotated[int, Field(ge=0)] = 0
    every: Annotated[int, Field(gt=0)] | None = None
    factor: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _fits_its_shape(self) -> Self:
        if (self.shape == "step") != (self.every is not None and self.factor is not None):
            message = "every and factor belong to shape = 'step', which needs both"
            raise ValueError(message)
        if self.shape in {"linear", "cosine"} and self.last is None:
            message = f"shape = {self.shape!r} needs last"
            raise ValueError(message)
        if self.last is not None and self.last > self.first:
            message = "last is above first"
            raise ValueError(message)
        return self

    def at(self, step: int, total: int, *, unit: int = 1) -> float:
        """Rate of iteration ``step`` of ``total``, counted from 0.

        Args:
            step: iteration.
            total: iterations of the stage.
            unit: iterations that ``every`` counts as one.
        """
        if step < self.warmup:
            return self.first * (step + 1) / self.warmup
        last = self.first if self.last is None else self.last
        step -= self.warmup
        if self.shape == "step":
            assert self.every is not None  # noqa: S101 - the validator saw to it
            assert self.factor is not None  # noqa: S101
            drops = step // (self.every * unit)
            return max(self.first * self.factor**drops, 0.0 if self.last is None else last)
        if self.shape == "constant":
            return self.first
        progress = min(1.0, step / max(1, total - self.warmup - 1))
        fall = progress if self.shape == "linear" else (1 - math.cos(math.pi * progress)) / 2
        return self.first + (last - self.first) * fall
