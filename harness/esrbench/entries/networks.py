"""Make a network with its weights from a descriptor.

``resolve_weights`` selects the weights without importing torch. ``load_network`` builds the
network, loads its weights and deploys it, in the process that runs it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from esrbench.entries.submissions import requirements_notice
from esrbench.entries.weight_files import (
    cache_path,
    demonstration_weights,
    identity_of,
    require_intact,
    require_text,
    submitted_path,
)
from esrbench.errors import RegistrationError, WeightsError
from esrbench.records import WeightsIdentity, WeightsLayout
from esrbench.weights.checkpoints import file_sha256
from esrbench.weights.layout import load_file

if TYPE_CHECKING:
    from torch import nn

    from esrbench.entries.building import LoadedNetwork
    from esrbench.entries.descriptor import ModelDescriptor, ReleasedWeights

WeightsChoice: TypeAlias = str | os.PathLike[str] | None
"""``"auto"``: the submitted file, or the released one if cached, else the shipped one, else
random; None: random; otherwise a file."""


@dataclass(frozen=True, slots=True)
class ResolvedWeights:
    """The selected weights of a network.

    Attributes:
        identity: their identity in records.
        path: the file, or None for random weights and for networks without parameters.
        released: the declaration of a released or submitted file, or None for any other file.
    """

    identity: WeightsIdentity
    path: Path | None = None
    released: ReleasedWeights | None = None


def resolve_weights(
    descriptor: ModelDescriptor, scale: int, weights: WeightsChoice = "auto"
) -> ResolvedWeights:
    """Select the weights; a released or submitted file is checked by size and SHA-256.

    A file with the hash of a declared one is read as that declaration says. The layout of any other
    file is detected, as ``read_weights`` does.

    Args:
        descriptor: the network.
        scale: upscaling factor.
        weights: ``"auto"`` for the submission's own file, or the cached release, else the
            demonstration weights that ship with esrbench, else random ones; None for random
            weights; otherwise the path of a file.

    Raises:
        UsageError: the network is not defined at this scale.
        WeightsError: the file is missing or altered, leads out of its submission's folder, was
            made for another scale, or the network has no parameters to load.
    """
    descriptor.require_scale(scale)
    if descriptor.role == "floor":
        if weights not in ("auto", None):
            message = f"{descriptor.name} has no parameters, but the weights {weights} were given"
            raise WeightsError(message, advice="Leave the weights out.")
        identity = WeightsIdentity(source="none", data_range=descriptor.data_range)
        return ResolvedWeights(identity)
    random = ResolvedWeights(WeightsIdentity(source="random", data_range=descriptor.data_range))
    if weights is None:
        return random
    if weights == "auto":
        if submitted := descriptor.submitted_weights(scale):
            path = submitted_path(descriptor, submitted)
            advice = (
                f"If this file is right, `esrbench validate {descriptor.name} --fix` writes its "
                "bytes and sha256 into submission.toml; otherwise put the declared file there."
            )
            require_intact(path, submitted, advice=advice)
            return ResolvedWeights(identity_of(path, submitted.sha256, submitted), path, submitted)
        released = descriptor.released_weights(scale)
        cached = None if released is None else cache_path(released)
        if released is None or cached is None or not cached.is_file():
            return _demonstration(descriptor, scale) or random
        require_intact(cached, released, advice=f"Delete it, then {fetch_command(descriptor)}.")
        return ResolvedWeights(identity_of(cached, released.sha256, released), cached, released)
    path = Path(weights)
    if not path.is_file():
        message = f"{path}: there is no such weights file"
        advice = "Check the path"
        if descriptor.released_weights(scale) is not None:
            advice += f", or leave it out and {fetch_command(descriptor)}"
        raise WeightsError(message, advice=f"{advice}.")
    require_text(path)
    require_text(path.resolve())
    sha256 = file_sha256(path)
    declared = (*descriptor.submitted, *descriptor.weights)
    matches = [known for known in declared if known.sha256 == sha256]
    match = next((known for known in matches if known.scale == scale), None)
    if matches and match is None:
        made = matches[0].scale
        message = f"{path}: these are the weights released for x{made}, not x{scale}"
        raise WeightsError(message, advice=f"Use them at x{made}.")
    identity = identity_of(path, sha256, match, data_range=descriptor.data_range)
    # Make the path absolute and follow links, because a worker has another working directory and
    # may not see the link.
    return ResolvedWeights(identity, path.resolve(), match)


def _demonstration(descriptor: ModelDescriptor, scale: int) -> ResolvedWeights | None:
    path = demonstration_weights(descriptor, scale)
    if path is None:
        return None
    identity = identity_of(path, file_sha256(path), None, data_range=descriptor.data_range)
    return ResolvedWeights(identity.model_copy(update={"source": "demo"}), path)


def build_network(descriptor: ModelDescriptor, scale: int, *, seed: int = 0) -> nn.Module:
    """Build a network as it is trained, with seeded random weights.

    The caller's random state is kept.

    Args:
        descriptor: the network.
        scale: upscaling factor.
        seed: seeds torch's CPU generator while the network is built.

    Returns:
        The network in eval mode, on the CPU unless a device context says otherwise.

    Raises:
        UsageError: the network is not defined at this scale.
        RegistrationError: the factory does not exist or does not return a network. Errors raised by
            the factory pass through.
    """
    from esrbench.entries.building import build

    descriptor.require_scale(scale)
    try:
        return build(descriptor, scale, seed=seed)
    except ModuleNotFoundError as error:
        if (notice := requirements_notice(descriptor)) is None:
            raise
        message = f"{descriptor.name}: {notice.message}"
        raise RegistrationError(message, advice=notice.advice) from error


def build_deployed(descriptor: ModelDescriptor, scale: int, *, seed: int = 0) -> nn.Module:
    """Build the deployed network with random weights, and with its declared padding and tiling.

    Networks are counted and timed in this form.

    Raises:
        UsageError, RegistrationError: see ``build_network`` and ``deploy``.
    """
    from esrbench.entries.building import deploy_adapted

    return deploy_adapted(descriptor, build_network(descriptor, scale, seed=seed), scale)


def load_network(
    descriptor: ModelDescriptor,
    scale: int,
    path: Path | None = None,
    *,
    released: ReleasedWeights | None = None,
    seed: int = 0,
) -> LoadedNetwork:
    """Build a network, load its weights strictly, deploy it, and pad and tile as declared.

    Args:
        descriptor: the network.
        scale: upscaling factor.
        path: weights file, or None for seeded random weights.
        released: the declaration of that file; its size and SHA-256 are checked again here,
            since the file may have changed since it was resolved.
        seed: seeds the random weights.

    Raises:
        UsageError: the network is not defined at this scale.
        RegistrationError: the factory or the hook does not exist, or returns a wrong type.
        WeightsError: the file is missing, altered, unsafe, or does not fit.
    """
    from esrbench.entries.building import LoadedNetwork, deploy_adapted
    from esrbench.entries.structure import parameters_sha256, state_elements

    network = build_network(descriptor, scale, seed=seed)
    data_range, layout = descriptor.data_range, None
    if path is not None and released is None:
        declared = descriptor.submitted_weights(scale)
        layout = load_file(network, path, ignore=declared.ignore if declared else ())
    elif path is not None and released is not None:
        require_intact(path, released, advice="It changed while the run began; run again.")
        facts = released.model_dump(include={"key", "prefix", "renames", "ignore"})
        if released.loaded_by is None:
            layout = load_file(network, path, **facts)
        else:
            layout = WeightsLayout(loaded_by=released.loaded_by)
        data_range = released.data_range
    held = state_elements(network)
    values = None if path is None else parameters_sha256(network)
    adapted = deploy_adapted(descriptor, network, scale)
    told = None if layout is None else layout.model_dump(mode="json")
    return LoadedNetwork(adapted, data_range, held, told, values)


def fetch_command(descriptor: ModelDescriptor) -> str:
    """Advice on how to get the released weights of a network."""
    return f"run `esrbench fetch weights {descriptor.name}`"
