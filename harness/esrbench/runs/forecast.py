"""Forecast of a suite: what it would run, how long it would take, and how much it would write."""

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
        where: device, and interpreter if it is another one.
        passes: to be made; 0 where a finished record is there, or nothing can run.
        done: passes that are there already, of a finished record or of a suite that was cut short.
        seconds: that the others will take, by what was measured; None where nothing tells.
        size: of the record in bytes, likewise; of the passes until then about as much again.
        basis: what the figures are taken from, or why nothing will run.
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
        store: of earlier records, from which time and disk space are estimated.
        resume: what is there already is left out, as ``run_suite`` does.
        elsewhere: an engine makes the passes.
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
            known[suite.baseline] = False  # it runs beside whatever runs
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
    return PlannedRun(*said, None, None, "nothing alike was measured yet")


def _seconds(record: RunRecord) -> float:
    """Time of a record without its energy, whose windows do not depend on the images."""
    design = record.protocol.energy
    measured = design is not None and isinstance(record.energy, Energy)
    return max(record.duration_seconds - (design.seconds if design and measured else 0.0), 0.0)


def _units(record: RunRecord) -> int:
    """Passes times images of a record."""
    timed = len(record.latency.replicates) if isinstance(record.latency, Latency) else 0
    return (1 + timed) * max(record.data.images, 1)
