"""What a suite reports while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from esrbench.records import Notice, RunRecord
    from esrbench.runs.progress import SuiteProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteEvents:
    """Functions that are called while a suite runs; by default they do nothing.

    Attributes:
        on_step: called with the entry and the step when a step begins in this process.
        on_known: called with each record that existed before.
        on_notice: called with a notice for each unreadable pass of an earlier suite, which is made
            again, and for each failed cell of an engine.
        on_progress: called with the progress of the suite when a pass begins.
        on_scored: called with an entry's record so far, after this process scored and counted it.
    """

    on_step: Callable[[str, str], None] = lambda _entry, _step: None
    on_known: Callable[[RunRecord], None] = lambda _record: None
    on_notice: Callable[[Notice], None] = lambda _notice: None
    on_progress: Callable[[SuiteProgress], None] = lambda _progress: None
    on_scored: Callable[[RunRecord], None] = lambda _record: None


SILENT = SuiteEvents()
"""Nothing is reported."""
