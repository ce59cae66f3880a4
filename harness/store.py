"""Where records live: one JSON file a run or race, old or new but never torn."""

from __future__ import annotations

import json
import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from harness.errors import RecordError
from harness.records import SCHEMA_VERSION, Notice, RaceRecord, RunRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

RecordT = TypeVar("RecordT", RunRecord, RaceRecord)

DEFAULT_RESULTS = Path("results")


def default_results() -> Path:
    """``ESRBENCH_RESULTS``, or ``results`` in the current folder."""
    return Path(os.environ.get("ESRBENCH_RESULTS") or DEFAULT_RESULTS)


def record_id(created: datetime, *parts: str) -> str:
    """Name of a new record: sortable by time, unique, made of its parts, fit for a file."""
    words = [re.sub(r"[^A-Za-z0-9._-]+", "-", part)[:80] for part in parts]
    stamp = f"{created:%Y%m%dT%H%M%S}{created.microsecond // 1000:03d}Z"
    return "-".join((stamp, *words, secrets.token_hex(3)))


class Store:
    """Run records under ``<folder>/runs/``, records of races under ``<folder>/races/``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self.races = folder / "races"

    def require_writable(self, kind: type[RunRecord | RaceRecord] = RunRecord) -> None:
        """Create the folder and try it, so that nothing is measured in vain.

        Args:
            kind: of the records that will be put.

        Raises:
            RecordError: records could not be written.
        """
        folder = self.races if kind is RaceRecord else self.runs
        probe = folder / f".probe.{secrets.token_hex(4)}.tmp"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            message = f"{folder}: records cannot be written: {error.strerror or error}"
            raise RecordError(
                message, advice="Give --results a folder you can write to."
            ) from error

    def put(self, record: RunRecord | RaceRecord) -> Path:
        """Write a record so that a reader sees all of it or nothing, even after power loss.

        Raises:
            RecordError: the record cannot be written; no partial file remains.
        """
        if isinstance(record, RaceRecord):
            folder, name = self.races, record.race_id
        else:
            folder, name = self.runs, record.run_id
        target = folder / f"{name}.json"
        content = record.model_dump_json(indent=1).encode() + b"\n"
        temporary = folder / f".{name}.{secrets.token_hex(4)}.tmp"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.rename(target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            _sync_folder(folder)
        except OSError as error:
            message = f"{target}: the record cannot be written: {error.strerror or error}"
            raise RecordError(message, advice="Free space or give --results a folder.") from error
        return target

    def load(self) -> tuple[list[RunRecord], list[Notice]]:
        """All readable run records, oldest first, and a notice for every file that is not."""
        return _read_all(self.runs, read_record)

    def load_races(self) -> tuple[list[RaceRecord], list[Notice]]:
        """All readable records of races, likewise."""
        return _read_all(self.races, read_race)


def read_record(path: Path) -> RunRecord:
    """Read one run record.

    Raises:
        RecordError: not readable, not a record, or of another schema version.
    """
    return _read(path, RunRecord)


def read_race(path: Path) -> RaceRecord:
    """Read the record of one race.

    Raises:
        RecordError: not readable, not a record, or of another schema version.
    """
    return _read(path, RaceRecord)


def read_any(path: Path) -> RunRecord | RaceRecord:
    """Read the record of a run or of a race, by its regime.

    Raises:
        RecordError: not readable, not a record, or of another schema version.
    """
    try:
        paired = json.loads(path.read_bytes()).get("regime") == "paired"
    except (OSError, ValueError, AttributeError):
        paired = False
    return read_race(path) if paired else read_record(path)


def _read_all(folder: Path, read: Callable[[Path], RecordT]) -> tuple[list[RecordT], list[Notice]]:
    records: list[RecordT] = []
    notices: list[Notice] = []
    for path in sorted(folder.glob("*.json")):
        try:
            records.append(read(path))
        except RecordError as error:
            notices.append(
                Notice(
                    code="unreadable-record",
                    message=error.message,
                    advice=error.advice or "Move the file away.",
                )
            )
    return records, notices


def _read(path: Path, kind: type[RecordT]) -> RecordT:
    try:
        content = path.read_bytes()
        document = json.loads(content)
    except (OSError, ValueError) as error:
        message = f"{path}: not readable as JSON: {error}"
        raise RecordError(message, advice="Move the file away and measure again.") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        message = f"{path}: schema version {version!r}, expected {SCHEMA_VERSION}"
        raise RecordError(message, advice="Read it with the esrbench version that wrote it.")
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = f"{path}: field {where}: {first['msg']}"
        raise RecordError(message, advice="Move the file away and measure again.") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
