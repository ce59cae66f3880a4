"""What is measured and how: the settings that make two numbers comparable.

A protocol is a frozen record. Its digest is part of a run's identity: runs with different
digests are incomparable. Change ``PROTOCOL_VERSION`` whenever the meaning of a measurement
changes without any field changing.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

PROTOCOL_VERSION: Final = 1

Device = Literal["cpu", "cuda"]
CounterName = Literal["ntire2022", "fvcore", "ptflops", "aten"]
COUNTERS: tuple[CounterName, ...] = ("ntire2022", "fvcore", "ptflops", "aten")

MAX_ROUNDS: Final = 500
"""Samples of one input must fit into one frame of the worker's channel."""

PositiveInt = Annotated[int, Field(gt=0)]


class Frozen(BaseModel):
    """Base of all stored records: immutable, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class QualityDefinition(Frozen):
    """How PSNR and SSIM are computed on uint8 images.

    Defaults are the NTIRE challenge's RGB PSNR and the papers' Y-channel scores:
    ``psnr_y`` with unrounded luma reproduces IMDN's published Set5 figures to the last digit.
    """

    rgb_border: Literal["scale"] | Annotated[int, Field(ge=0)] = "scale"
    y_border: Literal["scale"] | Annotated[int, Field(ge=0)] = "scale"
    luma: Literal["unrounded", "uint8"] = "unrounded"
    ssim_window: Literal["gaussian-11-1.5-valid"] = "gaussian-11-1.5-valid"

    def border_pixels(self, channel: Literal["rgb", "y"], scale: int) -> int:
        """HR pixels cropped from each side before scoring."""
        border = self.rgb_border if channel == "rgb" else self.y_border
        return scale if border == "scale" else border

    def describe(self, scale: int) -> str:
        """One line for table footnotes."""
        luma = "unrounded luma" if self.luma == "unrounded" else "luma rounded to uint8"
        return (
            f"PSNR: uint8 RGB, border {self.border_pixels('rgb', scale)} px, mean over images; "
            f"PSNR-Y/SSIM-Y: BT.601 Y, {luma}, border {self.border_pixels('y', scale)} px"
        )


class LatencyDesign(Frozen):
    """How a forward is timed at one input.

    Attributes:
        warmup_rounds: untimed forwards at each new LR shape before its first timed one.
        min_rounds: timed forwards made whatever they cost.
        max_rounds: timed forwards after which timing stops.
        budget_seconds: no further round starts once this much time went into timed rounds of
            one input (never fewer than ``min_rounds``).
    """

    warmup_rounds: Annotated[int, Field(ge=0, le=MAX_ROUNDS)] = 3
    min_rounds: PositiveInt = 6
    max_rounds: Annotated[int, Field(gt=0, le=MAX_ROUNDS)] = 10
    budget_seconds: Annotated[float, Field(ge=0)] = 3.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_rounds > self.max_rounds:
            message = f"min_rounds {self.min_rounds} exceeds max_rounds {self.max_rounds}"
            raise ValueError(message)
        return self


class Protocol(Frozen):
    """Settings of a run.

    Attributes:
        device: where forwards run.
        precision: arithmetic of the forward; fp32 with TF32 off.
        threads: CPU threads of the forward; None takes every core available to the process.
        seed: seeds random weights and random inputs.
        counted_input: LR height and width at which complexity is counted and the fixed-size
            latency is taken (the challenge's 256x256).
        counters: complexity counters, in table order.
        latency: timing design, or None to leave latency out.
        quality: score definition.
    """

    version: Literal[1] = PROTOCOL_VERSION
    device: Device = "cpu"
    precision: Literal["fp32"] = "fp32"
    threads: PositiveInt | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    counted_input: tuple[PositiveInt, PositiveInt] = (256, 256)
    counters: tuple[CounterName, ...] = COUNTERS
    latency: LatencyDesign | None = LatencyDesign()
    quality: QualityDefinition = QualityDefinition()

    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON of this protocol."""
        return digest_of(self)


def digest_of(record: BaseModel) -> str:
    """SHA-256 (hex) of a record's JSON with sorted keys and no whitespace."""
    document = record.model_dump(mode="json")
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
