"""Findings about a machine, made before something was measured on it."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from esrbench.protocol import Device, Frozen
from esrbench.records.run import SCHEMA_VERSION, Environment
from esrbench.records.values import Count

State = Literal["problem", "warning", "unknown", "ok"]

STATES: Final[tuple[State, ...]] = ("problem", "warning", "unknown", "ok")
"""In order of weight: forbids measuring, disturbs it, cannot be told, fine."""


class Diagnosis(Frozen):
    """One thing that matters for measuring.

    Attributes:
        name: what was looked at.
        state: of ``STATES``.
        finding: what was seen, with figures.
        advice: how to mend it; None where it is fine or nothing can be done.
    """

    name: str
    state: State
    finding: str
    advice: str | None = None


class Examination(Frozen):
    """Everything that ``esrbench doctor`` found of a machine at one time.

    Attributes:
        created: when it was examined.
        device: on which something was to be measured.
        system: as of ``Environment``, and so are the others up to the memory.
        checks: what was looked at, what weighs most first.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    created: datetime
    device: Device
    system: str
    cpu: str
    cpu_model: str | None
    cpus_available: Count
    memory_bytes: Count | None
    checks: tuple[Diagnosis, ...]

    def is_of(self, environment: Environment) -> bool:
        """Whether a run with this environment was made on the same machine, as far as is known."""
        return all(getattr(self, name) == getattr(environment, name) for name in MACHINE)


MACHINE: Final = ("system", "cpu", "cpu_model", "cpus_available", "memory_bytes")
"""Fields of an environment by which a machine is known."""
