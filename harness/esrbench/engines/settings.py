"""Settings of the engine that makes the cells of a suite: ``[engine]`` or options."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import Field

from esrbench.errors import UsageError
from esrbench.protocol import Frozen
from esrbench.records import Count  # noqa: TC001 - pydantic reads annotations

EngineName = Literal["local", "slurm", "ray"]
Text = Annotated[str, Field(min_length=1, max_length=300)]
UNITS: Final = {"K": 2**10, "": 2**20, "M": 2**20, "G": 2**30, "T": 2**40}
"""Bytes by unit; the letters are Slurm's."""


class EngineSettings(Frozen):
    """The place where the cells of a suite are made.

    Attributes:
        name: ``local`` for this machine, ``slurm`` for jobs of a cluster, ``ray`` for tasks of one.
        jobs: limit for cells that run at the same time on a cluster. On this machine, one cell runs
            on each device.
        gpus: numbers of GPUs of this machine; the first one if left out.
        minutes: time limit of a cell. A new cell makes what is missing then.
        device_class: name, as in records, of the only devices that may measure, such as
            ``NVIDIA H100 80GB HBM3``; any device if left out.
        tries: how often a cell is tried before the suite goes on without it.
        constraint: features that a Slurm node must have, or a custom resource that a Ray node must
            have.
        cpus: CPUs of a cell on a cluster.
        memory: memory of a cell on a cluster, such as ``32G``.
        partition: partition of Slurm.
        gres: generic resources of a Slurm job, such as ``gpu:h100:1``.
        account: account that Slurm charges.
        exclusive: a Slurm job has its node alone, which timing on CPUs needs.
        address: address of Ray's head node, such as ``10.0.0.5:6379``. If left out, ``RAY_ADDRESS``
            or the cluster that this machine is part of.
    """

    name: EngineName = "local"
    jobs: Annotated[int, Field(gt=0, le=10_000)] = 8
    gpus: tuple[Count, ...] = ()
    minutes: Annotated[int, Field(gt=0)] = 720
    device_class: Text | None = None
    tries: Annotated[int, Field(gt=0, le=100)] = 3
    constraint: Text | None = None
    cpus: Annotated[int, Field(gt=0)] | None = None
    memory: Text | None = None
    partition: Text | None = None
    gres: Text | None = None
    account: Text | None = None
    exclusive: bool = False
    address: Text | None = None

    @property
    def elsewhere(self) -> bool:
        """Whether other machines than the submitting one measure."""
        return self.name != "local"

    @property
    def memory_bytes(self) -> int:
        """Memory of a cell in bytes; 0 if left out.

        Raises:
            UsageError: ``memory`` is not an amount.
        """
        amount = re.fullmatch(r"(\d+)([KMGT]?)B?", (self.memory or "0").upper())
        if amount is None:
            message = f"engine.memory: expected an amount such as 32G, found {self.memory}"
            raise UsageError(message, advice="Write a whole number and K, M, G or T.")
        return int(amount[1]) * UNITS[amount[2]]
