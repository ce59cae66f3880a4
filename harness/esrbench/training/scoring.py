"""Validation of a network in training, by the code that scores every run."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import torch

from esrbench.entries.adaptation import adapt
from esrbench.entries.networks import build_network, deploy
from esrbench.probes.forward import PixelConversion
from esrbench.probes.quality import score_image
from esrbench.protocol import QualityDefinition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from esrbench.data.pairs import ImagePairs
    from esrbench.entries.descriptor import ModelDescriptor


@torch.inference_mode()
def mean_psnr(
    descriptor: ModelDescriptor,
    state: Mapping[str, Tensor],
    pairs: ImagePairs,
    *,
    device: torch.device,
    reparameterise: bool,
) -> float:
    """Mean RGB PSNR in dB over a data set, by the challenge's definition.

    Args:
        descriptor: the network.
        state: its weights, in the form in which it is trained.
        pairs: the images.
        device: where it runs.
        reparameterise: score the form that the ``prepare`` hook makes.

    Returns:
        dB; an image without any error counts as 100.

    Raises:
        MeasurementError: an output that is no SR image.
    """
    network = build_network(descriptor, pairs.scale)
    network.load_state_dict(dict(state))
    if reparameterise:
        network = deploy(descriptor, network)
    network = adapt(descriptor, network, pairs.scale)
    network.to(device)
    conversion = PixelConversion.of(descriptor, pairs.scale, descriptor.data_range)
    scores = []
    for index, pair in enumerate(pairs.pairs):
        lr = pairs.read_lr(index)
        sr = conversion.validate(network(conversion.to_input(lr, device)), lr.shape[:2])
        score = score_image(
            conversion.to_pixels(sr, lr),
            pairs.read_hr(index),
            scale=pairs.scale,
            definition=QualityDefinition(),
            image=pair.name,
        )
        scores.append(100.0 if score.psnr_rgb is None else score.psnr_rgb)
    return statistics.fmean(scores)
