"""Prepare records for publication: hide names and scores of the images of hidden test sets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, get_args

from esrbench.records import Absent, FailureKind, Quality, RunRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

HIDDEN_SCORES: Final = Absent(
    kind="unavailable", reason="scores of a hidden test set's images are not published"
)
UNSAID: Final = "messages about a hidden test set are not published"
WITH_NAMES: Final = frozenset({"advice", "cause", "image", "input_name", "message", "reason"})
"""Fields of a record that name images, or may."""


def public_records(records: Iterable[RunRecord]) -> list[RunRecord]:
    """Remove names and scores of images from records on hidden test sets.

    Means over all images stay. Numbers replace the names, in the order of the names. Output and
    error messages of an entry are left out, because the entry has seen the images.

    Args:
        records: any records, with all that there are on a hidden set: one may contain names that
            only another one lists.
    """
    kept = list(records)
    names: dict[str, set[str]] = {}
    for record in (each for each in kept if each.data.hidden):
        names.setdefault(record.data.digest, set()).update(_names(record))
    return [
        _public(record, sorted(names[record.data.digest])) if record.data.hidden else record
        for record in kept
    ]


def _public(record: RunRecord, names: Sequence[str]) -> RunRecord:
    if not names and record.status not in get_args(FailureKind):  # as the index of records has it
        return record.model_copy(update={"log_tail": ""})
    numbers = {name: f"image {number}" for number, name in enumerate(names, 1)}
    document = _numbered(record.model_dump(mode="json"), numbers) | {"log_tail": ""}
    if record.status in get_args(FailureKind):
        document |= {"cause": f"{record.status}: {UNSAID}", "advice": None}
    if isinstance(record.quality, Quality):
        document["quality"] = HIDDEN_SCORES.model_dump(mode="json")
    for replicate in document["latency"].get("replicates", ()):
        images = replicate["images"]
        for image in images if isinstance(images, list) else ():
            image["variants"] = None
    return RunRecord.model_validate(document)


def _names(record: RunRecord) -> set[str]:
    """Names of all images in a record."""
    names: set[str] = set()
    if isinstance(record.quality, Quality):
        names |= {each.image for each in record.quality.images}
    if not isinstance(record.memory, Absent):
        names |= {each.image for each in record.memory.images}
    if not isinstance(record.latency, Absent):
        timed = [image for each in record.latency.replicates for image in each.timed_images]
        names |= {image.input_name for image in timed}
    return names


def _numbered(document: dict[str, Any], numbers: Mapping[str, str]) -> dict[str, Any]:
    """Replace names of images by numbers, as whole words, in fields that may contain names."""
    longest_first = sorted(map(re.escape, numbers), key=len, reverse=True)
    word = re.compile(rf"(?<!\w)(?:{'|'.join(longest_first) or '(?!)'})(?!\w)")

    def numbered(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            if value.get("failure") is not None:  # a failure, in words of the entry
                value = value | {"reason": UNSAID, "advice": None}
            return {name: numbered(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [numbered(inner, key) for inner in value]
        if isinstance(value, str) and key in WITH_NAMES:
            return word.sub(lambda found: numbers[found[0]], value)
        return value

    found: dict[str, Any] = numbered(document)
    return found
