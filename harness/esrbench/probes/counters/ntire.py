"""The counter of the NTIRE 2022 and 2023 challenges, rule by rule, with its flaws.

It follows the rules of ``utils/model_summary.py`` in the challenge's repository. It reproduces the
published tables of both editions to the printed digit.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from esrbench.entries.structure import named_modules
from esrbench.probes.counters.operators import (
    CONVOLUTIONS,
    ELEMENTWISE,
    FREE,
    MATMULS,
    macs_of,
    out_of_place,
)
from esrbench.probes.counters.shapes import ShapeMode, by_shape_or_value
from esrbench.records import CounterResult
from esrbench.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from torch.utils.hooks import RemovableHandle

CONVENTION: Final = (
    "NTIRE 2022/23 script: MACs of Conv2d and ConvTranspose2d modules, the transposed ones at "
    "their output positions (stride^2 too many), no bias; + 1 an element out of ReLU, PReLU, "
    "LeakyReLU, ELU and ReLU6 modules; + 2 an element out of affine BatchNorm2d modules (1 if "
    "not affine); Linear modules as batch * input.shape[1] * output.shape[1] whatever the "
    "other dimensions, which is wrong beyond 2-D input; everything functional is 0; "
    "activations and #Conv from Conv2d and ConvTranspose2d modules, by calls"
)

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
_ACTIVATIONS = (nn.ReLU, nn.PReLU, nn.ELU, nn.LeakyReLU, nn.ReLU6)


def count(network: nn.Module, lr: Tensor) -> CounterResult:
    """Count one forward by the challenge's rule.

    Args:
        network: in eval mode, on CPU; its hooks are removed again.
        lr: (1, 3, H, W) float32, on CPU.

    Returns:
        The challenge's FLOPs, activations and #Conv. ``uncounted`` names the operators that ran
        outside the hooked modules, except views and copies. By this rule they count 0.

    Raises:
        Exception: whatever the forward raises.
    """
    return by_shape_or_value(_count, network, lr)


def _count(network: nn.Module, lr: Tensor, _without_values: bool) -> CounterResult:
    tally = _Tally()
    with ExitStack() as hooks:
        for _, module in named_modules(network):
            for handle in tally.hook(module):
                hooks.enter_context(handle)
        with torch.no_grad(), ShapeMode(watch=tally.watch):
            network(lr)
    return CounterResult(
        counter="ntire2022",
        version=__version__,
        convention=CONVENTION,
        input_shape=tuple(lr.shape),
        macs=tally.macs + tally.elementwise,
        activations=tally.activations,
        conv_calls=tally.conv_calls,
        elementwise=tally.elementwise,
        uncounted=dict(tally.uncounted),
    )


@dataclass(slots=True)
class _Running:
    """A hooked module that is running.

    Attributes:
        vouched: the operators that the module's count covers.
        ran: operators of this kind that ran in the module, with their work.
    """

    vouched: Collection[str]
    ran: list[tuple[int, str]] = field(default_factory=list)

    def others(self) -> list[str]:
        """All operators except the one that the rule counts."""
        if not self.ran:
            return []
        most = max(range(len(self.ran)), key=lambda place: (self.ran[place][0], -place))
        return [called for place, (_, called) in enumerate(self.ran) if place != most]


class _Tally:
    """Sums over the hooked modules of one forward.

    The count of a hooked module covers one operator: of a convolution a convolution, of a Linear a
    matrix product, of an activation or normalisation an elementwise operator. If several such
    operators run, it covers the one with most work, or the first of equals. All other operators
    are uncounted by the rule.
    """

    def __init__(self) -> None:
        self.macs = 0
        self.activations = 0
        self.conv_calls = 0
        self.elementwise = 0
        self.uncounted: Counter[str] = Counter()
        self._running: list[_Running] = []

    def hook(self, module: nn.Module) -> list[RemovableHandle]:
        """Hook a module if the script does; a subclass counts as its parent."""
        count: Callable[..., None]
        vouched: Collection[str]
        if isinstance(module, _CONVOLUTIONS):
            count, vouched = self._convolution, CONVOLUTIONS
        elif isinstance(module, nn.Linear):
            count, vouched = self._linear, MATMULS
        elif isinstance(module, _ACTIVATIONS):
            count, vouched = self._activation, ELEMENTWISE
        elif isinstance(module, nn.BatchNorm2d):
            count, vouched = self._batch_norm, ELEMENTWISE
        else:
            return []

        def enter(_module: nn.Module, _inputs: Any) -> None:
            self._running.append(_Running(vouched))

        def leave(_module: nn.Module, _inputs: Any, _output: Any) -> None:
            self.uncounted.update(self._running.pop().others())

        return [
            module.register_forward_pre_hook(enter),
            module.register_forward_hook(count),
            # The network may catch what the module raises.
            module.register_forward_hook(leave, always_call=True),
        ]

    def watch(
        self, called: str, args: tuple[Any, ...], _kwargs: dict[str, Any], result: Any
    ) -> None:
        """Note an operator that the rule misses."""
        name = out_of_place(called)
        if name in FREE:
            return
        if self._running and name in self._running[-1].vouched:
            out = result[0] if isinstance(result, tuple | list) else result
            work = macs_of(name, args, out)
            self._running[-1].ran.append((out.numel() if work is None else work, called))
        else:
            self.uncounted[called] += 1

    def _convolution(self, module: nn.Module, _inputs: Any, output: Tensor) -> None:
        assert isinstance(module, _CONVOLUTIONS)  # noqa: S101 - hooked by this very test
        height, width = module.kernel_size
        per_position = height * width * module.in_channels * (module.out_channels // module.groups)
        self.macs += per_position * output.shape[0] * output.shape[2:].numel()
        self.activations += output.numel()
        self.conv_calls += 1

    def _activation(self, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        self.elementwise += output.numel()

    def _batch_norm(self, module: nn.Module, _inputs: Any, output: Tensor) -> None:
        self.elementwise += output.numel() * (2 if module.affine else 1)

    def _linear(self, _module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        features = inputs[0]
        if features.ndim == 1:
            self.macs += features.shape[0] * output.shape[0]
        else:
            self.macs += features.shape[0] * features.shape[1] * output.shape[1]
