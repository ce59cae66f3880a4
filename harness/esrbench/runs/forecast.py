"""Forecast of a suite: what will run, how long it takes, and how much disk space it needs."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from esrbench.records import Energy, Latency
from esrbench.runs.fingerprint import expected_environment
from esrbench.runs.passes import PassFolder
from esrbench.runs.suite import UNFINISHED, expected_fingerprints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.records import DataIdentity, RunRecord
    from esrbench.runs.evaluator import Entry
    from esrbench.runs.plan import Suite
    from esrbench.runs.store import Store


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """An entry on a data set, before it runs.

    Attributes:
        entry: name.
        data: name of the data set.
        forward_class: precision, layout and compilation.
        where: device, and the interpreter if it is not the harness's own.
        passes: number of passes to be made; 0 if a finished record exists or nothing can run.
        done: number of passes that exist already, in a finished record or an interrupted suite.
        seconds: estimated time of the passes to be made; None without an earlier measurement.
        size: estimated size of the record in bytes, or None; until the record is written, its
            passes need about as much again.
        basis: source of the estimate, or why nothing will run.
    """

    entry: str
    data: str
    forward_class: str
    where: str
    passes: int
    done: int
    seconds: float | None
    size: int | None
    basis: str


def forecast(
    suite: Suite, store: Store, *, resume: bool, elsewhere: bool = False
) -> list[PlannedRun]:
    """List what a suite would run, in order.

    Args:
        suite: the plan.
        store: holds earlier records, from which time and disk space are estimated.
        resume: leave out what exists already, as ``run_suite`` does.
        elsewhere: an engine makes the passes on other machines.
    """
    records, _ = store.load_measured()
    environment = expected_environment(suite.protocol, suite.launcher.sandbox.tier)
    fingerprints = expected_fingerprints(suite, environment, elsewhere=elsewhere)
    folder = PassFolder.find(suite.digest(), store, lambda _: None) if resume else None
    # Records hold no SR images.
    counts = folder is not None or (resume and suite.sr_folder is None)
    finished = {each.fingerprint for each in records if counts and each.status not in UNFINISHED}
    planned: list[PlannedRun] = []
    for _, data in suite.data:
        for rejected in suite.rejected:
            label = suite.protocol_of(rejected.name).forward.label
            why = f"cannot run: {rejected.error.message}"
            planned.append(PlannedRun(rejected.name, data.name, label, "", 0, 0, 0.0, None, why))
        of_data = fingerprints[data.digest]
        known = {name: one in finished for name, one in of_data.items()}
        if not all(known.values()) and suite.baseline is not None:
            known[suite.baseline] = False  # the baseline runs with all entries that run
        for entry in suite.entries:
            name = entry.descriptor.name
            latency = suite.protocol_of(name).latency
            passes = 1 + (latency.processes if latency else 0)
            made = 0 if folder is None else folder.made(of_data[name])
            done = passes if known[name] else min(made, passes)
            run = _planned(suite, entry, data, store, records, passes=passes - done, done=done)
            planned.append(run)
    return planned


def _planned(
    suite: Suite,
    entry: Entry,
    data: DataIdentity,
    store: Store,
    records: Sequence[RunRecord],
    *,
    passes: int,
    done: int,
) -> PlannedRun:
    """The passes left for an entry on a data set, and the time that they take."""
    name = entry.descriptor.name
    protocol = suite.protocol_of(name)
    where = protocol.device + (f":{suite.launcher.gpu}" if protocol.device == "cuda" else "")
    if entry.software is not None:
        where += f", {entry.software.describe()}"
    said = (name, data.name, protocol.forward.label, where, passes, done)
    if not passes:
        return PlannedRun(*said, 0.0, 0, "measured before")
    alike = [
        each
        for each in records
        if each.protocol.device == protocol.device
        and each.status in {"ok", "timing-disputed", "busy-machine"}
    ]
    own = [each for each in alike if each.entry.name == name]
    for basis, found in (
        ("its own run on these images", [r for r in own if r.data.digest == data.digest]),
        ("its own run on other images", own),
        ("other entries on these images", [r for r in alike if r.data.digest == data.digest]),
        ("other entries on other images", alike),
    ):
        if found:
            units = passes * data.images
            seconds = fmean(_seconds(each) / _units(each) for each in found) * units
            if protocol.energy is not None and not done:
                seconds += protocol.energy.seconds
            size = fmean(store.size_of(each) / _units(each) for each in found) * units
            return PlannedRun(*said, seconds, round(size), basis)
    return PlannedRun(*said, None, None, "nothing similar was measured yet")


def _seconds(record: RunRecord) -> float:
    """Seconds of a record without the energy probe, whose time does not depend on the images."""
    design = record.protocol.energy
    measured = design is not None and isinstance(record.energy, Energy)
    return max(record.duration_seconds - (design.seconds if design and measured else 0.0), 0.0)


def _units(record: RunRecord) -> int:
    """Number of passes times number of images of a record."""
    timed = len(record.latency.replicates) if isinstance(record.latency, Latency) else 0
    return (1 + timed) * max(record.data.images, 1)
