"""Predict the peak GPU memory of a forward without a GPU, from the lifetimes of its tensors.

A forward on ``meta`` runs the same Python code and the same operators as one on a GPU. So its
tensors are made and released in the same order; only their pixels are missing. Each storage counts
from the operator that returned it until its last reference is gone. At that moment PyTorch returns
its block to the allocator.

The sum of all live tensors is what PyTorch requests from its allocator. It does not depend on what
ran before. ``torch.cuda.max_memory_allocated`` reports a little more: some blocks are larger than
their tensor (see ``esrbench.probes.allocator``), and this depends on which images came first.

Left out: workspaces of cuDNN and cuBLAS, buffers inside a CUDA kernel, the CUDA context, and
memory that the caching allocator reserves without using it.
"""

from __future__ import annotations

import contextlib
import math
import weakref
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from esrbench.errors import MeasurementError
from esrbench.probes.allocator import CachingAllocator, Chunk, rounded
from esrbench.probes.counters.shapes import ShapeMode, on_meta
from esrbench.protocol import EAGER
from esrbench.records import Absent, PredictedMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from esrbench.protocol import ForwardPolicy

LARGEST_SIDE: Final = 510
"""Longest side of a DIV2K validation image at x4 in pixels; the largest one is 510x510."""

TIMELINE_POINTS: Final = 120
"""Most points of the curve of memory over a forward that a prediction keeps."""

USUAL_SIDE: Final = 339
"""Height in pixels of most DIV2K images; they are 510 wide."""

ORDERS: Final = (
    (510,),
    (339, 339, 339, 510),
    (339, 510, 510),
    (339, 384, 510),
    (300, 339, 384, 408, 510),
)
"""Plausible orders of images up to the largest: heights of images that are 510 pixels wide.

Most of DIV2K's validation images have sides of 3:2 (339x510 at x4). The order in the challenge's
runs is not published, so the figure is a band."""


