"""Checks of the machine, and their findings."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.environment import available_cpus, read_system
from esrbench.records import Diagnosis

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esrbench.protocol import Device


def unknown(name: str, finding: str = "the system does not tell it") -> Diagnosis:
    """What cannot be told here."""
    return Diagnosis(name=name, state="unknown", finding=finding)


def judged(name: str, finding: str, advice: str | None = None, *, fine: bool = False) -> Diagnosis:
    """A warning with its advice, unless it is fine or there is nothing to advise."""
    if fine or advice is None:
        return Diagnosis(name=name, state="ok", finding=finding)
    return Diagnosis(name=name, state="warning", finding=finding, advice=advice)


@dataclass(frozen=True, slots=True)
class Machine:
    """What checks look at; tests put a folder in the place of the system's root.

    Attributes:
        device: that is to be measured on.
        results: folder for records.
        cache: folder for downloads.
        gpu: number of the GPU, where the device is one.
        root: folder that holds ``proc`` and ``sys``.
        cpus: numbers of the CPUs this process may run on; empty where there is no such notion.
        variables: of the environment.
        pid: of this process.
    """

    device: Device
    results: Path
    cache: Path
    gpu: int = 0
    root: Path = Path("/")
    cpus: tuple[int, ...] = field(default_factory=available_cpus)
    variables: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    pid: int = field(default_factory=os.getpid)

    @property
    def threads(self) -> int:
        """CPU threads of a forward, unless the user says otherwise."""
        return len(self.cpus) or os.cpu_count() or 1

    def read(self, path: str) -> str | None:
        """Text of a file of the system, or None."""
        return read_system(path, root=self.root)

    def number(self, path: str) -> int | None:
        """A file of the system that holds one whole number, or None."""
        text = self.read(path)
        return int(text) if text is not None and re.fullmatch(r"-?\d+", text) else None

    def of_cpus(self, path: str) -> dict[int, str]:
        """A file of the system for each CPU of ours that has it; ``{}`` stands for its number."""
        found = {cpu: self.read(path.format(cpu)) for cpu in self.cpus}
        return {cpu: text for cpu, text in found.items() if text is not None}


def parse_cpus(text: str) -> tuple[int, ...]:
    """Numbers of a kernel's CPU list: ``0-2,8`` is 0, 1, 2 and 8."""
    numbers: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return tuple(numbers)


def percent(share: float) -> str:
    """A share as readers expect it."""
    return f"{share:.1%}".replace("%", " %")


def mebibytes(size: float) -> str:
    """Bytes in MiB or GiB."""
    return f"{size / 2**20:.0f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"
