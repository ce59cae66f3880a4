"""Load and time a trusted network in this process, for scripts and timing tools."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from esrbench.entries.descriptor import ModelDescriptor
from esrbench.entries.networks import fetch_command, load_network, resolve_weights
from esrbench.entries.registry import default_registry
from esrbench.environment import describe_environment
from esrbench.protocol import Protocol, digest_of
from esrbench.records import LatencySamples
from esrbench.worker.reading import without_pickle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

    from esrbench.entries.networks import WeightsChoice
    from esrbench.probes.forward import PixelConversion
    from esrbench.protocol import LatencyDesign


def prepare_forward(
    descriptor: ModelDescriptor, scale: int, input_size: tuple[int, int], weights: WeightsChoice
) -> tuple[Callable[[], object], dict[str, Any]]:
    """A function that runs one forward on noise, and the facts that make its times comparable.

    Args:
        descriptor: descriptor of the network.
        scale: upscaling factor.
        input_size: LR height and width.
        weights: as for ``resolve_weights``.

    Returns:
        A function that runs one forward. Also the network, the hash of its code, its weights, the
        digest of the protocol and the environment, in a form for JSON.

    Raises:
        UsageError, RegistrationError, WeightsError: the network cannot be built here.
        MeasurementError: its output is not an SR image.
        Exception: any error of the network's own code.
    """
    import torch

    from esrbench.entries.building import code_sha256, makers
    from esrbench.probes.forward import PixelConversion, fixed_lr

    threads = torch.get_num_threads()
    protocol = Protocol(threads=threads, counted_input=input_size, latency=None)
    resolved = resolve_weights(descriptor, scale, weights)
    with without_pickle(resolved.path, resolved.released) as (path, released):
        loaded = load_network(descriptor, scale, path, released=released, seed=protocol.seed)
    conversion = PixelConversion.of(descriptor, scale, loaded.data_range)
    pixels = conversion.to_input(fixed_lr(protocol), torch.device("cpu"))

    def forward() -> object:
        with torch.inference_mode():
            return loaded.network(pixels)

    conversion.validate(forward(), input_size)
    environment = describe_environment(threads=threads, accelerator=None)
    return forward, {
        "network": descriptor.name,
        "scale": scale,
        "input_size": list(input_size),
        "code_sha256": code_sha256(loaded.network, *makers(descriptor)),
        "weights": resolved.identity.model_dump(mode="json"),
        "protocol_digest": protocol.digest(),
        "environment_digest": digest_of(environment),
        "environment": environment.model_dump(mode="json"),
    }


def load_model(
    name: str | ModelDescriptor, scale: int = 4, weights: WeightsChoice = "auto"
) -> nn.Module:
    """Load a network for use in a script.

    Args:
        name: registered name, or a descriptor.
        scale: upscaling factor s.
        weights: ``"auto"`` for the released weights if they are cached. Without them the network
            has the demonstration weights that ship with esrbench, or seeded random ones, and a
            ``UserWarning`` says how to get the released ones. None for random weights without a
            warning. Otherwise the path of a file, which is read as ``esrbench convert-weights``
            reads it.

    Returns:
        A module in eval mode on the CPU that maps float32 (N, 3, H, W) in [0, 1] to
        (N, 3, s*H, s*W), unclipped, for any data range of its weights. It computes in the precision
        that it declares.

    Raises:
        UsageError: unknown name, or a scale at which the network is not defined.
        RegistrationError: the factory does not exist or returns something else.
        WeightsError: the file is missing, altered, unsafe, or does not fit.
    """
    descriptor = name if isinstance(name, ModelDescriptor) else default_registry().get(name)
    resolved = resolve_weights(descriptor, scale, weights)
    if weights == "auto" and resolved.identity.source in {"demo", "random"}:
        missing = (
            f"no weights were released for {descriptor.name} x{scale}; pass the path of a file"
            if descriptor.released_weights(scale) is None
            else f"the weights released for {descriptor.name} x{scale} are not cached; "
            + fetch_command(descriptor)
        )
        kind = "Random" if resolved.path is None else "Demonstration"
        warnings.warn(f"{kind} weights: {missing}.", UserWarning, stacklevel=2)
    with without_pickle(resolved.path, resolved.released) as (path, released):
        loaded = load_network(descriptor, scale, path, released=released)
    if loaded.data_range == 1.0 and descriptor.precision == "fp32":
        return loaded.network
    import torch

    from esrbench.entries.adaptation import UnitRange

    dtypes = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    return UnitRange(loaded.network, loaded.data_range, dtypes[descriptor.precision]).eval()


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into eval mode for a block; then restore its mode."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


def time_network(
    network: nn.Module,
    conversion: PixelConversion,
    input_size: tuple[int, int],
    design: LatencyDesign,
) -> LatencySamples:
    """Time forwards of a network on its own device, each with new noise.

    Args:
        network: takes and returns tensors as ``conversion`` says.
        conversion: converts pixels for the network.
        input_size: LR height and width.
        design: warm-up and rounds; ``processes`` has no effect here.

    Raises:
        MeasurementError: its first output is not an SR image.
    """
    import numpy as np
    import torch

    from esrbench.probes.devices import HostClock, synchronize
    from esrbench.probes.latency import time_rounds, warm_up

    first = next(network.parameters(), None)
    device = torch.device("cpu") if first is None else first.device
    clock = HostClock()
    noise = np.random.default_rng(0)

    def forward(_round: int = 0) -> float:
        lr = noise.integers(0, 256, (*input_size, 3), np.uint8)
        pixels = conversion.to_input(lr, device)
        synchronize(device)

        def to_the_end() -> object:
            output = network(pixels)
            synchronize(device)
            return output

        sr, seconds = clock.time(to_the_end)
        if not times:
            conversion.validate(sr, input_size)
        times.append(seconds)
        return seconds

    times: list[float] = []
    with evaluating(network), torch.inference_mode():
        warmed = warm_up(forward, design)
        timed = time_rounds(forward, design)
    return LatencySamples(
        input_name="fixed",
        lr_size=input_size,
        clock="monotonic",
        first_seconds=times[0],
        warmup_seconds=warmed.seconds,
        steady=warmed.steady,
        seconds=timed.seconds,
        stopped_by=timed.stopped_by,
    )
