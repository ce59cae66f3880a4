"""Recipes: how a network is trained, as data. They import no torch.

A recipe is a TOML file. The recipes that come with esrbench are in
``harness/esrbench/training/recipes``.
"""

from __future__ import annotations

import math
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from esrbench.errors import UsageError, did_you_mean, field_problems
from esrbench.protocol import Frozen, digest_of

Loss = Literal["l1", "l2", "charbonnier"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
PositiveInt = Annotated[int, Field(gt=0)]

_PACKAGE = "esrbench.training"
_FOLDER = "recipes"


class Optimiser(Frozen):
    """How gradients become steps.

    Attributes:
        name: ``adam`` (Kingma & Ba, 2015) or ``adamw`` (Loshchilov & Hutter, 2019).
        betas: decay of the first and second moment.
        weight_decay: this factor times the weights is added to the gradient; ``adamw`` subtracts
            it from the weights instead.
        clip_norm: largest norm of the gradient over all parameters, or None.
    """

    name: Literal["adam", "adamw"] = "adam"
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (
        0.9,
        0.999,
    )
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip_norm: Annotated[float, Field(gt=0)] | None = None


class LearningRate(Frozen):
    """The learning rate of every iteration of a stage.

    Attributes:
        shape: ``constant``; ``linear`` or ``cosine`` (half a period, Loshchilov & Hutter 2017)
            from ``first`` to ``last``, including both; ``step`` multiplies by ``factor`` after
            each ``every``, but never goes below ``last``.
        first: highest rate.
        last: rate of the last iteration, or lowest rate of ``step``; ``first`` if left out.
        warmup: iterations in which the rate rises in equal steps to ``first``, before the shape.
        every: length of a step in epochs, or in iterations if the stage is counted in them.
        factor: factor of ``step``.
    """

    shape: Literal["constant", "linear", "cosine", "step"]
    first: Annotated[float, Field(gt=0)]
    last: Annotated[float, Field(gt=0)] | None = None
    warmup: Annotated[int, Field(ge=0)] = 0
    every: Annotated[int, Field(gt=0)] | None = None
    factor: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _fits_its_shape(self) -> Self:
        if (self.shape == "step") != (self.every is not None and self.factor is not None):
            raise ValueError("every and factor belong to shape = 'step', which needs both")
        if self.shape in {"linear", "cosine"} and self.last is None:
            raise ValueError(f"shape = {self.shape!r} needs last")
        if self.last is not None and self.last > self.first:
            raise ValueError("last is above first")
        return self

    def at(self, step: int, total: int, *, unit: int = 1) -> float:
        """Rate of iteration ``step`` of ``total``, counted from 0.

        Args:
            step: iteration.
            total: iterations of the stage.
            unit: iterations in one unit of ``every``.
        """
        if step < self.warmup:
            return self.first * (step + 1) / self.warmup
        last = self.first if self.last is None else self.last
        step -= self.warmup
        if self.shape == "step":
            assert self.every is not None  # noqa: S101 - the validator saw to it
            assert self.factor is not None  # noqa: S101
            drops = step // (self.every * unit)
            return max(self.first * self.factor**drops, 0.0 if self.last is None else last)
        if self.shape == "constant":
            return self.first
        progress = min(1.0, step / max(1, total - self.warmup - 1))
        fall = progress if self.shape == "linear" else (1 - math.cos(math.pi * progress)) / 2
        return self.first + (last - self.first) * fall


class Distillation(Frozen):
    """Learning from a trained network in addition to the HR images.

    Attributes:
        teacher: registered name of a network of the same scale.
        weights: its weights file; the released ones, which must be cached, if left out.
        kind: ``output`` compares SR images; ``feature`` compares outputs of named modules. If their
            channels differ, the student's pass a 1x1 convolution first.
        layers: (student module, teacher module) names, for ``feature`` only.
        loss: how both are compared.
        weight: factor of this loss when it is added to the stage's own.
    """

    teacher: str
    weights: Path | None = None
    kind: Literal["output", "feature"] = "output"
    layers: tuple[tuple[str, str], ...] = ()
    loss: Loss = "l1"
    weight: Annotated[float, Field(gt=0)] = 1.0

    @model_validator(mode="after")
    def _layers_where_needed(self) -> Self:
        if (self.kind == "feature") != bool(self.layers):
            raise ValueError("layers belongs to kind = 'feature', which needs at least one pair")
        return self


class Stage(Frozen):
    """One stretch of training with its own loss, optimiser and learning rate.

    A stage starts from the result of the one before it, which are averaged weights if it had any.

    Attributes:
        loss: ``l1``, ``l2`` (mean absolute or squared error) or ``charbonnier``
            (sqrt(error^2 + 1e-6), mean), on values in [0, 1].
        epochs: length; an epoch is one random crop of every image, incomplete batches left out.
        iterations: length in steps instead.
        optimiser: how gradients become steps; starts from zero.
        learning_rate: its course over the stage.
        ema_decay: decay, for each step, of the exponential moving average of the weights, which
            becomes the stage's result; min(decay, (1 + n) / (10 + n)) at step n. None for no
            average.
        distillation: a teacher, or None.
        hr_patch: replaces the recipe's ``hr_patch``.
        batch: replaces the recipe's ``batch``.
    """

    loss: Loss = "l1"
    epochs: PositiveInt | None = None
    iterations: PositiveInt | None = None
    optimiser: Optimiser = Optimiser()
    learning_rate: LearningRate
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    distillation: Distillation | None = None
    hr_patch: PositiveInt | None = None
    batch: PositiveInt | None = None

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.iterations is None):
            raise ValueError("give either epochs or iterations")
        return self

    def steps(self, epoch_steps: int) -> int:
        """Length in iterations, if an epoch has ``epoch_steps`` of them."""
        if self.iterations is not None:
            return self.iterations
        assert self.epochs is not None  # noqa: S101 - the validator saw to it
        return self.epochs * epoch_steps

    def rate_at(self, step: int, epoch_steps: int) -> float:
        """Learning rate of iteration ``step``, counted from 0 in this stage."""
        unit = 1 if self.epochs is None else epoch_steps
        return self.learning_rate.at(step, self.steps(epoch_steps), unit=unit)


