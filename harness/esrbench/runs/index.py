"""An index beside the run records, so that leaderboards and listings read one file instead of all.

It has each record without its raw samples, and the stamp of the record's file: inode, size, and
the times of the last change of its bytes and of its name. A record whose stamp differs is read
again, so the records stay the truth. The index may be deleted at any time.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter
from pydantic_core import from_json

from esrbench.errors import RecordError
from esrbench.records import Absent, Latency, Replicate, RunRecord, Value
from esrbench.runs.documents import with_checksum, without_checksum
from esrbench.runtimes import PROCESS_METRICS, process_seconds

if TYPE_CHECKING:
    from pathlib import Path

    Stamp = tuple[int, int, int, int]
    Rows = dict[str, tuple[Stamp, RunRecord]]
    """Records without samples and the stamps of their files, by file name."""
    Parts = dict[str, tuple[int, Any]]
    """Contents that records share with their numbers, by their text."""

INDEX_NAME: Final = ".index.json"
FEWEST: Final = 100
"""Records from which on an index is written."""
SETTLED_NS: Final = 2_000_000_000
"""Age from which on a file is indexed. Two changes of a younger one may have the same stamp."""
LEFT_OUT: Final = Absent(
    kind="skipped",
    reason="raw samples are not in the index of records",
    advice="`esrbench show RUN` reads the record itself.",
)
UNTOLD: Final = datetime.min.replace(tzinfo=UTC)
"""In place of the start of a process, which is not kept."""
_VERSION: Final = 3
_SAMPLES: Final = ("complexity", "memory", "quality", "trust")
LEFT_OUT_FIELDS: Final = ("latency", "log_tail", *_SAMPLES)
"""Fields of a record that the index does not keep whole."""
_SHARED: Final = ("protocol", "environment", "data", "latency", *_SAMPLES)
"""Fields that many records have in common; each content stands in the index once."""
_ADAPTERS: Final[dict[str, TypeAdapter[Any]]] = {
    **{field: TypeAdapter(RunRecord.model_fields[field].annotation or Any) for field in _SHARED},
    "values": TypeAdapter(Value | Absent),
}
"""Of these fields, and of what stands in ``values`` for each metric."""


def without_samples(record: RunRecord) -> RunRecord:
    """A run without raw times, scores of images, counts of blocks and log: enough to rank it."""
    latency = record.latency
    if isinstance(latency, Latency):
        # Alike for all entries of a suite, but for figures on several devices, and so kept once.
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
    """Whether a file that is read now shows by its stamp that it was changed later."""
    return max(stamp[2:]) < time.time_ns() - SETTLED_NS


def encode_index(rows: Rows) -> bytes:
    """The bytes of the index."""
    parts: dict[str, Parts] = {field: {} for field in _ADAPTERS}
    runs = {name: [stamp, _flattened(record, parts)] for name, (stamp, record) in rows.items()}
    listed = {field: [part for _, part in known.values()] for field, known in parts.items()}
    document = {"version": _VERSION, "parts": listed, "runs": runs}
    return with_checksum(json.dumps(document, separators=(",", ":")).encode() + b"\n")


def _flattened(record: RunRecord, parts: dict[str, Parts]) -> dict[str, Any]:
    """A record's JSON in which shared parts are replaced by their numbers."""
    document = record.model_dump(mode="json", exclude_defaults=True)
    for field in _SHARED:
        document[field] = _number(document[field], parts[field])
    values = document["values"].items()
    document["values"] = {metric: _number(value, parts["values"]) for metric, value in values}
    return document


def _number(part: object, known: Parts) -> int:
    return known.setdefault(repr(part), (len(known), part))[0]


def decode_index(path: Path, content: bytes) -> Rows:
    """The records of an index; none where it is damaged or of another version."""
    try:
        body, intact = without_checksum(path, content)
        document = from_json(body)
        if not intact or document["version"] != _VERSION:
            return {}
        parts = {
            field: list(map(adapter.validate_python, document["parts"][field]))
            for field, adapter in _ADAPTERS.items()
        }
        rows: Rows = {}
        for name, (stamp, run) in document["runs"].items():
            values = {key: parts["values"][number] for key, number in run["values"].items()}
            shared = {field: parts[field][run[field]] for field in _SHARED}
            record = RunRecord.model_validate({**run, **shared, "values": {}})
            record.values.update(values)  # which were validated above
            rows[name] = tuple(stamp), record
    except (RecordError, ValueError, LookupError, TypeError, AttributeError):
        return {}
    return rows
