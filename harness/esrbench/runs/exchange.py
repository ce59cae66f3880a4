"""Copy records from one folder of results to another, with decisions and crops of SR images."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esrbench.errors import RecordError
from esrbench.runs.publication import public_records
from esrbench.runs.run_states import RunStates

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from esrbench.records import Decision, Notice, RunRecord
    from esrbench.runs.store import Store


@dataclass(frozen=True, slots=True)
class Copied:
    """Records that were added to a folder of results.

    Attributes:
        records: number of records that the folder did not have.
        decisions: number of decisions that it did not have.
        notices: files that could not be read.
    """

    records: int
    decisions: int
    notices: tuple[Notice, ...]


def copy_runs(
    source: Store, target: Store, entries: Collection[str] = (), *, public: bool = False
) -> Copied:
    """Copy run records with the decisions about them; nothing in the target is replaced.

    Args:
        source: store to copy from.
        target: store to copy to.
        entries: names as tables show them; all entries if empty.
        public: leave out withdrawn runs, the log of challenge files, and the names and scores of
            the images of hidden test sets.

    Raises:
        RecordError: something cannot be written.
    """
    measured, notices = source.load_measured()
    decisions, unread = source.load_decisions()
    states = RunStates.after(decisions)
    chosen: list[RunRecord] = []
    for record in measured:
        state = states.of(record.entry.name, record.run_id)
        wanted = not entries or state.name in entries
        if wanted and not (public and state.state == "withdrawn"):
            chosen.append(record)
    if public:
        chosen = public_records(chosen)
    known = {record.run_id for record in chosen}
    known |= {record.entry.name for record in chosen}
    known |= {states.of(record.entry.name).name for record in chosen}
    about = [
        decision
        for decision in decisions
        if decision.subject in known or (decision.action == "challenge" and not public)
    ]
    there = {each.run_id for each in target.load_measured()[0]}
    decided = {each.decision_id for each in target.load_decisions()[0]}
    new = [record for record in chosen if record.run_id not in there]
    for record in new:
        target.put(record)
    events: list[Decision] = [each for each in about if each.decision_id not in decided]
    for event in events:
        target.put(event)
    _copy_crops(source, target, new)
    return Copied(len(new), len(events), (*notices, *unread))


def _copy_crops(source: Store, target: Store, records: Iterable[RunRecord]) -> None:
    """Copy the crops of runs and of their data sets, except those of hidden data sets."""
    shown = [record for record in records if not record.data.hidden]
    folders = {record.fingerprint for record in shown} | {record.data.digest for record in shown}
    for each in sorted(folders):
        there, here = source.crops_of(each), target.crops_of(each)
        if not there.is_dir() or here.exists():
            continue
        try:
            shutil.copytree(there, here)
        except (OSError, shutil.Error) as error:
            message = f"{here}: crops cannot be written: {error}"
            advice = "Free space, or name a folder you can write to."
            raise RecordError(message, advice=advice) from error
