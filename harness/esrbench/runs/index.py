"""An index of all run records: leaderboards and listings read this file instead of every record.

It has everything of each record except the raw samples. It also has the stamp of the record's file:
inode, size, and the times when the file's content (mtime) and its inode (ctime) last changed. If a
stamp differs, the record is read again, so an outdated row is never used. The index may be deleted
at any time.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field, TypeAdapter
from pydantic_core import from_json

from esrbench.errors import RecordError
from esrbench.records import Absent, Latency, Notice, Replicate, RunRecord, Value
from esrbench.runs.documents import with_checksum, without_checksum
from esrbench.runtimes import PROCESS_METRICS, process_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Stamp = tuple[int, int, int, int]
    Rows = dict[str, tuple[Stamp, RunRecord]]
    """Records without samples and the stamps of their files, by file name."""
    Contents = dict[str, tuple[int, Any]]
    """Contents that several records share: number and content, by the text of the content."""

INDEX_NAME: Final = ".index.json"
FEWEST: Final = 100
"""Smallest number of records for which an index is written."""
SETTLED_NS: Final = 2_000_000_000
"""Least age of an indexed file. Two changes of a younger file may have the same stamp."""
LEFT_OUT: Final = Absent(
    kind="skipped",
    reason="raw samples are not in the index of records",
    advice="`esrbench show RUN` reads the record itself.",
)
UNTOLD: Final = datetime.min.replace(tzinfo=UTC)
"""Placeholder for the start time of a process, which the index does not keep."""
_VERSION: Final = 4
_SAMPLES: Final = ("complexity", "memory", "quality", "trust")
LEFT_OUT_FIELDS: Final = ("latency", "log_tail", *_SAMPLES)
"""Fields of a record that the index keeps only in part."""
_SHARED: Final = ("protocol", "environment", "data", "latency", *_SAMPLES)
"""Fields with the same content in many records; the index has each content once."""
_ALIKE: Final = (
    *("status", "protocol_digest", "environment_digest", "ran_with", "counted_with"),
    *_SHARED,
)
"""Fields that are often all equal in several records; each combination is validated once."""
_OWN: Final = {
    name: field
    for name, field in RunRecord.model_fields.items()
    if name not in {*_ALIKE, "schema_version", "values", "notices"}
}
"""Fields that differ from record to record: columns of the index."""


def _validated(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(list[kind])


_PARTS: Final[dict[str, TypeAdapter[Any]]] = {
    **{field: _validated(RunRecord.model_fields[field].annotation) for field in _SHARED},
    "values": _validated(Annotated[Value | Absent, Field(union_mode="left_to_right")]),
    "notices": _validated(Notice),
}
"""Validators of the shared fields, of the values of metrics, and of notices."""
_COLUMNS: Final[dict[str, TypeAdapter[Any]]] = {
    name: _validated(Annotated[field.annotation, field]) for name, field in _OWN.items()
}


def without_samples(record: RunRecord) -> RunRecord:
    """A run without what ranking does not need: raw times, scores of images, blocks and log."""
    latency = record.latency
    if isinstance(latency, Latency):
        # Equal for all entries of a suite, except for figures on several devices; so it is kept
        # once.
        several = len({each.device for each in latency.replicates}) > 1
        replicates = tuple(
            Replicate(
                index=each.index,
                position=0,
                started=UNTOLD,
                cpus=(),
                cold_start_seconds=None,
                device=each.device,
                fixed=_left_out(each.fixed),
                images=_left_out(each.images),
                figures=_figures(each) if several else {},
            )
            for each in latency.replicates
        )
        latency = latency.model_copy(update={"replicates": replicates, "entries": ()})
    parts: dict[str, object] = {field: _left_out(getattr(record, field)) for field in _SAMPLES}
    if record.data.hidden:
        # Publishing needs the names of the images, to leave them out.
        parts["quality"] = record.quality
    return record.model_copy(update={"latency": latency, "log_tail": "", **parts})


def _left_out(part: object) -> Absent:
    return part if isinstance(part, Absent) else LEFT_OUT


def _figures(replicate: Replicate) -> dict[str, float]:
    found = {metric: process_seconds(replicate, metric) for metric in PROCESS_METRICS}
    return {metric: seconds for metric, seconds in found.items() if seconds is not None}


def settled(stamp: Stamp) -> bool:
    """Whether every later change of a file that is read now will change its stamp."""
    return max(stamp[2:]) < time.time_ns() - SETTLED_NS


def encode_index(rows: Rows) -> bytes:
    """The bytes of the index."""
    known: dict[str, Contents] = {field: {} for field in (*_PARTS, "alike", "metrics")}
    columns: dict[str, list[Any]] = {
        field: [] for field in (*_OWN, "alike", "metrics", "values", "notices")
    }
    for _, record in rows.values():
        document = record.model_dump(mode="json", exclude_defaults=True)
        for field in _SHARED:
            document[field] = _number(document[field], known[field])
        alike = {field: document[field] for field in _ALIKE if field in document}
        values = document["values"]
        own = {field: document.get(field, kept.default) for field, kept in _OWN.items()}
        row = {
            **own,
            "alike": _number(alike, known["alike"]),
            "metrics": _number([*values], known["metrics"]),
            "values": [_number(each, known["values"]) for each in values.values()],
            "notices": [_number(each, known["notices"]) for each in document.get("notices", ())],
        }
        for field, content in row.items():
            columns[field].append(content)
    document = {
        "version": _VERSION,
        "parts": {field: [part for _, part in each.values()] for field, each in known.items()},
        "files": [[name, *stamp] for name, (stamp, _) in rows.items()],
        "columns": columns,
    }
    return with_checksum(json.dumps(document, separators=(",", ":")).encode() + b"\n")


def _number(part: object, known: Contents) -> int:
    return known.setdefault(repr(part), (len(known), part))[0]


def decode_index(path: Path, content: bytes) -> Rows:
    """The records of an index; none if it is damaged or has another version."""
    try:
        body, intact = without_checksum(path, content)
        document = from_json(body)
        if not intact or document["version"] != _VERSION:
            return {}
        return dict(_rows(document))
    except (RecordError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _rows(document: dict[str, Any]) -> Iterator[tuple[str, tuple[Stamp, RunRecord]]]:
    """Records of an index; records that are equal in most fields are copies of the first."""
    listed, columns = document["parts"], document["columns"]
    parts = {field: adapter.validate_python(listed[field]) for field, adapter in _PARTS.items()}
    value_of, notice_of = parts["values"].__getitem__, parts["notices"].__getitem__
    own = zip(*(each.validate_python(columns[f]) for f, each in _COLUMNS.items()), strict=True)
    further = (columns[field] for field in ("alike", "metrics", "values", "notices"))
    firsts: dict[int, RunRecord] = {}
    for file, fields, alike, metrics, values, notices in zip(
        document["files"], own, *further, strict=True
    ):
        differing = dict(zip(_OWN, fields, strict=True))
        names = listed["metrics"][metrics]
        differing["values"] = dict(zip(names, map(value_of, values), strict=True))
        differing["notices"] = tuple(map(notice_of, notices))
        if alike not in firsts:
            same = listed["alike"][alike]
            shared = {field: parts[field][same[field]] for field in _SHARED}
            firsts[alike] = RunRecord.model_validate({**same, **shared, **differing})
        name, *stamp = file
        yield name, (tuple(stamp), firsts[alike].model_copy(update=differing))
