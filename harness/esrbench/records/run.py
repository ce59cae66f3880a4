"""One entry measured under one protocol on one device and one data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from esrbench.protocol import Frozen, Protocol
from esrbench.records.counts import Complexity
from esrbench.records.deployment import Deployment
from esrbench.records.energy import Energy
from esrbench.records.tabular import Tabular
from esrbench.records.timing import Latency, Memory, Trust
from esrbench.records.values import (
    Absent,
    Count,
    FailureKind,
    Notice,
    Seconds,
    Sha256,
    Value,
)

SCHEMA_VERSION: Final = 2

Tier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
"""Name of the sandbox that stood between a submission and the machine."""

Status = (
    FailureKind
    | Literal[
        "ok",
        "suspect-caching",
        "suspect-memorising",
        "suspect-hidden-work",
        "counted-otherwise",
        "disqualified",
        "timing-disputed",
        "busy-machine",
        "infra-error",
        "interrupted",
    ]
)
"""How a run ended. A failure is that of the first probe that failed.

``suspect-*`` and ``timing-disputed`` are complete measurements in which the evaluator found one of
these: repeated inputs were faster, images scored better than their variants, work went on outside
the timed rounds, or the worker's own times disagree with the evaluator's.

``counted-otherwise``: the network that was counted is not the one that was measured, so none of its
counts is valid. ``busy-machine``: other programs took too much of the machine during timing, so the
run has no runtimes and must be repeated. ``disqualified``: by the organiser; no stored record has
this status, but records have it on boards. ``infra-error``: the harness or its machine failed, so
the entry must be run again. ``interrupted``: fewer replicates were timed than the protocol asks
for.
"""

LoadedBy = Literal["factory"]
"""Code that loads a weights file instead of the harness."""

Role = Literal["network", "floor", "images"]
"""What an entry is; see ``EntryIdentity``."""

NO_SUCH_METRIC: Final = Absent(kind="unavailable", reason="the run has no such metric")
RANKED_STATUSES: Final = frozenset({"ok", "timing-disputed", "busy-machine"})
"""Of runs that leaderboards rank; those of a busy machine have no runtime to be ranked by."""


class ImageScore(Frozen):
    """Scores of one image. A PSNR of None means zero error, whose PSNR is infinite.

    Attributes:
        others: scores that were asked for, by metric, or why one is missing.
    """

    image: str
    psnr_rgb: float | None
    psnr_y: float | None
    ssim_y: float
    others: dict[str, float | Absent] = {}


class Quality(Tabular):
    """Scores of every image and how they were computed."""

    definition: str
    images: Annotated[tuple[ImageScore, ...], Field(min_length=1)]

    @property
    def mean(self) -> ImageScore:
        """Mean over the images; a PSNR of None means that an image has none."""

        def over_images(scores: Iterable[float | None]) -> float | None:
            known = [score for score in scores if score is not None]
            return sum(known) / len(known) if len(known) == len(self.images) else None

        return ImageScore(
            image="mean",
            psnr_rgb=over_images(image.psnr_rgb for image in self.images),
            psnr_y=over_images(image.psnr_y for image in self.images),
            ssim_y=sum(image.ssim_y for image in self.images) / len(self.images),
        )

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """Its size and means."""
        yield "images", len(self.images)
        yield "mean", self.mean


MAX_LISTED: Final = 20
"""Names of a weights file that a record lists; it counts all."""


class WeightsLayout(Frozen):
    """How a weights file was read that is more than its network's state dict.

    Attributes:
        key: name under which the state dict lies; None for the file itself.
        prefix: what was removed from the front of every name, or empty.
        ignored: surplus names that the entry's manifest permits, the first of them.
        ignored_count: their number.
        loaded_by: ``factory`` where the network's own code loaded the file, as its manifest says.
    """

    key: Annotated[str, Field(max_length=1000)] | None = None
    prefix: Annotated[str, Field(max_length=1000)] = ""
    ignored: Annotated[
        tuple[Annotated[str, Field(max_length=1000)], ...], Field(max_length=MAX_LISTED)
    ] = ()
    ignored_count: Count = 0
    loaded_by: LoadedBy | None = None

    def describe(self) -> str:
        """In words; empty where the layout says nothing."""
        own = ["loaded by its own code"] if self.loaded_by else []
        under = [f"under {self.key!r}"] if self.key else []
        without = [f"without {self.prefix!r}"] if self.prefix else []
        more = self.ignored_count - len(self.ignored)
        listed = ", ".join([*self.ignored, *([f"and {more} more"] if more > 0 else [])])
        ignored = [f"{self.ignored_count} surplus keys ignored ({listed})"]
        return ", ".join([*own, *under, *without, *(ignored if self.ignored else [])])


class WeightsIdentity(Frozen):
    """The weights that ran: a file by its hash, or a seeded random initialisation.

    Attributes:
        source: ``released`` by the authors; ``demo`` for those that ship with esrbench, which are
            not the authors'; ``submitted`` with an entry's folder; any other ``file``;
            ``random``; ``none`` where there are no parameters.
        layout: how the file was read; None where it is the state dict itself, and in older records.
        parameters_sha256: of all parameters as they were loaded, whatever their names and order.
    """

    source: Literal["released", "demo", "submitted", "file", "random", "none"]
    filename: str | None = None
    sha256: Sha256 | None = None
    file_bytes: Count | None = None
    data_range: float = 1.0
    layout: WeightsLayout | None = None
    parameters_sha256: Sha256 | None = None


class EntryIdentity(Frozen):
    """Which network ran.

    Attributes:
        name: registered name.
        scale: upscaling factor.
        factory: ``module:attr`` that built it.
        origin: distribution that registered it.
        prepare: ``module:attr`` of the hook that gave the network the form in which it was
            counted and timed, or None for the form in which it is trained.
        deploy: method, or ``module:attr`` of a function, that brought it into that form in place.
        code_sha256: hash of the source files that define the factory and its modules.
        built_sha256: of the submission's files, with those that were compiled of its sources; None
            where none were.
        role: ``network``; ``floor`` for an interpolation baseline, which is never ranked;
            ``images`` for SR images alone, whose network did not run.
    """

    name: str
    scale: Annotated[int, Field(gt=0)]
    factory: str
    origin: str
    prepare: str | None = None
    deploy: str | None = None
    code_sha256: Sha256 | None
    built_sha256: Sha256 | None = None
    role: Role
    weights: WeightsIdentity

    @property
    def deployed_by(self) -> str:
        """What gave the network its form, in words; empty for the form in which it is trained."""
        return " and ".join(each for each in (self.deploy, self.prepare) if each)

    @property
    def submitted(self) -> bool:
        """Whether it came as a submission's folder."""
        return self.origin.startswith("submissions/")


