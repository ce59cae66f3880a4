"""Check that a network computes the same when it is counted and when it is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from esrbench.probes.counters.shapes import ShapeMode, unfused
from esrbench.protocol import EAGER

if TYPE_CHECKING:
    from collections.abc import Callable

    from esrbench.protocol import ForwardPolicy

    Forward = Callable[[], Any]

SAME: Final = 1e-4
"""Two float32 forwards on the CPU are the same if their mean deviation is at most this.

It is a share of the output's mean size: a hundred times the effect of another summation order."""

SAME_ON_GPU: Final = 1e-3
SAME_WHEN_ROUNDED: Final = 0.05
"""Limit for a GPU's kernels and other backends, and for fp16, bf16 and TF32."""
SAME_WHEN_QUANTISED: Final = 0.5
"""Limit for integers, which may cost much quality; the record says how much."""


def tolerance(policy: ForwardPolicy, device: str) -> float:
    """Share by which forwards of one network may differ.

    Args:
        policy: arithmetic of the measured forward; the counted one is float32 on the CPU.
        device: where the measured one runs.
    """
    if policy.quantises:
        return SAME_WHEN_QUANTISED
    if policy.precision != "fp32":
        return SAME_WHEN_ROUNDED
    return SAME if device == "cpu" and policy.backend == EAGER else SAME_ON_GPU


def changed(forward: Forward, scored: Tensor, share: float) -> str | None:
    """Say how a network differs from its state when it was scored.

    Args:
        forward: runs the network now, on the input that was scored.
        scored: its output when it was scored.
        share: allowed difference of outputs, as a share of their mean size.

    Returns:
        None if both outputs are the same. None also if two forwards now differ, because then chance
        explains the difference.
    """
    now = _measured(forward)
    if _apart(now, scored, share) and not _apart(_measured(forward), now, share):
        return "the network no longer computes what it computed when it was scored"
    return None


def watched_otherwise(
    forward: Forward, counted: Callable[[Tensor], object], pixels: Tensor, share: float
) -> str | None:
    """Say how the counted copy differs from the measured network.

    Args:
        forward: runs the measured network on an input.
        counted: runs the copy, in eval mode on the CPU.
        pixels: the same input for the copy, (1, C, H, W) float32 on the CPU.
        share: allowed difference of outputs, as a share of their mean size.

    Returns:
        None if both outputs are the same. None also if two forwards of the measured network differ,
        or if one of them fails, which the counters report.
    """
    measured = _measured(forward)
    try:
        with torch.no_grad(), unfused(), ShapeMode():
            watched = counted(pixels.clone())
    except Exception:  # noqa: BLE001 - a stranger's forward may raise anything
        return None
    if _apart(watched, measured, share) and not _apart(_measured(forward), measured, share):
        return "the counted copy computes another output than the measured network"
    return None


def _measured(forward: Forward) -> object:
    with torch.inference_mode():
        return forward()


def _apart(one: object, other: object, share: float) -> bool:
    """Whether two outputs differ by more than a share of their mean size."""
    if not isinstance(one, Tensor) or not isinstance(other, Tensor) or one.shape != other.shape:
        return True
    ours, theirs = (each.detach().to("cpu", torch.float32) for each in (one, other))
    deviation = float((ours - theirs).abs().mean())
    # NaN fails elsewhere.
    return deviation > share * float(theirs.abs().mean())
