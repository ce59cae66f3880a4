"""All that only a GPU can show, in the minutes that one is there.

    python benchmarks/gpu_day.py --minutes 8 --out FOLDER [--data FOLDER] [--weights FOLDER]

Steps run one after the other, the most important first, each in a process of its own with a
share of the time. A row is written to a table, ``FOLDER/TABLE.csv``, as soon as it is measured,
so that whatever time there was has left something. ``FOLDER/summary.md`` shows all tables.

``benchmarks/gpu_day_pack.sh`` gathers what a machine without a network needs for it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

GRACE_SECONDS = 10.0
"""A step that did not end by itself is ended so long after its time, if the day is that long."""
THIS = Path(__file__).resolve()


@dataclass(frozen=True, slots=True)
class Step:
    """One part of the day.

    Attributes:
        name: by which it is asked for.
        title: in the summary.
        function: ``module:function`` below ``gpu_steps``.
        seconds: that it needs; every step has as large a share of the day.
        tables: that it may write.
    """

    name: str
    title: str
    function: str
    seconds: int
    tables: tuple[str, ...]


STEPS = (
    Step("machine", "The machine", "machine:measure", 15, ("machine", "doctor")),
    Step("tests", "Tests that need a GPU", "cuda_tests:measure", 50, ("tests",)),
    Step("scores", "Scores and runtimes by class", "scores:measure", 90, ("scores",)),
    Step("memory", "Peak memory", "memory:measure", 60, ("memory",)),
    Step("gaps", "Both clocks", "gaps:measure", 75, ("gaps",)),
    Step("suite", "Honest runs", "suite:measure", 100, ("runs", "clocks", "stopped")),
    Step("cheats", "Cheats of time", "cuda_tests:measure_cheats", 120, ("cheats",)),
    Step("official", "The official way beside ours", "official:measure", 90, ("official",)),
    Step("races", "Races", "races:measure", 50, ("races",)),
    Step("energy", "Energy", "energy:measure", 70, ("energy",)),
    Step("backends", "Backends", "backends:measure", 40, ("backends",)),
)


def allotted(step: Step, later: Sequence[Step], left_seconds: float) -> float:
    """Seconds of a step: its share of what is left, which steps that ended early left it.

    Args:
        step: the next one.
        later: those after it.
        left_seconds: of the whole day.
    """
    return left_seconds * step.seconds / (step.seconds + sum(each.seconds for each in later))


def run_day(asked: argparse.Namespace) -> bool:
    """Run the steps in order; whether all ended by themselves and well."""
    asked.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * asked.minutes
    chosen = [step for step in STEPS if not asked.only or step.name in asked.only]
    outcomes: dict[str, str] = {}
    for number, step in enumerate(chosen):
        left = end - time.monotonic()
        # A step that is cut off still writes what it knows, the last one too.
        seconds = allotted(step, chosen[number + 1 :], max(0.0, left - GRACE_SECONDS))
        outcomes[step.name] = run_step(step, asked, seconds, min(seconds + GRACE_SECONDS, left))
        sys.stdout.write(f"== {step.name}: {outcomes[step.name]}\n")
        sys.stdout.flush()
        (asked.out / "summary.md").write_text("\n".join(summary(asked.out, outcomes)) + "\n")
    return all(outcome.startswith("done") for outcome in outcomes.values())


def run_step(step: Step, asked: argparse.Namespace, seconds: float, most_seconds: float) -> str:
    """Run one step in a process of its own; how it ended.

    Args:
        step: which.
        asked: the command line.
        seconds: after which it should end.
        most_seconds: after which it is ended.
    """
    if most_seconds <= 0:
        return "not begun: no time was left"
    given = [f"--{key}={value}" for key in ("data", "weights") if (value := getattr(asked, key))]
    command = [sys.executable, str(THIS), "--out", str(asked.out), "--device", asked.device, *given]
    command += ["--step", step.name, "--minutes", str(seconds / 60)]
    start = time.monotonic()
    with (asked.out / f"{step.name}.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own script
            command + (["--tiny"] if asked.tiny else []),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(most_seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            # Workers of its own must not use the GPU while the next step measures.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    took = time.monotonic() - start
    if code is None:
        return f"cut off after {took:.0f} s"
    if code:
        return f"failed after {took:.0f} s: {last_line(asked.out / f'{step.name}.log')}"
    return f"done in {took:.0f} s"


def last_line(log: Path) -> str:
    """The last line of a log, which names the error of a script that failed."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing"


def summary(out: Path, outcomes: dict[str, str]) -> Iterator[str]:
    """Every step with its outcome and its tables, as Markdown."""
    yield "# GPU day"
    for step in STEPS:
        if step.name not in outcomes:
            continue
        yield from ("", f"## {step.title}", "", f"{outcomes[step.name]}.")
        for table in step.tables:
            path = out / f"{table}.csv"
            if path.is_file():
                frame = pd.read_csv(path, keep_default_na=False, dtype=str)
                yield from ("", frame.to_markdown(index=False, disable_numparse=True))


def run_inside(asked: argparse.Namespace) -> None:
    """Run one step in this process."""
    from gpu_steps.day import Day, write_rows

    step = next(each for each in STEPS if each.name == asked.step)
    module, _, function = step.function.partition(":")
    measure = getattr(import_module(f"gpu_steps.{module}"), function)
    deadline = time.monotonic() + 60 * asked.minutes
    day = Day(asked.device, asked.out, deadline, asked.data, asked.weights, asked.tiny)
    write_rows(measure(day), asked.out)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    names = [step.name for step in STEPS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="of the whole day (default: 8)")
    parser.add_argument("--out", type=_path, required=True, help="folder of the results")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--data", type=_path, help="folder of HR/LR pairs (default: demo)")
    parser.add_argument("--weights", type=_path, help="folder of released weights")
    parser.add_argument("--only", nargs="+", choices=names, metavar="STEP", help=", ".join(names))
    parser.add_argument("--tiny", action="store_true", help="smallest sizes, to try the script")
    parser.add_argument("--step", choices=names, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _path(text: str) -> Path:
    return Path(text).absolute()


if __name__ == "__main__":
    arguments_given = parse()
    if arguments_given.step:
        run_inside(arguments_given)
    else:
        sys.exit(0 if run_day(arguments_given) else 4)
