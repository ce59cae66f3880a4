"""Write a document to one file and read it; any changed bit is detected.

The first line is ``{"sha256": "<hex>",``. The digest covers all bytes after that line, so
``tail -n +2 FILE | sha256sum`` prints the same digest. The file as a whole is one JSON object: a
reader or ``jq`` finds the document's own fields at its top level.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from esrbench.errors import RecordError, field_problems
from esrbench.records import SCHEMA_VERSION, RaceRecord, RunRecord

if TYPE_CHECKING:
    from pathlib import Path

DocumentT = TypeVar("DocumentT", bound=BaseModel)

_FIRST_LINE: Final = re.compile(rb'\{"sha256": "([0-9a-f]{64})",\n')


class DamagedError(RecordError):
    """A document whose bytes are not those that were stored."""


def encode(document: BaseModel) -> bytes:
    """The bytes of a document's file; the document has at least the field ``schema_version``."""
    return with_checksum(document.model_dump_json(indent=1).encode() + b"\n")


def with_checksum(body: bytes) -> bytes:
    """A JSON object with its checksum in a first line of its own."""
    rest = body.removeprefix(b"{").removeprefix(b"\n")
    return b'{"sha256": "%s",\n' % hashlib.sha256(rest).hexdigest().encode() + rest


def decode(path: Path, content: bytes, kind: type[DocumentT]) -> DocumentT:
    """The document of a file.

    Args:
        path: path of the file, for messages.
        content: its bytes.
        kind: class of the document.

    Raises:
        DamagedError: the file was altered or cut short, or has lost its checksum.
        RecordError: the file has another schema version, or holds another kind of document.
    """
    body, checked = without_checksum(path, content)
    try:
        fields = from_json(body)
    except ValueError as error:
        message = f"{path}: corrupt: not readable as JSON: {error}"
        raise DamagedError(message, advice="Measure again.") from error
    version = fields.get("schema_version") if isinstance(fields, dict) else None
    if version != SCHEMA_VERSION:
        # The file may be intact, of another version or from another program, so we do not move it.
        message = f"{path}: schema version {version!r}, expected {SCHEMA_VERSION}"
        raise RecordError(message, advice="Read it with the esrbench version that wrote it.")
    if not checked:
        message = f"{path}: corrupt: its first line is not its SHA-256"
        raise DamagedError(message, advice="Measure again.")
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        message = f"{path}: field {field_problems(error, '(document)')[0]}"
        raise RecordError(message, advice="Move the file away and measure again.") from error


def without_checksum(path: Path, content: bytes) -> tuple[bytes, bool]:
    """JSON without the checksum, and whether there was one.

    Raises:
        DamagedError: the bytes after the checksum do not match it.
    """
    first = _FIRST_LINE.match(content)
    if first is None:
        return content, False
    rest = content[first.end() :]
    found = hashlib.sha256(rest).hexdigest()
    said = first[1].decode()
    if found != said:
        message = f"{path}: corrupt: SHA-256 of what follows its first line is {found}, not {said}"
        raise DamagedError(message, advice="Measure again.")
    return b"{" + rest, True


def read_any(path: Path) -> RunRecord | RaceRecord:
    """Read the record of a run or of a race; its field ``regime`` says which it is.

    Raises:
        RecordError: the file is not readable, corrupt, no record, or of another schema version.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"{path}: not readable: {error.strerror or error}"
        raise RecordError(message, advice="Name a record that can be read.") from error
    try:
        paired = json.loads(content).get("regime") == "paired"
    except (ValueError, RecursionError, AttributeError):
        paired = False
    return decode(path, content, RaceRecord) if paired else decode(path, content, RunRecord)
