"""``esrbench train``: train a network by a recipe."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from esrbench.cli.console import JsonOption, messages, open_registry, print_json, progress_bar
from esrbench.cli.options import ScaleOption

if TYPE_CHECKING:
    from esrbench.training.loop import TrainingProgress
    from esrbench.training.trainer import Trained


def train_command(
    name: Annotated[str, typer.Argument(help="Network to train.", metavar="MODEL")],
    recipe: Annotated[str, typer.Option(help="Shipped recipe (aidn, quick) or a TOML file.")],
    data: Annotated[
        str,
        typer.Option(
            help=(
                "Folders of HR images, with commas: NAME=FOLDER, FOLDER, or NAME in "
                "$ESRBENCH_TRAINING_DATA."
            )
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for weights, checkpoint and log.",
            show_default="trained/MODEL-xSCALE-RECIPE",
            file_okay=False,
        ),
    ] = None,
    scale: ScaleOption = 4,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the checkpoint in the output folder.")
    ] = False,
    start_from: Annotated[
        Path | None,
        typer.Option(help="Weights to start from, instead of the start that the recipe names."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the initial weights and of the crops.")
    ] = 0,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Device to train on.")
    ] = "auto",
    devices: Annotated[
        int, typer.Option(min=1, help="Number of devices; they share every batch.")
    ] = 1,
    precision: Annotated[
        Literal["32-true", "bf16-mixed", "16-mixed"] | None,
        typer.Option(help="Arithmetic of forwards.", show_default="the recipe's"),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            min=0, help="Processes per device that cut crops; 0 cuts them in the training process."
        ),
    ] = 2,
    validate: Annotated[
        str,
        typer.Option(help="Data set to score during training, as for `esrbench run`; or `none`."),
    ] = "demo",
    as_json: JsonOption = False,
) -> None:
    """Train by a recipe; what comes out runs as `esrbench run MODEL --weights FILE`."""
    from esrbench.data.unscored import parse_sources
    from esrbench.training.images import open_images
    from esrbench.training.recipe import load_recipe
    from esrbench.training.trainer import train

    descriptor = open_registry().get(name)
    descriptor.require_scale(scale)
    chosen = load_recipe(recipe)
    folder = output or Path("trained") / f"{name}-x{scale}-{chosen.name}"
    sources = parse_sources(data)
    with progress_bar() as bar:
        decoding = bar.add_task("decoding", total=None)
        images = open_images(
            sources,
            scale,
            progress=lambda done, total: bar.update(decoding, completed=done, total=total),
        )
        bar.remove_task(decoding)
        training = bar.add_task(f"{name} x{scale}", total=None)

        def show(progress: TrainingProgress) -> None:
            bar.update(training, completed=progress.iteration, total=progress.total)
            if progress.row is not None and os.environ.get("LOCAL_RANK", "0") == "0":
                bar.console.print(_line(progress), markup=False)

        trained = train(
            descriptor,
            chosen,
            images,
            folder,
            seed=seed,
            resume=resume,
            initial=start_from,
            device=device,
            devices=devices,
            precision=precision,
            workers=workers,
            validate=None if validate == "none" else validate,
            progress=show,
        )
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return  # only the first of several devices prints
    if as_json:
        print_json(
            {
                "last": str(trained.last),
                "best": None if trained.best is None else str(trained.best),
                "psnr_rgb": trained.psnr,
                "iterations": trained.iterations,
                "compared_with": trained.compared,
            }
        )
    else:
        _report(name, trained)


def _line(progress: TrainingProgress) -> str:
    """The text that a terminal shows for a line of the log."""
    row = progress.row
    assert row is not None  # noqa: S101 - only called with one
    scored = "" if row.psnr is None else f", PSNR {row.psnr:.3f} dB"
    left = timedelta(seconds=round(row.seconds / row.iteration * (progress.total - row.iteration)))
    return (
        f"{row.iteration}/{progress.total}: stage {row.stage}, rate {row.learning_rate:.2e}, "
        f"loss {row.loss:.5f}{scored}, ETA {left}"
    )


def _report(name: str, trained: Trained) -> None:
    say = messages().print
    known = ", ".join(trained.compared)
    say(f"None of the training images is, pixel by pixel, in {known}.", markup=False)
    chosen = trained.last if trained.best is None else trained.best
    if trained.psnr is not None:
        say(f"Best PSNR in validation: {trained.psnr:.3f} dB (RGB).", markup=False)
    say(f"Next: esrbench run {name} --weights {chosen}", markup=False)
