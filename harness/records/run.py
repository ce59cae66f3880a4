"""One entry measured under one protocol on one device and one data set."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from harness.protocol import Frozen, Protocol
from harness.records.counts import Complexity
from harness.records.timing import Latency, Memory
from harness.records.values import Absent, Count, Notice, Seconds, Sha256, Value

SCHEMA_VERSION: Final = 1


class ImageScore(Frozen):
    """Scores of one image. A PSNR of None means zero error, whose PSNR is infinite."""

    image: str
    psnr_rgb: float | None
    psnr_y: float | None
    ssim_y: float


class Quality(Frozen):
    """Scores of every image and how they were computed."""

    definition: str
    images: Annotated[tuple[ImageScore, ...], Field(min_length=1)]


class WeightsIdentity(Frozen):
    """The weights that ran: a file by its hash, or a seeded random initialisation.

    Attributes:
        source: ``released`` by the authors; ``demo`` for those that ship with esrbench, which are
            not the authors'; any other ``file``; ``random``; ``none`` where there are no
            parameters.
    """

    source: Literal["released", "demo", "file", "random", "none"]
    filename: str | None = None
    sha256: Sha256 | None = None
    file_bytes: Count | None = None
    data_range: float = 1.0


class EntryIdentity(Frozen):
    """Which network ran.

    Attributes:
        name: registered name.
        scale: upscaling factor.
        factory: ``module:attr`` that built it.
        origin: distribution that registered it.
        prepare: ``module:attr`` of the hook that gave the network the form in which it was
            counted and timed, or None for the form in which it is trained.
        code_sha256: hash of the source files that define the factory and its modules.
        role: ``network``, or ``floor`` for interpolation that is shown but never ranked.
    """

    name: str
    scale: Annotated[int, Field(gt=0)]
    factory: str
    origin: str
    prepare: str | None = None
    code_sha256: Sha256 | None
    role: Literal["network", "floor"]
    weights: WeightsIdentity


class DataIdentity(Frozen):
    """Which images were used.

    Attributes:
        name: declared name, or name of a folder.
        title: name in tables.
        scale: upscaling factor.
        images: number of LR/HR pairs.
        digest: covers every LR and HR pixel and their names.
        verified: the images are those of the declared data set, proven by hash.
    """

    name: str
    title: str
    scale: Annotated[int, Field(gt=0)]
    images: Count
    digest: Sha256
    verified: bool = False


class Environment(Frozen):
    """Machine and software; its digest decides whether runtimes may be compared.

    Attributes:
        malloc: settings of the C library's allocator in workers, or which other one serves.
        libraries: versions of CUDA and cuDNN, by name; empty on CPU.
        variables: inherited by workers, and known to alter what is measured.
    """

    python: str
    esrbench: str
    packages: dict[str, str]
    system: str
    cpu: str
    cpus_available: Count
    threads: Count
    memory_bytes: Count | None
    accelerator: str | None
    malloc: dict[str, str]
    libraries: dict[str, str] = {}
    variables: dict[str, str] = {}
    isolation: Literal["subprocess"]


class RunRecord(Frozen):
    """One entry measured under one protocol on one device and data set.

    Attributes:
        run_id: unique and sortable by time.
        status: ``ok``; ``failed`` when any probe that was tried failed; ``interrupted`` when
            fewer replicates were timed than the protocol asks for.
        values: every metric of ``harness.metrics.METRICS``, measured or absent with a reason.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    run_id: str
    created: datetime
    duration_seconds: Seconds
    status: Literal["ok", "failed", "interrupted"]
    entry: EntryIdentity
    data: DataIdentity
    protocol: Protocol
    protocol_digest: Sha256
    environment: Environment
    environment_digest: Sha256
    complexity: Complexity | Absent
    latency: Latency | Absent
    memory: Memory | Absent
    quality: Quality | Absent
    values: dict[str, Value | Absent]
    notices: tuple[Notice, ...] = ()
    log_tail: str = ""

    def measured(self, metric: str) -> float | None:
        """Value of a metric in base units, or None when it is absent."""
        value = self.values.get(metric)
        return value.value if isinstance(value, Value) else None

    def failure(self) -> str | None:
        """Why the first failed probe failed, or None."""
        # In the order in which they are probed.
        parts: list[object] = [self.quality, self.memory, self.complexity]
        if isinstance(self.complexity, Complexity):
            parts += self.complexity.counters.values()
        parts.append(self.latency)
        if isinstance(self.latency, Latency):
            for replicate in self.latency.replicates:
                parts += [replicate.fixed, replicate.images]
        failed = (part for part in parts if isinstance(part, Absent) and part.kind == "failed")
        return next((part.reason for part in failed), None)
