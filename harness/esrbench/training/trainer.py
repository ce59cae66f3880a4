"""Training by a recipe: checks all settings, then runs the loop."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.data.datasets import open_dataset
from esrbench.entries.descriptor import ModelDescriptor
from esrbench.entries.registry import default_registry
from esrbench.environment import MALLOC_SETTINGS
from esrbench.errors import UsageError
from esrbench.probes.forward import PixelConversion
from esrbench.training.images import refuse_scored_images
from esrbench.training.loop import Training
from esrbench.training.output import BEST, CHECKPOINT, LAST
from esrbench.training.patches import Patches
from esrbench.training.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_fabric import Fabric

    from esrbench.training.images import TrainingImages
    from esrbench.training.loop import TrainingProgress
    from esrbench.training.recipe import Precision


@dataclass(frozen=True, slots=True)
class Trained:
    """The results of a training.

    Attributes:
        last: weights at its end.
        best: weights with the highest PSNR in validation, or None without validation.
        psnr: that PSNR in dB, or None.
        iterations: steps in all.
        compared: sets that the training images were compared with.
    """

    last: Path
    best: Path | None
    psnr: float | None
    iterations: int
    compared: tuple[str, ...]


def train(
    model: str | ModelDescriptor,
    recipe: str | Path | Recipe,
    images: TrainingImages,
    output: str | os.PathLike[str],
    *,
    seed: int = 0,
    resume: bool = False,
    initial: str | os.PathLike[str] | None = None,
    device: str = "auto",
    devices: int = 1,
    precision: Precision | None = None,
    workers: int = 0,
    validate: str | Path | None = "demo",
    progress: Callable[[TrainingProgress], None] | None = None,
) -> Trained:
    """Train a network.

    Args:
        model: registered name or descriptor.
        recipe: shipped name, TOML file, or the recipe itself.
        images: from ``open_images``; their scale is the network's.
        output: folder for weights, checkpoint and log.
        seed: seed of the initial weights and of the crops.
        resume: continue from the checkpoint in ``output``.
        initial: weights file to start from, instead of the start that the recipe names.
        device: ``cpu``, ``cuda`` or ``auto``.
        devices: number of devices; they share every batch.
        precision: replaces the recipe's ``precision``.
        workers: processes that cut crops, for each device.
        validate: data set as ``esrbench run`` takes it, or None.
        progress: called after every step.

    Raises:
        UsageError: unknown names, values that do not fit, a folder that already holds a
            training, or the ``train`` extra is missing.
        DataError: images that are too small, damaged, or scored.
        WeightsError: ``initial`` cannot be read or does not fit.
        RecordError: the checkpoint is damaged or nothing can be written.
        MeasurementError: the loss became infinite or NaN.
    """
    descriptor = model if isinstance(model, ModelDescriptor) else default_registry().get(model)
    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    descriptor.require_scale(images.scale)
    if descriptor.role == "floor":
        message = f"{descriptor.name} has no parameters to train"
        raise UsageError(message, advice="Name a network.")
    crops = [chosen.crops(stage, images.scale) for stage in range(len(chosen.stages))]
    for lr_patch, batch in crops:
        if lr_patch < descriptor.min_lr_size:
            message = f"recipe {chosen.name}: crops of {lr_patch} LR pixels, {descriptor.name} "
            message += f"needs {descriptor.min_lr_size}"
            advice = f"Use hr_patch = {descriptor.min_lr_size * images.scale} or more."
            raise UsageError(message, advice=advice)
        if batch % devices:
            message = f"recipe {chosen.name}: batches of {batch} do not divide by {devices}"
            raise UsageError(message, advice="Choose another number of devices.")
    images.require_patch(max(lr_patch for lr_patch, _ in crops) * images.scale)
    folder = Path(output)
    if not resume and (folder / CHECKPOINT).exists():
        message = f"{folder} holds a training already"
        raise UsageError(message, advice="Add --resume to go on with it, or name another folder.")
    pairs = None if validate is None else open_dataset(validate, images.scale)
    compared = refuse_scored_images(images, () if pairs is None else (pairs,))
    fabric = _launch(device, devices, precision or chosen.precision)
    training = Training(
        fabric=fabric,
        descriptor=descriptor,
        recipe=chosen,
        stage_patches=tuple(
            Patches(
                images=images,
                lr_patch=lr_patch,
                batch=batch,
                seed=seed,
                symmetric=chosen.symmetries == "all",
                conversion=PixelConversion.of(descriptor, images.scale, descriptor.data_range),
                stage=stage,
            )
            for stage, (lr_patch, batch) in enumerate(crops)
        ),
        folder=folder,
        pairs=pairs,
        workers=workers,
        precision=precision or chosen.precision,
        initial=None if initial is None else Path(initial),
    )
    training.begin(resume=resume)
    training.run(progress or (lambda _: None))
    return Trained(
        last=folder / LAST,
        best=folder / BEST if training.best is not None else None,
        psnr=training.best,
        iterations=training.total,
        compared=compared,
    )


def _launch(device: str, devices: int, precision: Precision) -> Fabric:
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    except ModuleNotFoundError as error:
        message = "training needs Lightning Fabric, which is not installed"
        raise UsageError(message, advice="Install it: pip install 'esrbench[train]'.") from error
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    _keep_freed_memory()
    try:
        fabric = Fabric(
            accelerator=device,
            devices=devices,
            strategy="ddp" if devices > 1 else "auto",
            precision=precision,
            # Use only devices of this machine, even if it belongs to a cluster.
            plugins=LightningEnvironment(),
        )
    except (MisconfigurationException, RuntimeError) as error:
        message = f"cannot train on {devices} x {device}: {error}"
        raise UsageError(message, advice="Choose a device that this machine has.") from error
    fabric.launch()
    return fabric


def _keep_freed_memory() -> None:
    """Let glibc keep freed tensors, as ``MALLOC_SETTINGS`` does for workers."""
    if sys.platform != "linux" or any(name in os.environ for name in MALLOC_SETTINGS):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(-4, 0)  # M_MMAP_MAX
    mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