class DataIdentity(Frozen):
    """Which images were used.

    Attributes:
        name: declared name, or name of a folder.
        title: name in tables.
        scale: upscaling factor.
        images: number of LR/HR pairs.
        digest: covers every LR and HR pixel and their names.
        verified: the images are those of the declared data set, proven by hash.
        pinned: they are those that the organiser of a challenge pinned by this digest, as no
            official hash is known.
        hidden: names and scores of the images are never published.
    """

    name: str
    title: str
    scale: Annotated[int, Field(gt=0)]
    images: Count
    digest: Sha256
    verified: bool = False
    pinned: bool = False
    hidden: bool = False


class Environment(Frozen):
    """Machine and software; its digest decides whether runtimes may be compared.

    Attributes:
        cpu_model: family, model and stepping of the processor, whose name may hide them.
        malloc: settings of the C library's allocator in workers, or which other one serves.
        libraries: versions of CUDA and cuDNN, by name; empty on CPU.
        variables: inherited by workers, and known to alter what is measured.
        isolation: of workers.
    """

    python: str
    esrbench: str
    packages: dict[str, str]
    system: str
    cpu: str
    cpu_model: str | None = None
    cpus_available: Count
    threads: Count
    memory_bytes: Count | None
    accelerator: str | None
    malloc: dict[str, str]
    libraries: dict[str, str] = {}
    variables: dict[str, str] = {}
    isolation: Tier


