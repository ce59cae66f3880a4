"""Which engine makes the cells of a suite, and with what: ``[engine]`` or options."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from esrbench.protocol import Frozen
from esrbench.records import Count  # noqa: TC001 - pydantic reads annotations

Text = Annotated[str, Field(min_length=1, max_length=300)]


class EngineSettings(Frozen):
    """Where the cells of a suite are made.

    Attributes:
        name: ``local`` for this machine, ``slurm`` for jobs of a cluster.
        jobs: cells that may be made at the same time; on this machine there are as many as devices.
        gpus: numbers of GPUs of this machine; the first one if left out.
        minutes: that a cell may take; what is missing then is made by another one.
        tries: how often a cell is begun before the suite goes on without it.
        partition: of Slurm, as are all below.
        gres: what a job gets, such as ``gpu:h100:1``.
        constraint: features that a node must have.
        account: that is charged.
        cpus: of a job.
        memory: of a job, such as ``32G``.
        exclusive: a job has its node alone, which timing on CPUs needs.
    """

    name: Literal["local", "slurm"] = "local"
    jobs: Annotated[int, Field(gt=0, le=10_000)] = 8
    gpus: tuple[Count, ...] = ()
    minutes: Annotated[int, Field(gt=0)] = 720
    tries: Annotated[int, Field(gt=0, le=100)] = 3
    partition: Text | None = None
    gres: Text | None = None
    constraint: Text | None = None
    account: Text | None = None
    cpus: Annotated[int, Field(gt=0)] | None = None
    memory: Text | None = None
    exclusive: bool = False

    @property
    def elsewhere(self) -> bool:
        """Whether other machines measure than the one that submits."""
        return self.name != "local"
