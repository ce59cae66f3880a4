"""Objectives of training: losses on pixels and on a teacher's output; and validation."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from esrbench.entries.adaptation import UnitRange, adapt
from esrbench.entries.building import deploy
from esrbench.entries.networks import build_network, resolve_weights
from esrbench.entries.registry import default_registry
from esrbench.errors import UsageError
from esrbench.probes.forward import PixelConversion
from esrbench.probes.quality import score_network
from esrbench.protocol import QualityDefinition
from esrbench.runs.in_process import load_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from esrbench.data.pairs import ImagePairs
    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.training.recipe import Distillation, Loss

_CHARBONNIER_SQUARE = 1e-6  # (1e-3)^2, as LapSRN (Lai et al., CVPR 2017) takes it


def pixel_loss(kind: Loss, found: Tensor, wanted: Tensor) -> Tensor:
    """Mean difference of two float tensors of one shape.

    Returns:
        A scalar: mean absolute error (``l1``), mean squared error (``l2``), or the mean of
        sqrt(error^2 + 1e-6) (``charbonnier``).
    """
    if kind == "l1":
        return functional.l1_loss(found, wanted)
    if kind == "l2":
        return functional.mse_loss(found, wanted)
    return (found - wanted).square().add(_CHARBONNIER_SQUARE).sqrt().mean()


class Teacher(nn.Module):
    """A trained network whose output or features on the same LR crops a student learns.

    Its parameters are frozen. The 1x1 convolutions that match channels are trained with the
    student, but are not part of it.
    """

    def __init__(
        self, distillation: Distillation, student: nn.Module, scale: int, lr: Tensor
    ) -> None:
        """Load the teacher, find the layers to compare, and make the 1x1 convolutions.

        Args:
            distillation: the teacher, and what is compared.
            student: the network that is trained, unwrapped.
            scale: upscaling factor.
            lr: a small batch of LR crops (N, C, h, w) on the student's device, for one forward of
                both networks.

        Raises:
            UsageError: unknown teacher or scale, a teacher without trained weights, or layers
                that do not exist or do not fit.
            WeightsError: its weights do not fit.
        """
        super().__init__()
        self.distillation = distillation
        weights = distillation.weights or _released(distillation.teacher, scale)
        network = load_model(distillation.teacher, scale, weights)
        inner = network.network if isinstance(network, UnitRange) else network
        self._seen: dict[str, Tensor] = {}
        for index, (ours, theirs) in enumerate(distillation.layers):
            self._watch(student, ours, f"student{index}")
            self._watch(inner, theirs, f"teacher{index}")
        # It is in a list, so that it is not trained, saved or counted with this module.
        self._network = [network.requires_grad_(requires_grad=False).to(lr.device)]
        self.matching = nn.ModuleList()
        if distillation.kind == "output":
            return
        training = student.training
        student.eval()  # its buffers stay as they are
        with torch.no_grad():
            student(lr)
            self._network[0](lr)
        student.train(training)
        for index in range(len(distillation.layers)):
            own, other = (features.shape[1] for features in self._pair(index))
            self.matching.append(nn.Identity() if own == other else nn.Conv2d(own, other, 1))

    def forward(self, lr: Tensor, sr: Tensor) -> Tensor:
        """Loss of a student that has just seen ``lr`` and made ``sr`` (both in [0, 1])."""
        with torch.no_grad():
            wanted = self._network[0](lr)
        if self.distillation.kind == "output":
            loss = pixel_loss(self.distillation.loss, sr, wanted.float())
        else:
            pairs = [self._pair(index) for index in range(len(self.matching))]
            losses = [
                pixel_loss(self.distillation.loss, match(ours).float(), theirs.float())
                for match, (ours, theirs) in zip(self.matching, pairs, strict=True)
            ]
            loss = torch.stack(losses).mean()
        return self.distillation.weight * loss

    def _pair(self, index: int) -> tuple[Tensor, Tensor]:
        ours, theirs = self._seen[f"student{index}"], self._seen[f"teacher{index}"]
        if ours.shape[2:] != theirs.shape[2:]:
            names = self.distillation.layers[index]
            message = f"distillation: {names[0]} returns {tuple(ours.shape[2:])}, "
            message += f"{names[1]} of the teacher {tuple(theirs.shape[2:])}"
            raise UsageError(message, advice="Pair layers that work at one resolution.")
        return ours, theirs

    def _watch(self, network: nn.Module, layer: str, key: str) -> None:
        try:
            module = network.get_submodule(layer)
        except AttributeError:
            known = ", ".join(name for name, _ in network.named_children())
            message = f"distillation: {type(network).__name__} has no layer {layer!r}"
            raise UsageError(message, advice=f"Its outermost layers are {known}.") from None

        def keep(_: nn.Module, __: object, output: Tensor) -> None:
            self._seen[key] = output

        module.register_forward_hook(keep)


def _released(teacher: str, scale: int) -> str:
    """``auto`` if the weights released for the teacher are cached; otherwise an error."""
    descriptor = default_registry().get(teacher)
    if resolve_weights(descriptor, scale).identity.source != "released":
        message = f"distillation: the weights released for {teacher} x{scale} are not cached"
        advice = f"Run `esrbench fetch weights {teacher}`, or give distillation.weights a file."
        raise UsageError(message, advice=advice)
    return "auto"


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
        MeasurementError: an output is not an SR image.
    """
    network = build_network(descriptor, pairs.scale)
    network.load_state_dict(dict(state))
    if reparameterise:
        network = deploy(descriptor, network)
    network = adapt(descriptor, network, pairs.scale)
    network.to(device)
    conversion = PixelConversion.of(descriptor, pairs.scale, descriptor.data_range)
    scores = score_network(network, conversion, pairs, QualityDefinition())
    return statistics.fmean(100.0 if each.psnr_rgb is None else each.psnr_rgb for each in scores)
