from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest
import typer

from esrbench.cli.run import run_command
from esrbench.entries.registry import default_registry
from esrbench.protocol import ForwardPolicy, LatencyDesign, Protocol
from esrbench.reports.comparing import build_comparison, protocol_options
from esrbench.reports.comparison_sources import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable

    from esrbench.records import RunRecord

OTHER = Protocol(
    device="cuda",
    forward=ForwardPolicy(
        precision="bf16", channels_last=True, compiled=True, cudnn_benchmark=True
    ),
    threads=3,
    seed=5,
    counted_input=(64, 96),
    latency=LatencyDesign(
        warmup_rounds=4,
        min_rounds=2,
        max_rounds=9,
        target_half_width=0.05,
        budget_seconds=1.5,
        processes=5,
    ),
)
"""Differs from the default wherever an option can make it differ."""

PARSED = {
    "device": "cuda",
    "precision": "bf16",
    "channels_last": True,
    "compiled": True,
    "cudnn_benchmark": True,
    "threads": 3,
    "seed": 5,
    "input_size": "64x96",
    "warmup": 4,
    "min_rounds": 2,
    "rounds": 9,
    "half_width": 0.05,
    "budget": 1.5,
    "processes": 5,
    "latency": True,
}


def parsed(arguments: list[str]) -> dict[str, Any]:
    """What ``esrbench run`` understands, without running it."""
    app = typer.Typer(add_completion=False)
    app.command("run")(run_command)
    return dict(typer.main.get_command(app).make_context("run", arguments).params)


def test_the_default_protocol_needs_no_option() -> None:
    assert protocol_options(Protocol()) == []


def test_options_are_those_that_run_reads_back() -> None:
    given = parsed(["imdn", *protocol_options(OTHER)])
    assert {key: given[key] for key in PARSED} == PARSED
    without = parsed(["imdn", *protocol_options(Protocol(latency=None))])
    assert without["latency"] is False


@pytest.fixture
def commands(make_run: Callable[..., RunRecord]) -> tuple[str, ...]:
    record = make_run(
        "imdn",
        {"psnr_y": 32.0},
        protocol=OTHER,
        verified=False,
        data="set14",
        entry={
            "weights": make_run("imdn", {}).entry.weights.model_copy(update={"filename": "a b"})
        },
    )
    wanted = Wanted(("imdn", "rfdn"), ("set5", "set14", "mine"), (4,))
    stored = make_run("rfdn", {"psnr_y": 1.0}, protocol=OTHER, data="mine", weights="released")
    return build_comparison([record, stored], wanted, default_registry()).commands


def test_commands_repeat_settings_weights_and_folders(commands: tuple[str, ...]) -> None:
    assert len(commands) == 2
    found = [parsed(shlex.split(command)[2:]) for command in commands]
    assert [each["names"] for each in found] == [["imdn"], ["rfdn"]]
    assert found[0]["data"] == ["set5", "FOLDER/mine"]
    assert found[0]["weights"] == ["imdn=a b"]
    assert found[1]["data"] == ["set5", "set14=FOLDER"]
    assert not found[1]["weights"]
    assert all(each["scale"] == 4 for each in found)
    assert all({key: each[key] for key in PARSED} == PARSED for each in found)
