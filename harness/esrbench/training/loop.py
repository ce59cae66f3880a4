"""The loop of a training and its state.

A training on one CPU that is killed at any moment and resumed gives the same bits as one that ran
without interruption. Crops depend only on their number, and the checkpoint holds all else.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.swa_utils import AveragedModel

from esrbench.entries.building import code_sha256
from esrbench.entries.networks import build_network
from esrbench.entries.targets import resolve_factory
from esrbench.environment import package_version
from esrbench.errors import MeasurementError
from esrbench.training import output
from esrbench.training.objectives import Teacher, mean_psnr, pixel_loss
from esrbench.training.patches import make_loader
from esrbench.training.start import solve_last_convolution
from esrbench.version import __version__
from esrbench.weights.layout import load_file
from esrbench.worker.reading import without_pickle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from lightning_fabric import Fabric
    from torch import Tensor, nn

    from esrbench.data.pairs import ImagePairs
    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.training.patches import Patches
    from esrbench.training.recipe import Precision, Recipe, Stage

_START_BATCHES = 16  # crops for the least-squares start: this many batches
_AVERAGE_WARMUP = 10
_RECORDED_PACKAGES = ("torch", "numpy", "lightning-fabric", "opencv-python-headless")


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Progress of a training.

    Attributes:
        iteration: steps done, over all stages.
        total: steps in all.
        row: last row of the log, if any.
    """

    iteration: int
    total: int
    row: output.LogRow | None


