"""Which engine makes the cells of a suite, and with what: ``[engine]`` or options."""

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
"""Bytes, by the letters that Slurm takes."""


class EngineSettings(Frozen):
    """The place where the cells of a suite are made.

    Attributes:
        name: ``local`` for this machine, ``slurm`` for jobs of a cluster, ``ray`` for tasks of one.
        jobs: cells that may be made at the same time; on this machine there are as many as devices.
        gpus: numbers of GPUs of this machine; the first one if left out.
        minutes: that a cell may take; what is missing then is made by another one.
        device_class: the only devices that may measure, by the name that records give them, such as
            ``NVIDIA H100 80GB HBM3``; any if left out.
        tries: how often a cell is begun before the suite goes on without it.
        constraint: features that a node must have; of Ray a custom resource of the node.
        cpus: of a cell, on a cluster.
        memory: likewise, such as ``32G``.
        partition: of Slurm, as are those below.
        gres: what a job gets, such as ``gpu:h100:1``.
        account: that is charged.
        exclusive: a job has its node alone, which timing on CPUs needs.
        address: of Ray's head node, such as ``10.0.0.5:6379``; ``RAY_ADDRESS`` or the cluster that
            this machine is part of if left out.
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
        """Whether other machines measure than the one that submits."""
        return self.name != "local"

    @property
    def memory_bytes(self) -> int:
        """Memory of a cell in bytes; 0 if left out.

        Raises:
            UsageError: what ``memory`` says is no amount.
        """
        amount = re.fullmatch(r"(\d+)([KMGT]?)B?", (self.memory or "0").upper())
        if amount is None:
            message = f"engine.memory: expected an amount such as 32G, found {self.memory}"
            raise UsageError(message, advice="Write a whole number and K, M, G or T.")
        return int(amount[1]) * UNITS[amount[2]]
