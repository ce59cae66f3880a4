"""Read the record in one file, wherever it lies; nothing is set aside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from esrbench.errors import RecordError
from esrbench.records import RaceRecord, RunRecord
from esrbench.runs.store.documents import decode

if TYPE_CHECKING:
    from pathlib import Path


def read_record(path: Path) -> RunRecord:
    """Read one run record.

    Raises:
        RecordError: not readable, corrupt, not a record, or of another schema version.
    """
    return decode(path, _read(path), RunRecord)


def read_race(path: Path) -> RaceRecord:
    """Read the record of one race.

    Raises:
        RecordError: not readable, corrupt, not a record, or of another schema version.
    """
    return decode(path, _read(path), RaceRecord)


def read_any(path: Path) -> RunRecord | RaceRecord:
    """Read the record of a run or of a race, by its regime.

    Raises:
        RecordError: not readable, corrupt, not a record, or of another schema version.
    """
    content = _read(path)
    try:
        paired = json.loads(content).get("regime") == "paired"
    except (ValueError, RecursionError, AttributeError):
        paired = False
    return decode(path, content, RaceRecord) if paired else decode(path, content, RunRecord)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"{path}: not readable: {error.strerror or error}"
        raise RecordError(message, advice="Name a record that can be read.") from error
