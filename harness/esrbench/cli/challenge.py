"""Runs a challenge from one file, for ``esrbench run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from esrbench.cli.console import (
    messages,
    open_registry,
    print_banner,
    print_notices,
)
from esrbench.cli.options import is_given
from esrbench.cli.suites import conclude, execute, images_bar, print_plan
from esrbench.errors import UsageError
from esrbench.plaintext import line
from esrbench.runs.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.challenge.file import Challenge
    from esrbench.records import RunRecord
    from esrbench.runs.cells import Engine


BESIDE_A_CHALLENGE = frozenset(
    (
        *("names", "plan", "results", "timeout", "entry_timeout", "resume"),
        *("verbose", "_quiet", "as_json"),
    )
)
"""Parameters that may be given beside a challenge's file."""


def challenge_file(ctx: typer.Context, names: Sequence[str]) -> Path | None:
    """The challenge to run, or None if options say what to run.

    Raises:
        UsageError: a challenge together with other names, or with options that its file sets.
    """
    file = next((name for name in names if name.endswith(".toml")), None)
    if file is None:
        return None
    said = [
        parameter.opts[0]
        for parameter in ctx.command.params
        if parameter.name not in BESIDE_A_CHALLENGE and is_given(ctx, parameter.name or "")
    ]
    said += [name for name in names if name != file]
    if said:
        message = f"{file} says what runs and how, so {', '.join(said)} cannot be given"
        raise UsageError(
            message, advice="`esrbench help challenge-file` lists what the file can say."
        )
    return Path(file)


def run_challenge(
    path: Path,
    *,
    results: Path | None,
    plan: bool,
    timeout_seconds: float,
    entry_seconds: float,
    verbose: bool,
    as_json: bool,
) -> None:
    """Measure what a challenge lacks, and write what it publishes."""
    from esrbench.challenge.file import read_challenge
    from esrbench.challenge.outputs import challenge_boards, write_outputs
    from esrbench.challenge.plan import log_challenge, plan_challenge
    from esrbench.runs.decisions import decide_replaced
    from esrbench.runs.run_states import RunStates
    from esrbench.runs.suite import UNFINISHED

    challenge = read_challenge(path)
    store = Store(results or path.parent / challenge.results)
    registry = open_registry()
    states = RunStates.after(store.load_decisions()[0])
    with images_bar() as on_image:
        planned = plan_challenge(path, challenge, registry, states, on_image=on_image)
    print_notices(planned.notices)
    suite = planned.suite
    engine = challenge_engine(challenge)
    if plan:
        print_plan([suite], store, challenge.title, resume=True, engine=engine, as_json=as_json)
        return
    print_banner(suite.launcher.sandbox)
    store.require_writable()
    for said in log_challenge(path, challenge, planned, store):
        messages().print(line(said), markup=False)
    known: list[RunRecord] = []
    new, interrupted = execute(
        [suite],
        store,
        known,
        resume=True,
        engine=engine,
        timeout_seconds=timeout_seconds,
        entry_seconds=entry_seconds,
    )
    decide_replaced(store, [each for each in (*known, *new) if each.status not in UNFINISHED])
    stored, notices = store.load()
    print_notices(notices)
    baseline = suite.baseline and states.of(suite.baseline).name
    data = [identity for _, identity in suite.data]
    boards = list(challenge_boards(challenge, stored, data, baseline))
    folder = path.parent / challenge.outputs.folder
    for file in write_outputs(folder, challenge, boards, store=store, registry=registry):
        messages().print(f"wrote {file}", markup=False, soft_wrap=True)
    conclude(
        [*known, *new],
        [each.board for each in boards],
        store,
        interrupted=interrupted,
        count=len(new),
        verbose=verbose,
        as_json=as_json,
    )


def challenge_engine(challenge: Challenge) -> Engine | None:
    """The engine of a challenge; None for this process."""
    from esrbench.engines.opening import open_engine

    settings = challenge.engine
    return None if settings is None else open_engine(settings, challenge.measured_by.device)