@dataclass(kw_only=True)
class Training:
    """The state of one training; see ``train``."""

    fabric: Fabric
    descriptor: ModelDescriptor
    recipe: Recipe
    stage_patches: tuple[Patches, ...]
    folder: Path
    pairs: ImagePairs | None
    workers: int
    precision: Precision
    initial: Path | None
    stage: int = 0
    step: int = 0  # of this stage
    best: float | None = None
    average: AveragedModel | None = None
    teacher: Teacher | None = None
    guide: nn.Module | None = None  # the teacher as Fabric has set it up
    resumed: dict[str, Any] | None = None
    earlier: tuple[float, float] = (0.0, 0.0)  # wall-clock and CPU seconds before a resume

    def __post_init__(self) -> None:
        """Everything that decides the trained weights, by name; equal when it is resumed."""
        self.started = time.monotonic(), time.process_time()
        self.lengths = [
            stage.steps(crops.epoch_steps)
            for stage, crops in zip(self.recipe.stages, self.stage_patches, strict=True)
        ]
        self.total = sum(self.lengths)
        network = build_network(self.descriptor, self.patches.images.scale)
        maker = resolve_factory(self.descriptor.factory, folder=self.descriptor.folder)
        self.identity = {
            "model": self.descriptor.name,
            "scale": str(self.patches.images.scale),
            "options": str(sorted(self.descriptor.options.items()))
            + str(self.descriptor.arguments or ""),
            "recipe": self.recipe.digest(),
            "data": self.patches.images.digest,
            "seed": str(self.patches.seed),
            "precision": self.precision,
            "devices": str(self.fabric.world_size),
            "code": code_sha256(network, maker) or "without source files",
            "validation": "none" if self.pairs is None else self.pairs.identity().digest,
        }
        self.origin: dict[str, Any] | None = None  # metadata of ``initial``
        if self.initial is not None:
            self.origin = output.origin_of(self.initial)
            self.identity["start"] = self.origin["sha256"]

    @property
    def patches(self) -> Patches:
        """Crops of this stage; of the last one at the end."""
        return self.stage_patches[min(self.stage, len(self.lengths) - 1)]

    @property
    def iteration(self) -> int:
        """Steps done, over all stages."""
        return sum(self.lengths[: self.stage]) + self.step

    def begin(self, *, resume: bool) -> None:
        """Build the network in its initial state, or in that of a checkpoint."""
        torch.manual_seed(self.patches.seed)
        self.raw = build_network(
            self.descriptor, self.patches.images.scale, seed=self.patches.seed
        ).train()
        if resume:
            state = output.load_checkpoint(self.folder, self.identity)
            self.stage, self.step = state["stage"], state["step"]
            self.best, self.earlier = state["best"], tuple(state["seconds"])
            self.origin = state.get("origin")
            self.raw.load_state_dict(state["network"])
            self.resumed = state
        elif self.initial is not None:
            with without_pickle(self.initial) as (path, _):
                load_file(self.raw, path or self.initial)
        elif self.recipe.start == "least-squares":
            solve_last_convolution(self.raw, self._start_batches(), self.patches.images.scale)
        if self.recipe.channels_last:
            self.raw.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks it
        if self.fabric.is_global_zero:
            output.begin_log(self.folder / output.LOG, self.iteration)
        self.network = self.fabric.setup_module(self.raw)

    def run(self, progress: Callable[[TrainingProgress], None]) -> None:
        """Run what is left of every stage and keep the result."""
        while self.stage < len(self.recipe.stages):
            self._run_stage(self.recipe.stages[self.stage], progress)
            if self.average is not None:
                self.raw.load_state_dict(self.average.module.state_dict())
                self.average = None
            self.stage, self.step = self.stage + 1, 0
        if self.resumed is None or self.resumed["stage"] < len(self.recipe.stages):
            self._keep({})

    def _run_stage(self, stage: Stage, progress: Callable[[TrainingProgress], None]) -> None:
        parameters = self._prepare_stage(stage)
        optimiser: Any = self.fabric.setup_optimizers(self._optimiser(stage, parameters))
        self._restore(optimiser)
        recipe, length = self.recipe, self.lengths[self.stage]
        losses: list[Tensor] = []
        batches = self._batches(length)
        while self.step < length:
            rate = stage.rate_at(self.step, self.patches.epoch_steps)
            for group in optimiser.param_groups:
                group["lr"] = rate
            loss = self._loss(stage, *next(batches))
            optimiser.zero_grad()
            self.fabric.backward(loss)
            if stage.optimiser.clip_norm is not None:
                self.fabric.clip_gradients(
                    self.network, optimiser, max_norm=stage.optimiser.clip_norm
                )
            optimiser.step()
            if self.average is not None:
                self.average.update_parameters(self.raw)
            losses.append(loss.detach())
            self.step += 1
            done, last = self.iteration, self.step == length
            log, score, keep = (
                last or done % every == 0
                for every in (recipe.log_every, recipe.validate_every, recipe.checkpoint_every)
            )
            row = None
            if log or score or keep:
                mean = self._mean_loss(losses)
                losses.clear()
                psnr = self._validate() if score else None
                row = output.LogRow(done, self.stage + 1, rate, mean, psnr, self._seconds()[0])
                if self.fabric.is_global_zero:
                    output.add_to_log(self.folder / output.LOG, row)
                if keep:
                    self._keep(optimiser.state_dict())
            progress(TrainingProgress(done, self.total, row))

    def _prepare_stage(self, stage: Stage) -> list[nn.Parameter]:
        """Set up average and teacher of a stage; return the parameters that it trains."""
        if stage.ema_decay is not None:
            self.average = _average_of(self.raw, stage.ema_decay)
        parameters = list(self.raw.parameters())
        self.teacher = self.guide = None
        if stage.distillation is not None:
            lr = next(self._start_batches())[0].to(self.fabric.device)
            teacher = Teacher(stage.distillation, self.raw, self.patches.images.scale, lr)
            self.teacher = self.guide = teacher
            if any(True for _ in teacher.parameters()):
                self.guide = self.fabric.setup_module(teacher)
                parameters += list(teacher.parameters())
        return parameters

    def _optimiser(self, stage: Stage, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        settings = stage.optimiser
        kind = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
        return kind(
            parameters,
            lr=stage.learning_rate.first,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            # A fused step cannot be clipped under a gradient scaler.
            fused=self.precision != "16-mixed",
        )

    def _restore(self, optimiser: Any) -> None:
        """Restore the state of a checkpoint that was made within this stage."""
        state = self.resumed
        if state is None or state["stage"] != self.stage:
            return
        if self.step:
            optimiser.load_state_dict(state["optimiser"])
            self.fabric.strategy.precision.load_state_dict(state["precision"])
        if self.average is not None and state["average"] is not None:
            self.average.module.load_state_dict(state["average"]["network"])
            self.average.n_averaged.fill_(1 + state["average"]["updates"])
        if self.teacher is not None and state["teacher"] is not None:
            self.teacher.load_state_dict(state["teacher"])
        torch.set_rng_state(state["random"])
        if state.get("random_cuda") is not None and self.fabric.device.type == "cuda":
            torch.cuda.set_rng_state(state["random_cuda"], self.fabric.device)

    def _batches(self, length: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets of the rest of a stage, on the device, in [0, 1]."""
        device = self.fabric.device
        loader = make_loader(
            self.patches,
            first=self.step,
            last=length,
            workers=self.workers,
            rank=self.fabric.global_rank,
            devices=self.fabric.world_size,
            pin=device.type == "cuda",
        )
        layout = torch.channels_last if self.recipe.channels_last else torch.contiguous_format
        for pair in loader:
            inputs, targets = (
                side.to(device, non_blocking=True).to(torch.float32, memory_format=layout).div_(255)
                for side in pair
            )
            yield inputs, targets

    def _start_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The first batches as the network takes them, on the CPU."""
        level = self.descriptor.data_range / 255
        for step in range(_START_BATCHES):
            first, batch = step * self.patches.batch, self.patches.batch
            inputs, targets = self.patches.__getitems__(range(first, first + batch))
            yield inputs.float() * level, targets.float() * level

    def _loss(self, stage: Stage, inputs: Tensor, targets: Tensor) -> Tensor:
        most = self.descriptor.data_range
        sr: Tensor = self.network(inputs if most == 1 else inputs * most).float()
        sr = sr if most == 1 else sr / most
        loss = pixel_loss(stage.loss, sr, targets)
        return loss if self.guide is None else loss + self.guide(inputs, sr)

    def _mean_loss(self, losses: Sequence[Tensor]) -> float:
        reduced: Any = self.fabric.all_reduce(torch.stack(list(losses)).mean(), reduce_op="mean")
        mean = float(reduced)
        if not math.isfinite(mean):
            message = f"the loss became {mean} by iteration {self.iteration}"
            advice = "Lower the learning rate, add warmup, or set optimiser.clip_norm."
            raise MeasurementError(message, advice=advice)
        return mean

    def _result(self) -> dict[str, Tensor]:
        """The weights that would be saved now."""
        network = self.raw if self.average is None else self.average.module
        dtype = getattr(torch, self.recipe.export)
        return {
            name: tensor.to(dtype) if tensor.is_floating_point() else tensor
            for name, tensor in network.state_dict().items()
        }

    def _validate(self) -> float | None:
        """Score the weights that would be saved now; keep them if they are the best."""
        if self.pairs is None:
            return None
        state = self._result()
        psnr = mean_psnr(
            self.descriptor,
            state,
            self.pairs,
            device=self.fabric.device,
            reparameterise=self.recipe.reparameterise,
        )
        if self.best is None or psnr > self.best:
            self.best = psnr
            if self.fabric.is_global_zero:
                output.save_weights(self.folder / output.BEST, state, self._provenance(psnr))
        return psnr

    def _keep(self, optimiser: dict[str, Any]) -> None:
        """Save weights and checkpoint; only the first device does."""
        if not self.fabric.is_global_zero:
            return
        output.save_weights(self.folder / output.LAST, self._result(), self._provenance(None))
        device, average, teacher = self.fabric.device, self.average, self.teacher
        state = {
            "stage": self.stage,
            "step": self.step,
            "best": self.best,
            "origin": self.origin,
            "seconds": list(self._seconds()),
            "network": self.raw.state_dict(),
            "average": None
            if average is None
            else {"network": average.module.state_dict(), "updates": int(average.n_averaged) - 1},
            "teacher": None if teacher is None else teacher.state_dict(),
            "optimiser": optimiser,
            "precision": self.fabric.strategy.precision.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        }
        output.save_checkpoint(self.folder, self.identity, state)

    def _provenance(self, psnr: float | None) -> dict[str, Any]:
        """Metadata of a weights file."""
        identity, (elapsed, cpu) = self.identity, self._seconds()
        steps = [*self.lengths[: self.stage], self.step]
        crops = sum(
            done * patches.batch for done, patches in zip(steps, self.stage_patches, strict=False)
        )
        images = Counter(image.name.partition("/")[0] for image in self.patches.images.images)
        metadata: dict[str, Any] = {
            "format": "esrbench training 1",
            **{key: identity[key] for key in ("model", "scale", "seed", "precision", "devices")},
            "code_sha256": identity["code"],
            "recipe": self.recipe.model_dump(mode="json"),
            "recipe_sha256": identity["recipe"],
            "data": {"images": dict(images), "sha256": identity["data"]},
            "iterations": str(self.iteration),
            "patches": str(crops),
            "seconds": f"{elapsed:.1f}",
            "cpu_seconds": f"{cpu:.1f}",
            "versions": {
                "esrbench": __version__,
                **{name: package_version(name) for name in _RECORDED_PACKAGES},
            },
        }
        if self.origin is not None:
            metadata["start"] = self.origin
        if self.pairs is not None and psnr is not None:
            metadata["validation"] = {
                "data": self.pairs.title,
                "sha256": identity["validation"],
                "psnr_rgb": round(psnr, 4),
            }
        return metadata

    def _seconds(self) -> tuple[float, float]:
        """Wall-clock and CPU seconds of this training, earlier processes included."""
        start, cpu = self.started
        return (
            self.earlier[0] + time.monotonic() - start,
            self.earlier[1] + time.process_time() - cpu,
        )


def _average_of(network: nn.Module, most: float) -> AveragedModel:
    """An exponential moving average of weights, whose decay rises to ``most``; buffers are copied.

    Step n keeps min(most, (1 + n) / (10 + n)) of the average, so early weights count little.
    """

    def follow(averaged: Any, followed: Any, _: object) -> None:
        step = int(average.n_averaged)  # on the CPU, unlike the argument: the GPU goes on
        decay = min(most, (1 + step) / (_AVERAGE_WARMUP + step))
        torch._foreach_lerp_(averaged, followed, 1 - decay)  # one kernel instead of hundreds

    average = AveragedModel(network, multi_avg_fn=follow)
    average.n_averaged.fill_(1)  # the initial network counts as the first step
    return average