class Recipe(Frozen):
    """Everything that decides the trained weights, apart from network, data and seed.

    Attributes:
        name: identifier.
        summary: one line.
        ours: choices that the recipe's source leaves open, one sentence each.
        hr_patch: side of the HR crops in pixels; larger in a later stage is common.
        batch: crops in each step, over all devices.
        symmetries: ``all`` turns crops by quarters and mirrors them (8 ways); ``none`` does not.
        start: ``random`` leaves the network as it is built; ``least-squares`` solves its last
            convolution for the features of the random ones.
        precision: as Lightning Fabric names it; a command may choose another.
        channels_last: keep tensors in NHWC order, which is faster on most devices.
        reparameterise: validate in the form that the entry's ``prepare`` hook makes. The form in
            which it was trained is always the one that is saved.
        export: dtype of the saved weights.
        log_every: iterations from one line of the log to the next.
        validate_every: iterations from one validation to the next.
        checkpoint_every: iterations from one checkpoint to the next.
        stages: run one after the other.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    summary: str
    ours: tuple[str, ...] = ()
    hr_patch: PositiveInt
    batch: PositiveInt
    symmetries: Literal["all", "none"] = "all"
    start: Literal["random", "least-squares"] = "random"
    precision: Precision = "32-true"
    channels_last: bool = True
    reparameterise: bool = True
    export: Literal["float32", "float16"] = "float32"
    log_every: PositiveInt = 100
    validate_every: PositiveInt
    checkpoint_every: PositiveInt
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]

    def digest(self) -> str:
        """SHA-256 (hex) over all fields except descriptions."""
        return digest_of(self.model_copy(update={"name": "x", "summary": "", "ours": ()}))

    def crops(self, stage: int, scale: int) -> tuple[int, int]:
        """Side of the LR crops of a stage (counted from 0) in pixels, and crops in each step.

        Raises:
            UsageError: ``hr_patch`` is not a multiple of the scale.
        """
        hr_patch = self.stages[stage].hr_patch or self.hr_patch
        if hr_patch % scale:
            message = f"recipe {self.name}: hr_patch = {hr_patch} is not a multiple of x{scale}"
            advice = f"Use {max(1, hr_patch // scale) * scale}."
            raise UsageError(message, advice=advice)
        return hr_patch // scale, self.stages[stage].batch or self.batch


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that ship with esrbench, sorted."""
    folder = resources.files(_PACKAGE) / _FOLDER
    names = (Path(file.name) for file in folder.iterdir())
    return tuple(sorted(name.stem for name in names if name.suffix == ".toml"))


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Read a recipe.

    Args:
        name_or_path: a shipped name, or the path of a TOML file.

    Raises:
        UsageError: there is no such recipe, or it is not TOML, or has an unknown key or a value
            out of range; every problem is named.
    """
    text = str(name_or_path)
    if text in recipe_names():
        content = (resources.files(_PACKAGE) / _FOLDER / f"{text}.toml").read_bytes()
    else:
        path = Path(text).expanduser()
        if path.suffix != ".toml" and not path.is_file():
            known = ", ".join(recipe_names())
            hint = did_you_mean(text, recipe_names(), 1)
            message = f"there is no recipe {text!r}"
            raise UsageError(message, advice=f"{hint}Known: {known}; or give a TOML file.")
        try:
            content = path.read_bytes()
        except OSError as error:
            message = f"recipe {path}: cannot be read: {error.strerror}"
            raise UsageError(message, advice="Check the path.") from error
    try:
        return Recipe.model_validate(tomllib.loads(content.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"recipe {text}: not valid TOML: {error}"
        raise UsageError(message, advice="See the shipped recipes for the layout.") from error
    except ValidationError as error:
        message = f"recipe {text}: {'; '.join(field_problems(error, 'recipe'))}"
        raise UsageError(message, advice="`esrbench help training` explains every key.") from error
