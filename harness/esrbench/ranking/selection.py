"""Which records may be in one table."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from esrbench.data.declarations import DATASETS
from esrbench.errors import UsageError
from esrbench.records import Notice, RunRecord

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

SOFTWARE: Final = frozenset({"python", "packages"})
"""Fields of an environment that are ignored if Python and torch may differ."""


def select_comparable(
    records: Sequence[RunRecord],
    *,
    forward_class: str | None = None,
    mixed: bool = False,
    ignored: Collection[str] = (),
) -> tuple[RunRecord, list[RunRecord], tuple[Notice, ...]]:
    """The newest comparable record of each entry; the newest ranked record is the reference.

    Records on another data set or scale belong to another table. A record that differs in data,
    protocol or environment is left out. A notice names the difference, unless a comparable record
    of the same entry on the same images replaces the record. The environment of an unranked record
    may differ. SR images without a network belong to every class: only data and definition of
    scores must be the same. A run of a network of that name replaces them.

    Args:
        records: records of any data set, scale and protocol.
        forward_class: a ``RunRecord.class_label``, to rank that class instead of the newest.
        mixed: accept any Python and torch.
        ignored: fields of the protocol that do not affect what is shown.

    Returns:
        The reference record, the chosen records, and the notices.

    Raises:
        UsageError: no records, or no record of that class.
    """
    if not records:
        advice = "Run `esrbench run` first, or name the folder of records with --results."
        raise UsageError("there are no records to rank", advice=advice)
    ordered = sorted(records, key=lambda record: record.created)
    if forward_class is not None:
        ordered = of_class(ordered, forward_class, mixed=mixed)
    newest = next((r for r in reversed(ordered) if r.ranked), ordered[-1])
    table = (newest.data.name, newest.entry.scale)
    here = [r for r in ordered if (r.data.name, r.entry.scale) == table]
    networks = [r for r in here if r.ranked and r.entry.role != "images"]
    reference = networks[-1] if networks else newest
    chosen: dict[str, RunRecord] = {}
    left_out: list[tuple[str, str]] = []
    spoiled: dict[str, dict[str, None]] = {}
    for record in here:
        differing = differences(record, reference, mixed=mixed, ignored=ignored)
        before = chosen.get(record.entry.name)
        if not differing and before is not None and worth(before) > worth(record):
            if record.entry.role != "images":
                spoiled.setdefault(record.entry.name, {})[record.status] = None
        elif not differing:
            chosen[record.entry.name] = record
            spoiled.pop(record.entry.name, None)
        elif "data" in differing:
            images = f"other images called {record.data.name}"
            left_out.append((record.entry.name, images))
        else:
            left_out.append((record.entry.name, ", ".join(differing)))
    alike: dict[str, dict[str, None]] = {}
    for name, what in left_out:
        if name not in chosen or what.startswith("other images"):
            alike.setdefault(what, {})[name] = None
    notices = tuple(
        Notice(
            code="incomparable",
            message=f"{next(iter(names))}: a run differs in {what} and is left out"
            if len(names) == 1
            else f"runs differ in {what} and are left out: {', '.join(names)}",
            advice="Measure all entries in one `esrbench run`; each class has a table of its own "
            "(`esrbench leaderboard --class`).",
        )
        for what, names in alike.items()
    )
    notices += tuple(
        Notice(
            code="older-run",
            message=f"{name}: a newer run ended as {status}, so an older one is shown",
            advice="See the newest by `esrbench show`, and run it again.",
        )
        for name, statuses in spoiled.items()
        for status in statuses
    )
    return reference, list(chosen.values()), notices


def select_named(
    records: Sequence[RunRecord],
    names: Sequence[str],
    *,
    data: str | None = None,
    scale: int | None = None,
) -> tuple[list[RunRecord], tuple[Notice, ...]]:
    """The newest comparable run of each named entry on one data set, in the order of the names.

    Args:
        records: records of any data set, scale and protocol.
        names: names of entries; all entries if empty.
        data: name of the data set; the newest record's if None.
        scale: upscaling factor; the newest record's if None.

    Returns:
        The runs, and notices about records that were left out.

    Raises:
        UsageError: there are no records, or an entry was not run on that data set.
    """
    wanted = [
        record
        for record in records
        if data in {None, record.data.name} and scale in {None, record.entry.scale}
    ]
    newest, chosen, notices = select_comparable(wanted)
    by_name = {record.entry.name: record for record in chosen}
    if missing := [name for name in names if name not in by_name]:
        where = f"{newest.data.name} x{newest.entry.scale}"
        message = f"no run of {', '.join(missing)} on {where}"
        source = newest.data.name if newest.data.name in DATASETS else f"FOLDER/{newest.data.name}"
        words = ["esrbench", "run", *missing, "--data", source, "--scale", str(newest.entry.scale)]
        advice = f"Run `{shlex.join(words)}`, or name the folder of records with --results."
        raise UsageError(message, advice=advice)
    return [by_name[name] for name in names] or chosen, notices


def of_class(records: Sequence[RunRecord], label: str, *, mixed: bool = False) -> list[RunRecord]:
    """Records of a forward class. SR images without a network have no class and are included.

    Args:
        records: records of any class.
        label: label of the class.
        mixed: as for ``select_comparable``.

    Raises:
        UsageError: no network's record is in that class.
    """
    known = {r.class_label(mixed=mixed) for r in records if r.entry.role != "images"}
    if label not in known:
        message = f"no record is in class {label!r}"
        raise UsageError(message, advice=f"Stored classes: {'; '.join(sorted(known))}.")
    return [r for r in records if r.entry.role == "images" or r.class_label(mixed=mixed) == label]


def worth(record: RunRecord) -> int:
    """How much of a run can be ranked, as a number: nothing, all but its runtime, all."""
    return record.ranked + record.timed


def differences(
    record: RunRecord,
    reference: RunRecord,
    *,
    mixed: bool = False,
    ignored: Collection[str] = (),
) -> tuple[str, ...]:
    """Names of differences that make two records incomparable.

    Args:
        record: a record.
        reference: the record to compare with.
        mixed: accept any Python and torch.
        ignored: as for ``select_comparable``.
    """
    if "images" in {record.entry.role, reference.entry.role}:
        scores = record.protocol.quality.common != reference.protocol.quality.common
        identities = [
            ("data", record.data.digest != reference.data.digest),
            ("the definition of scores", scores),
        ]
        return tuple(name for name, differs in identities if differs)
    label, expected = (each.class_label(mixed=mixed) for each in (record, reference))
    other_class = label != expected
    other_protocol = record.protocol_digest != reference.protocol_digest and (
        not ignored
        or record.protocol.model_dump(exclude=set(ignored))
        != reference.protocol.model_dump(exclude=set(ignored))
    )
    identities = [
        ("data", record.data.digest != reference.data.digest),
        (f"class ({label}, not {expected})", other_class),
        ("protocol", other_protocol and not other_class),
    ]
    if record.ranked:
        other = "" if other_class else _other_environment(record, reference, mixed=mixed)
        identities.append((other, bool(other)))
    return tuple(name for name, differs in identities if differs)


def _other_environment(record: RunRecord, reference: RunRecord, *, mixed: bool) -> str:
    """Differences between the machines and software of two records, in words; empty if none.

    Args:
        record: a record.
        reference: the record to compare with.
        mixed: accept any Python and torch.
    """
    if record.environment_digest == reference.environment_digest:
        return ""
    ours, theirs = (
        {name: found for name, found in each.environment if not (mixed and name in SOFTWARE)}
        for each in (record, reference)
    )
    told = [
        f"{name} {found}, not {theirs[name]}" if isinstance(found, int | str) else name
        for name, found in ours.items()
        if found != theirs[name]
    ]
    if told:
        return f"environment ({'; '.join(told)})"
    return "" if mixed else "environment"


def of_other_software(records: Sequence[RunRecord], reference: RunRecord) -> list[RunRecord]:
    """Records that differ from a reference only in the Python and torch that they ran with."""
    table = (reference.data.name, reference.entry.scale)
    return [
        record
        for record in sorted(records, key=lambda record: record.created)
        if "images" not in {record.entry.role, reference.entry.role}
        and record.ran_with != reference.ran_with
        and (record.data.name, record.entry.scale) == table
        and not differences(record, reference, mixed=True)
    ]
