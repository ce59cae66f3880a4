"""An organiser's decisions about entries and runs after they were measured."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, Self

from pydantic import model_validator

from esrbench.protocol import Frozen

Action = Literal["withdraw", "disqualify", "restore", "rename", "challenge"]
ACTIONS_ON_ENTRIES: Final = ("withdraw", "disqualify", "restore", "rename")


class Decision(Frozen):
    """One event of the log that, with the records, decides every rank; events are never altered.

    Attributes:
        decision_id: unique and sortable by time.
        created: when it was made.
        action: ``withdraw`` takes an entry or run off every board; ``disqualify`` shows it below
            the ranking with the reason; ``restore`` undoes both; ``rename`` shows an entry under
            another name; ``challenge`` keeps the file by which entries were run from then on.
        subject: name of an entry as it is shown then, or id of a run; the title of a challenge.
        reason: in words, for everybody.
        new_name: of a renamed entry.
        text: of the challenge's file.
    """

    schema_version: Literal[2] = 2
    decision_id: str
    created: datetime
    action: Action
    subject: str
    reason: str = ""
    new_name: str | None = None
    text: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.action == "rename") != (self.new_name is not None):
            raise ValueError("new_name: a renamed entry has one, and nothing else")
        if (self.action == "challenge") != (self.text is not None):
            raise ValueError("text: a challenge has one, and nothing else")
        return self
