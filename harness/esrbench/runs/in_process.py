"""A network in this very process, to be timed by another tool: only for networks we trust."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from esrbench.entries.building import code_sha256, makers
from esrbench.entries.networks import load_network, resolve_weights
from esrbench.environment import describe_environment
from esrbench.probes.forward import PixelConversion, fixed_lr
from esrbench.protocol import Protocol, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.entries.networks import WeightsChoice


def prepare_forward(
    descriptor: ModelDescriptor, scale: int, input_size: tuple[int, int], weights: WeightsChoice
) -> tuple[Callable[[], object], dict[str, Any]]:
    """A forward of noise, and what makes its time comparable.

    Args:
        descriptor: of the network.
        scale: upscaling factor.
        input_size: LR height and width.
        weights: as of ``resolve_weights``.

    Returns:
        What makes one forward when called, and the network, the hash of its code, its weights, the
        digest of the protocol and the environment, ready for JSON.

    Raises:
        UsageError, RegistrationError, WeightsError: it cannot be built here.
        MeasurementError: its output is no SR image. What its own code raises passes through.
    """
    threads = torch.get_num_threads()
    protocol = Protocol(threads=threads, counted_input=input_size, latency=None)
    resolved = resolve_weights(descriptor, scale, weights)
    loaded = load_network(
        descriptor, scale, resolved.path, released=resolved.released, seed=protocol.seed
    )
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
