"""Where records live: one JSON file a run, old or new but never torn."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from pydantic import ValidationError

from harness.errors import RecordError
from harness.records import SCHEMA_VERSION, Notice, RunRecord

DEFAULT_RESULTS = Path("results")


def default_results() -> Path:
    """``ESRBENCH_RESULTS``, or ``results`` in the current folder."""
    return Path(os.environ.get("ESRBENCH_RESULTS") or DEFAULT_RESULTS)


class Store:
    """Run records under ``<folder>/runs/``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"

    def require_writable(self) -> None:
        """Create the folder and try it, so that nothing is measured in vain.

        Raises:
            RecordError: records could not be written.
        """
        probe = self.runs / f".probe.{secrets.token_hex(4)}.tmp"
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            message = f"{self.runs}: records cannot be written: {error.strerror or error}"
            raise RecordError(
                message, advice="Give --results a folder you can write to."
            ) from error

    def put(self, record: RunRecord) -> Path:
        """Write a record so that a reader sees all of it or nothing, even after power loss.

        Raises:
            RecordError: the record cannot be written; no partial file remains.
        """
        target = self.runs / f"{record.run_id}.json"
        content = record.model_dump_json(indent=1).encode() + b"\n"
        temporary = self.runs / f".{record.run_id}.{secrets.token_hex(4)}.tmp"
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
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
            _sync_folder(self.runs)
        except OSError as error:
            message = f"{target}: the record cannot be written: {error.strerror or error}"
            raise RecordError(message, advice="Free space or give --results a folder.") from error
        return target

    def load(self) -> tuple[list[RunRecord], list[Notice]]:
        """All readable records, oldest first, and a notice for every file that is not."""
        records: list[RunRecord] = []
        notices: list[Notice] = []
        for path in sorted(self.runs.glob("*.json")):
            try:
                records.append(read_record(path))
            except RecordError as error:
                notices.append(
                    Notice(
                        code="unreadable-record",
                        message=error.message,
                        advice=error.advice or "Move the file away.",
                    )
                )
        return records, notices


def read_record(path: Path) -> RunRecord:
    """Read one record.

    Raises:
        RecordError: not readable, not a record, or of another schema version.
    """
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
        return RunRecord.model_validate_json(content)
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
