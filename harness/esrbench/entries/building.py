"""Build a network from its declaration: factory, hook, padding and tiling.

Imports torch. It runs in every interpreter that a worker may have, so it needs only Python 3.8 and
torch 1.13.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from esrbench.entries.adaptation import adapt
from esrbench.entries.factories import arguments_of, in_folder, unfilled
from esrbench.entries.targets import resolve_factory, stable_module_name
from esrbench.errors import RegistrationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from esrbench.entries.descriptor import ModelDescriptor


@dataclass(frozen=True)
class LoadedNetwork:
    """A network ready to run.

    Attributes:
        network: in the form in which it is deployed, padding and tiling included, in eval mode
            on the CPU; maps float32 (N, 3, H, W) in [0, data_range] to (N, 3, s*H, s*W).
        data_range: value of white in its input and output.
        state_elements: count of numbers in all named parameters and buffers after loading, before
            deploying. A tensor with two names counts twice, as in a file that contains it twice.
        layout: fields of ``WeightsLayout``, if the file is more than the network's state dict.
        parameters_sha256: digest of all loaded parameters, independent of their names; None without
            a file.
    """

    network: nn.Module
    data_range: float
    state_elements: int = 0
    layout: dict[str, Any] | None = None
    parameters_sha256: str | None = None


def build(descriptor: ModelDescriptor, scale: int, *, seed: int = 0) -> nn.Module:
    """Build a network as it is trained, with seeded random weights.

    The caller's random state does not change.

    Args:
        descriptor: the network; only its attributes are read.
        scale: upscaling factor.
        seed: seeds torch's CPU generator while the network is built.

    Returns:
        The network in eval mode, on the CPU unless a device context says otherwise.

    Raises:
        RegistrationError: the factory does not exist, cannot be called with the declared
            arguments, or returns a wrong type. Errors raised by the factory pass through.
    """
    with in_folder(descriptor):
        factory = resolve_factory(descriptor.factory, folder=descriptor.folder)
        by_position, by_name = arguments_of(descriptor, factory, scale)
        # devices=(): networks are built on the CPU; forking CUDA's state would initialise it.
        with torch.random.fork_rng(devices=()):
            torch.default_generator.manual_seed(seed)
            try:
                network = factory(*by_position, **by_name)
            except TypeError as error:
                problem = unfilled(descriptor, factory, by_position, by_name)
                if problem is None:
                    raise
                raise problem from error
    return _require_network(network, f"{descriptor.name}: {descriptor.factory}")


def deploy(descriptor: ModelDescriptor, network: nn.Module) -> nn.Module:
    """Bring a network into its deployed form, as ``deploy`` and ``prepare`` of its descriptor say.

    Args:
        descriptor: without ``deploy`` and ``prepare`` the network is returned unchanged.
        network: a network in eval mode with its weights; it may be changed.

    Raises:
        RegistrationError: a declared method or function does not exist, or returns a wrong type.
            Errors raised by it pass through.
    """
    with in_folder(descriptor), torch.no_grad():
        if descriptor.deploy is not None:
            _switch(descriptor, descriptor.deploy, network)
        if descriptor.prepare is None:
            return network if descriptor.deploy is None else network.eval()
        hook = resolve_factory(descriptor.prepare, folder=descriptor.folder)
        deployed = hook(network)
    return _require_network(deployed, f"{descriptor.name}: the hook {descriptor.prepare}")


def _switch(descriptor: ModelDescriptor, name: str, network: nn.Module) -> None:
    """Deploy a network in place: by a function, by its own method, or by the method of each part.

    A part may drop its own parts when it is deployed; the method of dropped parts is not called.
    """
    called: Iterable[Any]
    if ":" in name:
        called = [partial(resolve_factory(name, folder=descriptor.folder), network)]
    elif callable(getattr(network, name, None)):
        called = [getattr(network, name)]
    else:
        parts = (getattr(part, name, None) for part in network.modules())
        called = filter(callable, parts)
    switched = False
    for call in called:
        returned, switched = call(), True
        if isinstance(returned, nn.Module) and ":" in name and returned is not network:
            message = f"{descriptor.name}: {name} returned a new network"
            advice = "Declare it as prepare, which returns a network; deploy changes it in place."
            raise RegistrationError(message, advice=advice)
    if not switched:
        message = f"{descriptor.name}: neither {type(network).__name__} nor a part of it has a "
        message += f"method {name!r}"
        advice = "Correct deploy: name a method, or a module:function that takes the network."
        raise RegistrationError(message, advice=advice)


def deploy_adapted(descriptor: ModelDescriptor, network: nn.Module, scale: int) -> nn.Module:
    """Deploy a network, and add the padding and tiling that its descriptor declares."""
    return adapt(descriptor, deploy(descriptor, network), scale)


def _require_network(made: Any, maker: str) -> nn.Module:
    if not isinstance(made, nn.Module):
        message = f"{maker} returned a {type(made).__name__}, expected a torch.nn.Module"
        raise RegistrationError(message, advice="Let it return the network.")
    return made.eval()


def makers(descriptor: ModelDescriptor) -> Iterator[Callable[..., Any]]:
    """The functions that make a network: its factory, and functions that deploy it.

    Raises:
        RegistrationError: a function does not exist.
    """
    for target in (descriptor.factory, descriptor.prepare, descriptor.deploy):
        if target is not None and ":" in target:
            yield resolve_factory(target, folder=descriptor.folder)


def code_sha256(network: nn.Module, *makers: Callable[..., Any]) -> str | None:
    """SHA-256 (hex) of the source files that define a network.

    Covers the modules that define its makers (factory, hook) and the class of every submodule,
    except torch's, sorted by name; code that they only call is not followed. None if any of it has
    no source file (code typed at a prompt).
    """
    names = {str(getattr(maker, "__module__", "")) for maker in makers}
    names.update(type(module).__module__ for module in network.modules())
    digest = hashlib.sha256()
    for name in sorted(names, key=stable_module_name):
        if name.partition(".")[0] == "torch":
            continue
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is None or not Path(file).is_file():
            return None
        content = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        digest.update(f"{stable_module_name(name)}\0{content}\0".encode())
    return digest.hexdigest()
