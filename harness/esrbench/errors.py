"""Errors a user can act on; anything else that escapes is a bug.

Every error names what was wrong (file, field or image), what was expected and what to do next. It
has the exit code of the command that it ends (``docs/reference/commands.md``).
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import ValidationError

EXIT_OK = 0
EXIT_REGRESSION = 1
EXIT_USAGE_OR_DATA = 2
EXIT_INCONCLUSIVE = 3
EXIT_MEASUREMENT_FAILED = 4
EXIT_BUG = 70
EXIT_INTERRUPTED = 130

MOST_NOTES = 20
"""Problems that a traceback shows."""


class EsrbenchError(Exception):
    """Base of all errors that are the user's to mend.

    Attributes:
        advice: what to do next, one sentence, or None.
        exit_code: process exit code of a command ended by this error.
    """

    exit_code: ClassVar[int] = EXIT_USAGE_OR_DATA

    def __init__(self, message: str, *, advice: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self._note(advice)

    def _note(self, *texts: str | None) -> None:
        """Let tracebacks of Python 3.11 and later show these below the message."""
        known: list[str] = getattr(self, "__notes__", [])
        self.__notes__ = [*filter(None, texts), *known]


class UsageError(EsrbenchError):
    """A name, option or value that the command cannot use."""


class RegistrationError(EsrbenchError):
    """A model description that cannot be registered."""


class WeightsError(EsrbenchError):
    """A weights file that is missing, altered, or does not fit its network."""


class DownloadError(EsrbenchError):
    """A file that could not be fetched, or whose hash differs from the declared one."""


class DataError(EsrbenchError):
    """Images that may not be measured on; lists every problem found, not just the first.

    Attributes:
        problems: one line a problem, each naming its file or image.
    """

    def __init__(
        self, message: str, problems: Sequence[str] = (), *, advice: str | None = None
    ) -> None:
        super().__init__(message, advice=advice)
        self.problems = tuple(problems)
        more = len(self.problems) - MOST_NOTES
        self._note(*self.problems[:MOST_NOTES], f"and {more} more" if more > 0 else None)

    @property
    def listed(self) -> tuple[str, ...]:
        """The problems; where none are listed, the message is the only one."""
        return self.problems or (self.message,)


class RecordError(EsrbenchError):
    """A stored record that is corrupt, of a newer schema, or cannot be written."""


class InterruptionError(EsrbenchError):
    """Ctrl-C before there was anything to keep."""

    exit_code = EXIT_INTERRUPTED


class MeasurementError(EsrbenchError):
    """A measurement that failed: the network, its process or the device."""

    exit_code = EXIT_MEASUREMENT_FAILED


def did_you_mean(name: str, known: Iterable[str], most: int = 3) -> str:
    """The sentence that suggests known names near an unknown one, with a space behind; or none."""
    near = difflib.get_close_matches(name.lower(), list(known), n=most, cutoff=0.5)
    return f"Did you mean {' or '.join(near)}? " if near else ""


def unknown_key(where: str, key: str, known: Sequence[str]) -> str:
    """The message about a key that a table does not have.

    Args:
        where: the table, as its author would write it; empty for the document itself.
        key: that stands there.
        known: that may.
    """
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    dotted = f"{where}.{key}" if where else key
    return f"{dotted}: unknown key{f' in [{where}]' if where else ''}; {hint}"


def field_problems(error: ValidationError, whole: str) -> list[str]:
    """The fields that pydantic refused, one line each.

    Args:
        error: of a document.
        whole: what stands in place of a field where the document as a whole is wrong.
    """
    problems = []
    for item in error.errors(include_url=False):
        where = ".".join(map(str, item["loc"])) or whole
        said = item["msg"].replace("Value error, ", "", 1)
        told = "no such field" if item["type"] == "extra_forbidden" else said
        problems.append(f"{where}: {told}")
    return problems
