"""The start of training: the last convolution is computed instead of drawn at random.

An SR network's output is linear in the weights of its last convolution. So the best weights for
the features of a random network are the solution of a linear system. The network then starts above
bicubic, which saves a short training thousands of steps. This is our own idea; no paper has it.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from esrbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

_RIDGE = 1e-5  # of the mean square of the features: keeps the weights small


@torch.no_grad()
def solve_last_convolution(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], scale: int
) -> None:
    """Set the weights of the convolution that runs last to the ridge regression of its targets.

    Args:
        network: a network whose output is that of a convolution, with or without pixel shuffle.
            A term that does not depend on this convolution may be added.
        batches: network inputs (N, C, h, w) and targets (N, C, s*h, s*w), float32, in the range
            of the network.
        scale: upscaling factor s.

    Raises:
        UsageError: the network does not end in this way.
    """
    last = _last_convolution(network, next(iter(batches))[0])
    last.weight.zero_()
    assert last.bias is not None  # noqa: S101 - _last_convolution saw to it
    last.bias.zero_()
    size = last.weight[0].numel() + 1
    gram = torch.zeros(size, size, dtype=torch.float64)
    moment = torch.zeros(size, last.out_channels, dtype=torch.float64)
    seen: list[Tensor] = []
    with last.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0])):
        for inputs, targets in batches:
            seen.clear()
            missing = targets - network(inputs)
            if last.out_channels != targets.shape[1]:
                missing = functional.pixel_unshuffle(missing, scale)
            columns = functional.unfold(
                seen[0].contiguous(), _pair(last.kernel_size), padding=_pair(last.padding)
            )
            features = columns.transpose(1, 2).flatten(0, 1).double()
            features = torch.cat([features, features.new_ones(len(features), 1)], 1)
            gram += features.T @ features
            moment += features.T @ missing.permute(0, 2, 3, 1).flatten(0, 2).double()
    gram.diagonal().add_(_RIDGE * gram.diagonal().mean())
    solution = torch.linalg.solve(gram, moment)
    last.weight.copy_(solution[:-1].T.reshape(last.weight.shape))
    last.bias.copy_(solution[-1])


def _last_convolution(network: nn.Module, inputs: Tensor) -> nn.Conv2d:
    """The convolution that runs last, if it can be solved for."""
    order: list[nn.Conv2d] = []
    with ExitStack() as hooks:
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                note = module.register_forward_hook(lambda module, _, __: order.append(module))
                hooks.enter_context(note)
        scale = network(inputs).shape[2] // inputs.shape[2]
    channels, last = inputs.shape[1], order[-1] if order else None
    if (
        last is None
        or last.bias is None
        or last.groups != 1
        or set(_pair(last.stride)) != {1}
        or isinstance(last.padding, str)
        or last.out_channels not in {channels, channels * scale**2}
        or order.count(last) > 1
    ):
        message = f"start = 'least-squares' does not apply to {type(network).__name__}"
        advice = "It needs a last convolution with bias that makes the pixels; use 'random'."
        raise UsageError(message, advice=advice)
    return last


def _pair(value: object) -> tuple[int, int]:
    assert isinstance(value, tuple)  # noqa: S101 - torch keeps pairs
    return value[0], value[1]