class Software(Frozen):
    """The software that runs or counts a network: an interpreter and its libraries.

    Attributes:
        python: version of Python.
        torch: of torch.
        numpy: of numpy.
    """

    python: str
    torch: str
    numpy: str

    def describe(self) -> str:
        """In words, for tables and messages."""
        return f"Python {self.python}, torch {self.torch}"


class RunRecord(Tabular):
    """One entry measured under one protocol on one device and data set.

    Attributes:
        run_id: unique and sortable by time.
        fingerprint: covers entry, source files, weights, data, protocol, harness and machine as
            they were known before anything ran; runs of one fingerprint repeat one another.
        status: how it ended.
        cause: of any status but ``ok``, one sentence.
        advice: what to do about it, if anything.
        trust: what the evaluator's clock and its tests for cheating say.
        values: every metric of ``esrbench.metrics.METRICS``, measured or absent with a reason.
        log_tail: last lines that the workers printed; kept for any status but ``ok``.
        ran_with: of an entry in an interpreter of its own, what that is; None where it ran in the
            harness's environment, which ``environment`` tells.
        counted_with: where its counts, audit and predicted memory were made, if not there.
        deployment: by what it was run; None for eager torch.
        energy: of a loop of forwards; None where it was not asked for.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    run_id: str
    created: datetime
    duration_seconds: Seconds
    fingerprint: Sha256
    status: Status
    cause: str | None = None
    advice: str | None = None
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
    trust: Trust | Absent
    values: dict[str, Value | Absent]
    notices: tuple[Notice, ...] = ()
    log_tail: str = ""
    ran_with: Software | None = None
    counted_with: Software | None = None
    deployment: Deployment | None = None
    energy: Energy | Absent | None = None

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """The parts of the short text: what was run, on what, and how it ended."""
        yield "entry", self.entry.name
        yield "scale", self.entry.scale
        yield "data", self.data.name
        yield "status", self.status
        yield "run_id", self.run_id

    def value(self, metric: str) -> Value | Absent:
        """A metric, measured or absent; a record is older than some metrics."""
        return self.values.get(metric, NO_SUCH_METRIC)

    def measured(self, metric: str) -> float | None:
        """Value of a metric in base units, or None when it is absent."""
        value = self.value(metric)
        return value.value if isinstance(value, Value) else None

    def class_label(self, *, mixed: bool = False) -> str:
        """Its class in leaderboards: records of two classes are never ranked together.

        Args:
            mixed: whatever Python and torch it ran with.
        """
        label = self.protocol.forward.label
        doubt = self.deployment and self.deployment.doubt
        if doubt and self.protocol.forward.precision == "fp32":
            label = f"{label}, {doubt}"
        return label if mixed or self.ran_with is None else f"{label}, {self.ran_with.describe()}"

    @property
    def ranked(self) -> bool:
        """Whether leaderboards rank it."""
        return self.status in RANKED_STATUSES

    @property
    def timed(self) -> bool:
        """Whether leaderboards rank it and its runtimes mean something."""
        return self.ranked and self.status != "busy-machine" and self.entry.role != "images"

    def failure(self) -> Absent | None:
        """The first failed probe, in the order in which they are tried, or None."""
        return first_failure(self.quality, self.memory, self.complexity, self.latency)


def first_failure(
    quality: Quality | Absent,
    memory: Memory | Absent,
    complexity: Complexity | Absent,
    latency: Latency | Absent,
) -> Absent | None:
    """The first of a record's probes that failed, in the order in which they are tried, or None."""
    parts: list[object] = [quality, memory, complexity]
    if isinstance(complexity, Complexity):
        parts += complexity.counters.values()
    parts.append(latency)
    if isinstance(latency, Latency):
        for replicate in latency.replicates:
            parts += [replicate.fixed, replicate.images]
    return next(
        (part for part in parts if isinstance(part, Absent) and part.kind == "failed"), None
    )
