"""An organiser's decisions about stored entries and runs, checked before they are logged."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from esrbench.errors import UsageError, did_you_mean
from esrbench.runs.run_states import RunStates

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from esrbench.records import Action, Decision, RunRecord
    from esrbench.runs.store import Store

ENTRY_NAME: Final = r"[a-z0-9][a-z0-9._-]{0,63}"
REPLACED: Final = "replaced by"
"""First words of the reason when the run of an older submission is withdrawn."""


def decide(
    store: Store, action: Action, names: Sequence[str], reason: str | None = None
) -> list[Decision]:
    """Add decisions to the log of a folder of results.

    Args:
        store: holds the records.
        action: ``withdraw``, ``disqualify``, ``restore`` or ``rename``.
        names: entries as tables show them, or ids of runs; for ``rename`` the old and the new name.
        reason: free text; ``disqualify`` needs one.

    Raises:
        UsageError: no names, an unknown one, no reason where one is needed, or nothing to undo.
        RecordError: the log cannot be written.
    """
    records, _ = store.load_measured()
    states = RunStates.after(store.load_decisions()[0])
    entries = {states.of(each.entry.name).name for each in records}
    known = sorted(entries | {each.run_id for each in records})
    if not names:
        message = f"runs {action}: which entry or run?"
        raise UsageError(message, advice="`esrbench runs list` lists them.")
    if not records:
        message = f"runs {action}: {store.folder} holds no records"
        raise UsageError(message, advice="Name the folder of records with --results.")
    if action == "rename":
        return [_rename(store, names, entries, reason)]
    for name in names:
        if name not in known:
            message = f"{store.folder}: no entry and no run is called {name!r}"
            hint = did_you_mean(name, known, 1)
            raise UsageError(message, advice=f"{hint}`esrbench runs list` lists all.")
        if action == "restore" and not states.decided(name):
            message = f"{name} is neither withdrawn nor disqualified"
            raise UsageError(message, advice="`esrbench runs log` lists what was decided.")
    if action == "disqualify" and not (reason or "").strip():
        message = f"runs disqualify {' '.join(names)}: for what reason?"
        raise UsageError(message, advice="Give --reason, which the board shows.")
    return [store.decide(action, name, reason=reason or "") for name in names]


def _rename(
    store: Store, names: Sequence[str], entries: Collection[str], reason: str | None
) -> Decision:
    if len(names) != 2:  # noqa: PLR2004 - the old and the new
        message = f"runs rename {' '.join(names)}: expected the old and the new name"
        raise UsageError(message, advice="For example `esrbench runs rename team07-a team07-b`.")
    old, new = names
    if old not in entries:
        message = f"{store.folder}: no entry is called {old!r}"
        raise UsageError(
            message, advice=f"{did_you_mean(old, entries, 1)}See `esrbench runs list`."
        )
    if new in entries:
        message = f"{store.folder}: an entry is already called {new!r}"
        raise UsageError(message, advice="Choose another name.")
    if not re.fullmatch(ENTRY_NAME, new):
        message = (
            f"{new!r} is not a valid name of an entry: expected a-z, 0-9, dots, - and _, at most 64"
        )
        raise UsageError(message, advice="For example team07-fastsr.")
    return store.decide("rename", old, new_name=new, reason=reason or "")


def decide_replaced(store: Store, current: Sequence[RunRecord]) -> list[Decision]:
    """Withdraw runs of submissions whose code, weights or precision have changed.

    Otherwise a leaderboard would show the old run of a submission whose new run failed. If a
    submission changes back, its withdrawn run is restored.

    Args:
        store: holds the records.
        current: finished runs of the submissions in their present state.

    Raises:
        RecordError: the log cannot be written.
    """
    measured, _ = store.load_measured()
    states = RunStates.after(store.load_decisions()[0])
    decided: list[Decision] = []
    for now in (each for each in current if each.entry.submitted):
        if states.of("", now.run_id).reason.startswith(REPLACED):
            decided.append(store.decide("restore", now.run_id, reason="it is current again"))
        decided += [
            store.decide("withdraw", old.run_id, reason=f"{REPLACED} {now.run_id}")
            for old in measured
            if _place(old) == _place(now)
            and _content(old) != _content(now)
            and states.of(old.entry.name, old.run_id).state == "counted"
        ]
    return decided


def _place(record: RunRecord) -> tuple[str, int, str]:
    return record.entry.name, record.entry.scale, record.data.digest


def _content(record: RunRecord) -> tuple[str | None, str | None, str]:
    entry = record.entry
    return entry.code_sha256, entry.weights.sha256, record.protocol.forward.precision
