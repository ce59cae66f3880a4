"""``esrbench codabench``: a challenge as a competition on Codabench."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from esrbench.cli.console import JsonOption, print_json, print_notices, results
from esrbench.cli.suites import images_bar
from esrbench.plaintext import line

Program = Literal["ingestion", "scoring"]


def codabench_command(
    challenge: Annotated[
        Path, typer.Argument(help="challenge.toml; with --run, the worker's folder.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Zip file to write.", dir_okay=False),
    ] = Path("bundle.zip"),
    docker_image: Annotated[
        str | None,
        typer.Option(
            help="Docker image that has esrbench installed.",
            show_default="docker_image in [codabench]",
        ),
    ] = None,
    program: Annotated[
        Program | None,
        typer.Option("--run", help="Run a program of the bundle, as Codabench's worker does."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a challenge as a bundle for Codabench, or run one of the bundle's programs."""
    if program is not None:
        run_program(program, challenge, as_json=as_json)
        return
    from esrbench.challenge.codabench.bundle import write_bundle
    from esrbench.challenge.file import read_challenge

    read = read_challenge(challenge)
    if docker_image is not None:
        table = read.codabench.model_copy(update={"docker_image": docker_image})
        read = read.model_copy(update={"codabench": table})
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    with images_bar() as on_image:
        bundle = write_bundle(challenge, read, output, today=today, on_image=on_image)
    print_notices(bundle.notices)
    if as_json:
        document = bundle.competition.model_dump(mode="json", exclude_none=True)
        print_json({"path": str(bundle.path), "competition": document})
        return
    for phase in bundle.competition.phases:
        tasks = ", ".join(bundle.competition.tasks[index].name for index in phase.tasks)
        until = f"{phase.start} to {phase.end or 'no end'}"
        results().print(f"{phase.name}, {until}: {tasks}", markup=False, soft_wrap=True)
    said = f"{bundle.path} is ready: upload it on Codabench under Management, Competitions"
    results().print(said, markup=False, soft_wrap=True)


def run_program(program: Program, folder: Path, *, as_json: bool) -> None:
    """Run the program that Codabench's worker asks for."""
    from esrbench.challenge.codabench.programs import ingest, score

    if program == "ingestion":
        for absent in ingest(folder):
            results().print(f"absent: {line(absent)}", markup=False, soft_wrap=True)
        results().print("measured; the scoring program is next")
        return
    scores = score(folder)
    if as_json:
        print_json(scores)
        return
    for key, value in scores.items():
        results().print(f"{key}: {value:g}", markup=False)
