"""Compare records that several devices of one kind have timed.

Every entry must run on each device equally often. Devices of one kind differ by a few percent. If
all entries ran on the same devices, differences between devices do not change their order. They are
not noise, so they are removed from the spread of processes. An entry that met other devices than
most is not ranked by runtime.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from esrbench.records import Latency
from esrbench.runtimes import process_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esrbench.records import RunRecord

    Floats = np.ndarray[Any, np.dtype[np.float64]]
    Devices = tuple[tuple[str, int], ...]
    """Names of devices, each with the number of processes that ran on it."""


def devices_of(record: RunRecord) -> Devices:
    """The devices that timed a record; empty if they are not known."""
    if not isinstance(record.latency, Latency):
        return ()
    names = [each.device for each in record.latency.replicates]
    known = [name for name in names if name is not None]
    return tuple(sorted(Counter(known).items())) if len(known) == len(names) else ()


def met_other_devices(records: Sequence[RunRecord]) -> dict[str, str]:
    """Reasons why records cannot be ranked by runtime with the others, by run id.

    Args:
        records: comparable records, one for each entry. Processes on unknown devices are accepted.
    """
    met = {record.run_id: devices_of(record) for record in records}
    counts = Counter(devices for devices in met.values() if devices)
    if len(counts) < 2:  # noqa: PLR2004 - all met the same
        return {}
    usual, _ = counts.most_common(1)[0]
    return {
        run_id: f"timed on {_told(devices)}, most others on {_told(usual)}; devices of one kind "
        "differ, so every entry must meet the same ones equally often"
        for run_id, devices in met.items()
        if devices and devices != usual
    }


def _told(devices: Devices) -> str:
    return ", ".join(f"{name} ({count})" for name, count in devices)


class Deviations(NamedTuple):
    """Residuals of the logarithms of runtimes, without the effects of entry and device.

    Attributes:
        of_records: for each record the residuals of its processes, float64.
        devices: number of devices whose differences are removed; 1 if none are.
    """

    of_records: tuple[Floats, ...]
    devices: int

    @property
    def freedom(self) -> int:
        """Degrees of freedom, by analysis of variance in two ways without interaction."""
        return sum(map(len, self.of_records)) - len(self.of_records) - (self.devices - 1)


def deviations(records: Sequence[RunRecord], metric: str) -> Deviations | None:
    """Deviations of processes, without the differences between devices that all records met.

    Args:
        records: one record for each entry.
        metric: key of a runtime.

    Returns:
        None if times of processes are not known.
    """
    met = {devices_of(record) for record in records}
    names = [name for name, _ in met.pop()] if len(met) == 1 else []
    of_records = []
    devices: list[str] = []
    for record in records:
        seconds = _seconds(record, metric)
        if not seconds:
            return None
        logs = np.log(list(seconds.values()))
        of_records.append(logs - logs.mean())
        devices += [device for device, _ in seconds]
    if len(names) < 2:  # noqa: PLR2004 - nothing differs on one device
        return Deviations(tuple(of_records), 1)
    left = np.concatenate(of_records)
    for name in names:
        here = np.array(devices) == name
        left[here] -= left[here].mean()
    ends = np.cumsum([len(each) for each in of_records])[:-1]
    return Deviations(tuple(np.split(left, ends)), len(names))


def spread_within_devices(records: Sequence[RunRecord], metric: str) -> tuple[float, int] | None:
    """Sum of squares of the logarithms of runtimes that neither entry nor device explains.

    Args:
        records: records of ranked entries.
        metric: key of a runtime.

    Returns:
        The sum and its degrees of freedom; None if there is only one device, if records met
        different devices, or if times of processes are not known.
    """
    if len({devices_of(record) for record in records}) != 1 or len(devices_of(records[0])) < 2:  # noqa: PLR2004 - nothing differs on one device
        return None
    found = deviations(records, metric)
    if found is None or found.freedom < 1:
        return None
    return sum(float(np.square(each).sum()) for each in found.of_records), found.freedom


def _seconds(record: RunRecord, metric: str) -> Mapping[tuple[str, int], float] | None:
    """Runtime of each process by its device and number; None if one is not known."""
    if not isinstance(record.latency, Latency):
        return None
    found = {
        (each.device or "", each.index): process_seconds(each, metric)
        for each in record.latency.replicates
    }
    known = {key: seconds for key, seconds in found.items() if seconds is not None}
    return known if len(known) == len(found) else None
