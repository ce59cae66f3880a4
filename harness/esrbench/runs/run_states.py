"""The states of entries and runs after an organiser's decisions; no record is ever altered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esrbench.records import Decision, RunRecord


@dataclass(frozen=True, slots=True)
class RunState:
    """The state of an entry or a run.

    Attributes:
        name: name of the entry in tables.
        state: ``counted``, or the last decision.
        reason: reason of that decision.
    """

    name: str
    state: Literal["counted", "withdrawn", "disqualified"] = "counted"
    reason: str = ""

    def of(self, record: RunRecord) -> RunRecord | None:
        """The record as leaderboards show it; None if it is withdrawn."""
        if self.state == "withdrawn":
            return None
        changes: dict[str, object] = {}
        if self.name != record.entry.name:
            changes["entry"] = record.entry.model_copy(update={"name": self.name})
        if self.state == "disqualified":
            changes |= {"status": "disqualified", "cause": self.reason, "advice": None}
        return record.model_copy(update=changes) if changes else record


@dataclass(slots=True)
class RunStates:
    """Decisions, replayed in the order in which they were made.

    A decision about an entry also holds for its later runs. A decision about a run holds only for
    that run.
    """

    _shown: dict[str, str] = field(default_factory=dict)
    _decided: dict[str, Decision] = field(default_factory=dict)

    @classmethod
    def after(cls, decisions: Iterable[Decision]) -> RunStates:
        """The states after these decisions."""
        states = cls()
        for decision in sorted(decisions, key=lambda each: (each.created, each.decision_id)):
            if decision.action == "rename":
                states._rename(decision.subject, decision.new_name or decision.subject)
            elif decision.action == "restore":
                states._decided.pop(decision.subject, None)
            elif decision.action in {"withdraw", "disqualify"}:
                states._decided[decision.subject] = decision
        return states

    def _rename(self, shown: str, new: str) -> None:
        measured = [name for name, other in self._shown.items() if other == shown]
        measured += [shown] if shown not in self._shown else []
        self._shown |= dict.fromkeys(measured, new)
        if shown in self._decided:
            self._decided[new] = self._decided.pop(shown)

    def of(self, entry: str, run_id: str = "") -> RunState:
        """The state of a run or of an entry.

        Args:
            entry: name under which the entry was measured.
            run_id: id of the run; empty for the state of the entry.
        """
        name = self._shown.get(entry, entry)
        decided = [self._decided[key] for key in (name, run_id) if key in self._decided]
        if not decided:
            return RunState(name)
        decision = next((each for each in decided if each.action == "withdraw"), decided[-1])
        if decision.action == "withdraw":
            return RunState(name, "withdrawn", decision.reason)
        return RunState(name, "disqualified", decision.reason)

    def apply(self, records: Iterable[RunRecord]) -> list[RunRecord]:
        """Records as leaderboards show them, without withdrawn ones."""
        seen = (self.of(each.entry.name, each.run_id).of(each) for each in records)
        return [each for each in seen if each is not None]

    def decided(self, subject: str) -> bool:
        """Whether there is a decision about a run, or about an entry by its name in tables."""
        return subject in self._decided
