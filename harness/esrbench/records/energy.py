"""Joules of a loop of forwards, by a counter outside of the network's process."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from esrbench.protocol import Frozen
from esrbench.records.values import Count, Seconds


class EnergyWindow(Frozen):
    """The reading of a counter between its first change in a window and its last.

    Attributes:
        seconds: between these two changes.
        joules: that it counted.
        images: SR images that were delivered meanwhile; 0 while nothing ran.
        updates: changes of the counter after the first one.
    """

    seconds: Annotated[Seconds, Field(gt=0)]
    joules: Annotated[float, Field(ge=0)]
    images: Count
    updates: Count

    @property
    def watts(self) -> float:
        """Mean power."""
        return self.joules / self.seconds


class Energy(Frozen):
    """Windows in which one input was upscaled again and again, each after one of rest.

    Attributes:
        counter: ``nvml`` of a whole GPU, or ``rapl`` of a machine's processors.
        domains: what it covers, such as ``package-0`` and ``dram``.
        input_size: height and width of the LR input.
        idle: windows of rest, the worker loaded and nothing asked of it.
        windows: of work, each after that of rest.
    """

    counter: Literal["nvml", "rapl"]
    domains: Annotated[tuple[str, ...], Field(min_length=1)]
    input_size: tuple[Count, Count]
    idle: tuple[EnergyWindow, ...]
    windows: Annotated[tuple[EnergyWindow, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _in_pairs(self) -> Self:
        if len(self.idle) != len(self.windows) or not all(each.images for each in self.windows):
            raise ValueError("each window of work has images, and one of rest before it")
        return self

    @property
    def joules_per_image(self) -> tuple[float, ...]:
        """Energy above idle power of one image, a figure a window."""
        return tuple(
            (work.joules - rest.watts * work.seconds) / work.images
            for rest, work in zip(self.idle, self.windows, strict=True)
        )
