"""Cost of each block of a network in one forward."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from esrbench.probes.audit import noise
from esrbench.probes.counters.aten import Tally
from esrbench.probes.counters.shapes import ShapeMode, by_shape_or_value
from esrbench.probes.provenance import tensors_in
from esrbench.records import Block

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

ROOT: Final = "(network)"
NAME_CHARACTERS: Final = 100
"""Longest name of a block, because many blocks must fit into one answer of a worker."""


def measure_blocks(
    network: nn.Module,
    *,
    input_shape: tuple[int, int, int, int],
    depth: int,
    most: int | None = None,
) -> tuple[Block, ...]:
    """Cost of every module down to a depth, in the order in which they first run.

    If a module runs several times, its count covers all runs, and its parameters count once. The
    work of a module is also counted in every module around it. Functional operators between
    modules are counted in the module whose forward calls them.

    Args:
        network: in eval mode, on CPU; only copies of it run, without pixel values if it allows
            this.
        input_shape: shape of its input, (1, C, H, W).
        depth: depth of the deepest modules shown; 0 is the network itself. A ``ModuleList`` is not
            a level of its own.
        most: largest number of blocks in the list; the deepest levels are left out until they fit.

    Returns:
        The network first, then its modules; MACs and activations by the ``aten`` counter.

    Raises:
        Exception: any error of the forward.
    """
    measure = partial(_measure, depth=depth, most=most)
    return by_shape_or_value(measure, network, noise(input_shape))


def _measure(
    network: nn.Module, lr: Tensor, _without_values: bool, *, depth: int, most: int | None
) -> tuple[Block, ...]:
    trace = _Trace()
    names = {module: name for name, module in network.named_modules()}
    modules = {name or ROOT: module for module, name in names.items()}
    depths = {name or ROOT: _depth(name, modules) for name in names.values()}
    with ExitStack() as hooks:
        for module, name in names.items():
            if depths[name or ROOT] <= depth:
                enter = trace.entering(name or ROOT)
                hooks.enter_context(module.register_forward_pre_hook(enter))
                hooks.enter_context(module.register_forward_hook(trace.leaving, always_call=True))
        with torch.no_grad(), ShapeMode(watch=trace.add):
            network(lr)
    ran = list(trace.tallies)
    while most is not None and len(ran) > max(most, 1):
        deepest = max(depths[name] for name in ran)
        ran = [name for name in ran if depths[name] < deepest]
    return tuple(trace.block(name, modules[name]) for name in ran)


def _depth(name: str, modules: Mapping[str, nn.Module]) -> int:
    """Modules from the network down to this one; lists and dicts are never called, so free."""
    parts = name.split(".") if name else []
    paths = (".".join(parts[: end + 1]) for end in range(len(parts)))
    return sum(not isinstance(modules[path], nn.ModuleList | nn.ModuleDict) for path in paths)


class _Trace:
    """Which modules are running, and what has run in each."""

    def __init__(self) -> None:
        self.tallies: dict[str, Tally] = {}
        self.allocated: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._running: list[str] = []

    def entering(self, name: str) -> Callable[[nn.Module, Any], None]:
        def enter(_module: nn.Module, _args: Any) -> None:
            self._running.append(name)
            self.tallies.setdefault(name, Tally())
            self.allocated.setdefault(name, 0)

        return enter

    def leaving(self, _module: nn.Module, _args: Any, output: Any) -> None:
        name = self._running.pop()
        for tensor in tensors_in((output,))[:1]:
            self.shapes[name] = tuple(tensor.shape)

    def add(self, called: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        fresh = _fresh_bytes((args, kwargs), result)
        for name in set(self._running):
            self.tallies[name].add(called, args, kwargs, result)
            self.allocated[name] += fresh

    def block(self, name: str, module: nn.Module) -> Block:
        tally = self.tallies[name]
        return Block(
            name=name[:NAME_CHARACTERS],
            kind=type(module).__name__[:NAME_CHARACTERS],
            output_shape=self.shapes.get(name, ()),
            params=sum(parameter.numel() for parameter in module.parameters()),
            macs=tally.macs,
            activations=tally.activations,
            allocated_bytes=self.allocated[name],
        )


def _fresh_bytes(args: Sequence[Any], result: Any) -> int:
    """Bytes of the results, without views of arguments and results that were written in place."""
    seen = {_storage(tensor) for tensor in tensors_in(args)}
    fresh = 0
    for tensor in tensors_in((result,)):
        if _storage(tensor) not in seen:
            seen.add(_storage(tensor))
            fresh += tensor.numel() * tensor.element_size()
    return fresh


def _storage(tensor: Tensor) -> int:
    """Identity of its storage."""
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - private to torch