def predict_memory(
    network: nn.Module | Callable[[], nn.Module],
    *,
    input_size: tuple[int, int],
    channels: int = 3,
) -> PredictedMemory:
    """Predict the memory of one forward of a batch of 1 in float32 under ``inference_mode``.

    Args:
        network: in eval mode, on CPU or ``meta``, or a function that builds it; a copy of it runs,
            without values.
        input_size: height and width of its input in pixels.
        channels: channels of its input.

    Returns:
        Two figures. One is the highest sum of parameters, buffers, input, features and output that
        are alive at the same time, each rounded up to 512 bytes. The other is the range that a
        caching allocator reports for images of this size after smaller ones. Sizes that the network
        does not accept are left out.

    Raises:
        MeasurementError: the output is no tensor.
        Exception: any error of the forward without pixel values.
    """
    traced = on_meta(network if isinstance(network, nn.Module) else network().eval())
    weights = [rounded(_bytes_of(tensor)) for tensor in _state(traced)]
    largest = trace_lifetimes(traced, input_size=input_size, channels=channels)
    images = {LARGEST_SIDE: largest}
    for side in {side for order in ORDERS for side in order} - {LARGEST_SIDE}:
        smaller = (input_size[0] * side // LARGEST_SIDE, input_size[1])
        # A forward may raise any exception for a smaller image.
        with contextlib.suppress(Exception):
            images[side] = trace_lifetimes(traced, input_size=smaller, channels=channels)
    reported = [
        _allocated(weights, [images[side] for side in order])
        for order in ORDERS
        if images.keys() >= set(order)
    ]
    return PredictedMemory(
        input_size=input_size,
        weights_bytes=sum(weights),
        input_bytes=largest.input_bytes,
        output_bytes=largest.output_bytes,
        peak_bytes=sum(weights) + largest.peak_bytes,
        allocator_bytes=(min(reported), max(reported)),
        peak_operator=largest.peak_operator,
        timeline=_timeline(sum(weights), largest.events),
    )


def unpredicted(policy: ForwardPolicy) -> Absent | None:
    """Say why no prediction is valid under a policy, or None if one is.

    Predictions are for float32 tensors in their plain layout, and for the operators of the network
    as it is written.
    """
    eager = policy.backend == EAGER and not policy.channels_last
    if policy.precision in ("fp32", "tf32") and eager:
        return None
    return Absent(
        kind="unavailable",
        reason="the prediction is of float32, contiguous and run by eager torch; this is "
        f"{policy.label}",
        advice="Measure it on a GPU.",
    )


@dataclass(slots=True)
class Lifetimes:
    """When the tensors of one forward were made and released, without the network's own state.

    Attributes:
        events: (number of the tensor, bytes), in order; bytes are multiples of 512, negative if
            the tensor is released.
        alive_bytes: total of all live tensors.
        peak_bytes: highest value of ``alive_bytes`` so far.
        peak_operator: operator that reached the peak; ``input`` before any.
        input_bytes: size of the input.
        output_bytes: size of the output.
    """

    events: list[tuple[int, int]] = field(default_factory=list)
    alive_bytes: int = 0
    peak_bytes: int = 0
    peak_operator: str = "input"
    input_bytes: int = 0
    output_bytes: int = 0


def trace_lifetimes(
    network: nn.Module, *, input_size: tuple[int, int], channels: int = 3
) -> Lifetimes:
    """Follow every tensor of one forward from its input to the release of its output.

    Args:
        network: on ``meta``, in eval mode.
        input_size: height and width of its input in pixels.
        channels: of its input.

    Raises:
        MeasurementError: the output is no tensor.
        Exception: whatever the forward raises.
    """
    recorder = _Recorder(_state(network))
    lr = torch.empty((1, channels, *input_size), device="meta")
    lifetimes = recorder.lifetimes
    recorder.see(lr, "input")
    lifetimes.input_bytes = lifetimes.alive_bytes
    with (
        torch.no_grad(),
        recorder.following_linears(network),
        ShapeMode(watch=recorder.watch),
    ):
        output = network(lr)
    if not isinstance(output, Tensor):
        raise MeasurementError(
            f"the output is a {type(output).__name__}, expected a tensor",
            advice="Return the SR image alone.",
        )
    lifetimes.output_bytes = rounded(output.untyped_storage().nbytes())
    # As in the challenge's loop, the output is copied to the host, and then the input is replaced.
    del output
    del lr
    recorder.close()
    return lifetimes


class _Recorder:
    """Notes when storages on ``meta`` are made and released."""

    def __init__(self, known: Iterator[Tensor]) -> None:
        self.lifetimes = Lifetimes()
        self._numbers = 0
        self._linears: list[nn.Linear] = []
        self._alive: dict[int, tuple[int, int, weakref.ref[Any] | None]] = {}
        for tensor in known:
            self._alive[_address(tensor.untyped_storage())] = (-1, 0, None)

    @contextlib.contextmanager
    def following_linears(self, network: nn.Module) -> Iterator[None]:
        """Note in which Linear an operator runs.

        A Linear adds its bias to a product in place. But it adds it out of place if any dispatch
        mode watches.
        """
        with contextlib.ExitStack() as hooks:
            for module in network.modules():
                # A subclass with its own forward may keep the product for later.
                own = type(module).forward is nn.Linear.forward and "forward" not in vars(module)
                if isinstance(module, nn.Linear) and own and module.bias is not None:
                    hooks.enter_context(module.register_forward_pre_hook(self._enter))
                    leave = module.register_forward_hook(self._leave, always_call=True)
                    hooks.enter_context(leave)
            yield

    def _enter(self, linear: nn.Module, _inputs: Any) -> None:
        assert isinstance(linear, nn.Linear)  # noqa: S101 - hooked by this very test
        self._linears.append(linear)

    def _leave(self, _linear: nn.Module, _inputs: Any, _output: Any) -> None:
        self._linears.pop()

    def watch(
        self, called: str, args: tuple[Any, ...], _kwargs: dict[str, Any], result: Any
    ) -> None:
        """Note what an operator returned; ``ShapeMode`` calls this."""
        if self._linears and called == "aten::add" and args[1] is self._linears[-1].bias:
            self._take_over(args[0], result)
        elif isinstance(result, Tensor):
            self.see(result, called)
        elif isinstance(result, tuple | list):
            for each in result:
                if isinstance(each, Tensor):
                    self.see(each, called)

    def see(self, tensor: Tensor, called: str) -> None:
        """Note a tensor if its storage is new; views and in-place results have no new storage."""
        if not tensor.is_meta:
            return
        storage = tensor.untyped_storage()
        address = _address(storage)
        size = rounded(storage.nbytes())
        known = self._alive.get(address)
        if known is not None:
            if known[2] is None or known[1] == size:
                return
            # It was resized, so its block is replaced.
            self._release(address)
        number = self._numbers
        self._numbers += 1
        self._alive[address] = (
            number,
            size,
            weakref.ref(storage, partial(self._forget, address)),
        )
        if size:
            lifetimes = self.lifetimes
            lifetimes.events.append((number, size))
            lifetimes.alive_bytes += size
            if lifetimes.alive_bytes > lifetimes.peak_bytes:
                lifetimes.peak_bytes = lifetimes.alive_bytes
                lifetimes.peak_operator = called

    def _take_over(self, product: Tensor, total: Tensor) -> None:
        """Note that a result has the memory of an operand."""
        taken = self._alive.pop(_address(product.untyped_storage()), None)
        if taken is None:
            self.see(total, "aten::add")
            return
        number, size, _ = taken
        storage = total.untyped_storage()
        address = _address(storage)
        released = weakref.ref(storage, partial(self._forget, address))
        self._alive[address] = (number, size, released)

    def close(self) -> None:
        """Release tensors that the forward still keeps in a cache, because the image is done."""
        for address, (_, _, reference) in list(self._alive.items()):
            if reference is not None:
                self._release(address)

    def _forget(self, address: int, _reference: object) -> None:
        self._release(address)

    def _release(self, address: int) -> None:
        released = self._alive.pop(address, None)
        if released is not None and released[1]:
            number, size, _ = released
            self.lifetimes.events.append((number, -size))
            self.lifetimes.alive_bytes -= size


def _timeline(weights_bytes: int, events: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Bytes alive over a forward: the highest value in each of ``TIMELINE_POINTS`` equal parts."""
    alive = list(accumulate((size for _, size in events), initial=weights_bytes))
    step = math.ceil(len(alive) / TIMELINE_POINTS)
    return tuple(max(alive[start : start + step]) for start in range(0, len(alive), step))


def _allocated(weights: Sequence[int], images: Sequence[Lifetimes]) -> int:
    """Peak that the caching allocator counts for a network and images in this order."""
    allocator = CachingAllocator()
    for size in weights:
        if size:
            allocator.allocate(size)
    for image in images:
        blocks: dict[int, Chunk] = {}
        for number, size in image.events:
            if size > 0:
                blocks[number] = allocator.allocate(size)
            else:
                allocator.free(blocks.pop(number))
    return allocator.peak_bytes


def _state(network: nn.Module) -> Iterator[Tensor]:
    """All distinct parameters and buffers."""
    yield from network.parameters()
    yield from network.buffers()


def _bytes_of(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _address(storage: torch.UntypedStorage) -> int:
    """Identity of a storage; it is unique while the storage is alive."""
    return int(storage._cdata)  # noqa: SLF001 - private to torch
