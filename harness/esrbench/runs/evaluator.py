"""Score and count one entry: HR images, scores and the record stay on this side of the worker.

This pass is untimed, so decoding and scoring may overlap the forwards. ``esrbench.runs.replicate``
makes the timed passes, each in a new process.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from esrbench.devices import DEVICES
from esrbench.errors import EsrbenchError, MeasurementError
from esrbench.probes.energy import measure_energy, open_counter
from esrbench.protocol import EAGER
from esrbench.records import Absent, Deployment, EntryIdentity, Quality, Software
from esrbench.runs.builds import build
from esrbench.runs.elsewhere import count_here, draw_samples, own_software, uncounted
from esrbench.runs.equality import Beside
from esrbench.runs.likeness import Likeness
from esrbench.runs.passes import NOT_REACHED, UntimedPass
from esrbench.runs.quality_pass import score_images
from esrbench.weights.checkpoints import stored_elements
from esrbench.worker.failure import WorkerError
from esrbench.worker.process import DEFAULT_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from esrbench.data.crops import CropFolder
    from esrbench.data.datasets import ImagePairs
    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.entries.networks import ResolvedWeights
    from esrbench.protocol import EnergyDesign, Protocol
    from esrbench.records import Complexity, Energy, Environment, Graph, WeightsIdentity
    from esrbench.runs.elsewhere import Sample
    from esrbench.runs.equality import Upscale
    from esrbench.sandbox.interpreters import Interpreter
    from esrbench.worker.launcher import Launcher
    from esrbench.worker.messages import Ready
    from esrbench.worker.session import WorkerSession

    Pixels = npt.NDArray[np.uint8]

Step = Callable[[str], None]
"""Called with the name of each step as it begins."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A network with the weights it runs with.

    Attributes:
        descriptor: descriptor of the network.
        scale: upscaling factor.
        weights: which weights, resolved and checked.
        interpreter: interpreter that runs it; None for the harness's own.
        state: the weights as safetensors for another interpreter; empty for random ones.
        graph: graph that the protocol's backend runs instead of the network's code, or None.
        graph_folder: folder of that graph.
    """

    descriptor: ModelDescriptor
    scale: int
    weights: ResolvedWeights
    interpreter: Interpreter | None = None
    state: bytes | None = field(default=None, repr=False)
    graph: Graph | None = None
    graph_folder: Path | None = None

    @property
    def form(self) -> tuple[str, str, float, Interpreter | None]:
        """The form of its input and output and its interpreter; its null network has the same."""
        descriptor = self.descriptor
        data_range = self.weights.identity.data_range
        return descriptor.color, descriptor.input, data_range, self.interpreter

    @property
    def software(self) -> Software | None:
        """The software it runs with, or None for the harness's own."""
        return None if self.interpreter is None else Software(**dict(self.interpreter.versions))

    def environment(self, own: Environment) -> Environment:
        """The environment it runs in; ``own`` is that of the harness."""
        if self.graph is not None:
            own = own.model_copy(update={"packages": {**own.packages, **self.graph.versions}})
        if self.software is None:
            return own
        versions = self.software.model_dump()
        python = versions.pop("python")
        return own.model_copy(update={"python": python, "packages": {**own.packages, **versions}})

    @property
    def readable(self) -> tuple[Path, ...]:
        """Files that its worker must be able to read, apart from code and weights."""
        return () if self.graph_folder is None else (self.graph_folder,)

    @property
    def eager(self) -> Self:
        """The same entry, run by eager torch."""
        return replace(self, graph=None, graph_folder=None)

    def worker(
        self,
        launcher: Launcher,
        protocol: Protocol,
        *,
        timed: bool = False,
        timeout_seconds: float,
        limit_seconds: float = math.inf,
    ) -> WorkerSession:
        """A worker that can load it, not yet started; arguments as in ``Launcher.worker``."""
        return launcher.worker(
            (self.descriptor, self.weights),
            protocol=protocol,
            interpreter=self.interpreter,
            readable=self.readable,
            timed=timed,
            timeout_seconds=timeout_seconds,
            limit_seconds=limit_seconds,
        )

    def load(self, session: WorkerSession, protocol: Protocol) -> Ready:
        """Have a worker build the network and load its weights."""
        return session.load(
            self.descriptor,
            self.scale,
            weights=self.weights,
            protocol=protocol,
            state=self.state,
            graph=self.graph_folder,
        )

    def identify(
        self, code_sha256: str | None = None, weights: WeightsIdentity | None = None
    ) -> EntryIdentity:
        """The identity of the entry in a record.

        Args:
            code_sha256: digest of the code that the worker found.
            weights: weights that the worker found; None for those that were resolved.
        """
        return EntryIdentity(
            name=self.descriptor.name,
            scale=self.scale,
            factory=self.descriptor.factory,
            origin=self.descriptor.origin,
            prepare=self.descriptor.prepare,
            deploy=self.descriptor.deploy,
            code_sha256=code_sha256,
            built_sha256=self.descriptor.built_sha256,
            role=self.descriptor.role,
            weights=weights or self.weights.identity,
        )


def measure_untimed(
    entry: Entry,
    pairs: ImagePairs,
    protocol: Protocol,
    *,
    launcher: Launcher,
    sr_folder: Path | None = None,
    crops: CropFolder | None = None,
    on_step: Step = lambda _: None,
    counted: bool = True,
    on_loaded: Callable[[WorkerSession], None] = lambda _session: None,
    reference: Upscale | None = None,
    started: WorkerSession | None = None,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    limit_seconds: float = math.inf,
) -> UntimedPass:
    """Score an entry, measure its memory and count it, in its own worker.

    If a probe fails, this is recorded and the other probes continue. Errors of the network are
    never raised here.

    Args:
        entry: network and weights.
        pairs: checked LR and HR images.
        protocol: settings.
        launcher: starts the worker.
        sr_folder: where SR images are written as PNG, or None.
        crops: parts of SR images that are kept, or None.
        on_step: called with the name of each step.
        counted: count the entry too.
        on_loaded: called with the worker before images are upscaled; may make it do more.
        reference: computes eager torch's SR, with which a backend's SR is compared. If None,
            another worker computes it here.
        started: the worker, if it was started before.
        timeout_seconds: deadline of each request to the worker.
        limit_seconds: longest life of the worker.

    Raises:
        DataError: an image changed since it was checked.
        RecordError: an SR image cannot be written.
    """
    path = entry.weights.path
    found = UntimedPass(
        weights=entry.weights.identity,
        stored_elements=None if path is None else stored_elements(path),
        ran_with=entry.software,
        energy=None if protocol.energy is None else NOT_REACHED,
    )
    begun = time.monotonic()
    samples: list[Sample] = []
    start = partial(
        entry.worker,
        launcher,
        timed=protocol.energy is not None,  # which depends on how threads wait
        timeout_seconds=timeout_seconds,
        limit_seconds=limit_seconds,
    )
    with ExitStack() as ending:
        session = ending.enter_context(start(protocol)) if started is None else ending.push(started)
        try:
            on_step("loading")
            found.ready = entry.load(session, protocol)
            found.weights = effective_weights(entry.weights, found.ready).identity
            on_loaded(session)
            beside = None
            if protocol.forward.backend != EAGER:
                if reference is None:
                    eager = protocol.eager
                    torch = ending.enter_context(start(eager))
                    entry.eager.load(torch, eager)
                    reference = torch.upscale
                border = protocol.quality.border_pixels("rgb", entry.scale)
                beside = Beside(reference, border)
        except WorkerError as failure:
            found.quality = found.memory = found.complexity = failed(failure)
        else:
            with suppress(WorkerError):
                _probe(
                    session,
                    entry,
                    pairs,
                    protocol,
                    found,
                    sr_folder=sr_folder,
                    crops=crops,
                    beside=beside,
                    on_step=on_step,
                )
                if protocol.energy is not None:
                    on_step("measuring energy")
                    found.energy = _energy(session, pairs, protocol, protocol.energy, found.ready)
                if counted:
                    samples = _count(session, entry, pairs, found, on_step=on_step)
            if beside is not None and found.ready.opening:
                found.deployment = Deployment(
                    backend=protocol.forward.backend,
                    **found.ready.opening.model_dump(),
                    graph=entry.graph,
                    equality=beside.equality(),
                )
    # All output of the worker has been read only after the worker has ended.
    found.log_tail = session.log_tail
    if samples and found.ready is not None:
        left = max(0.0, limit_seconds - (time.monotonic() - begun))
        found.complexity = count_at_home(
            entry,
            protocol,
            launcher,
            ready=found.ready,
            samples=samples,
            timeout_seconds=timeout_seconds,
            limit_seconds=left,
        )
        found.counted_with = own_software()
    return found


def count_at_home(
    entry: Entry,
    protocol: Protocol,
    launcher: Launcher,
    *,
    ready: Ready,
    samples: Sequence[Sample],
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    limit_seconds: float = math.inf,
) -> Complexity | Absent:
    """Counts of an entry with another interpreter, made in the harness's own environment.

    Args:
        entry: the entry with its interpreter.
        protocol: settings.
        launcher: starts the worker that counts.
        ready: what the entry's own worker reported about the network.
        samples: images that the entry's own worker upscaled.
        timeout_seconds: deadline of each request.
        limit_seconds: longest life of the worker.

    Returns:
        Absent, with the reason, if the network cannot be compiled or built there or gives other
        images.
    """
    try:
        descriptor = build(entry.descriptor, launcher, timeout_seconds=timeout_seconds)
    except EsrbenchError as error:
        return uncounted(error.message)
    own = replace(entry.eager, descriptor=descriptor, interpreter=None, state=None)
    worker = launcher.worker(
        (own.descriptor, own.weights),
        protocol=protocol,
        timeout_seconds=timeout_seconds,
        limit_seconds=limit_seconds,
    )
    with worker as session:
        load = partial(own.load, protocol=protocol)
        return count_here(session, load, ready=ready, samples=samples)


def _probe(
    session: WorkerSession,
    entry: Entry,
    pairs: ImagePairs,
    protocol: Protocol,
    found: UntimedPass,
    *,
    sr_folder: Path | None,
    crops: CropFolder | None,
    beside: Beside | None,
    on_step: Step,
) -> None:
    """Fill in the findings. A failed probe is recorded; a dead worker ends the other probes."""
    unseen = not found.scored and sr_folder is None and beside is None
    if unseen and not DEVICES[protocol.device].gpu:
        for pair in pairs.pairs:
            on_step(pair.name)
        found.quality = _unscored(entry)
        if protocol.latency is None:
            # No other step would show that the network returns an image.
            _require_image(session, pairs, found)
    else:
        likeness = Likeness(found.weights.data_range)

        def upscale(lr: Pixels, image: str) -> Pixels:
            sr = session.upscale(lr, image)
            likeness.look(sr, lr, image, session.output_range)
            return sr

        try:
            scores, digests = score_images(
                upscale if beside is None else partial(beside.upscale, upscale),
                pairs,
                scale=entry.scale,
                definition=protocol.quality,
                sr_folder=sr_folder,
                crops=crops,
                look=None if beside is None else beside.compare,
                on_image=on_step,
            )
        except MeasurementError as failure:
            found.quality = failed(failure)
            raise_if_fatal(failure)
        else:
            found.output_sha256 = digests
            if not found.scored:
                found.quality = _unscored(entry)
            else:
                definition = protocol.quality.describe(entry.scale)
                found.quality = Quality(definition=definition, images=scores)
                found.unlike = likeness.worst
    on_step("reading memory")
    try:
        found.memory = session.read_memory()
    except WorkerError as failure:
        found.memory = failed(failure)
        raise_if_fatal(failure)


def _energy(
    session: WorkerSession,
    pairs: ImagePairs,
    protocol: Protocol,
    design: EnergyDesign,
    ready: Ready,
) -> Energy | Absent:
    """Joules per image, for the first image tiled to the size of the fixed input."""
    counter = open_counter(gpu=DEVICES[protocol.device].gpu, gpu_uuid=ready.gpu_uuid)
    if isinstance(counter, Absent):
        return counter
    height, width = protocol.counted_input
    image = pairs.read_lr(0)
    times = (-(-height // image.shape[0]), -(-width // image.shape[1]), 1)
    lr = np.ascontiguousarray(np.tile(image, times)[:height, :width])
    name = "the fixed input"
    try:
        return measure_energy(
            lambda shifted: session.upscale(shifted, name),
            lr,
            counter,
            **design.model_dump(),
        )
    except MeasurementError as failure:
        raise_if_fatal(failure)
        return failed(failure)


def _count(
    session: WorkerSession,
    entry: Entry,
    pairs: ImagePairs,
    found: UntimedPass,
    *,
    on_step: Step,
) -> list[Sample]:
    """Fill in the counts. This comes last, because counters import and patch much of torch.

    Returns:
        Samples for an entry with its own interpreter, which is counted in the harness's environment
        later; otherwise none.
    """
    on_step("counting")
    try:
        if entry.interpreter is not None:
            return draw_samples(session.upscale, pairs)
        found.complexity = session.count_complexity()
    except WorkerError as failure:
        found.complexity = failed(failure)
    return []


def _require_image(session: WorkerSession, pairs: ImagePairs, found: UntimedPass) -> None:
    """Upscale the first image, and record a failure if the network cannot."""
    name = pairs.pairs[0].name
    try:
        session.upscale(pairs.read_lr(0), name)
    except WorkerError as failure:
        found.quality = failed(failure.on_image(name))
        raise_if_fatal(failure)


def effective_weights(weights: ResolvedWeights, ready: Ready) -> ResolvedWeights:
    """The weights that the worker found; without a file they are random or ``none``."""
    if weights.path is not None:
        told = ready.model_dump(include={"parameters_sha256"}) | {"layout": ready.layout}
        found = weights.identity.model_copy(update=told)
        return replace(weights, identity=found)
    source: Literal["none", "random"] = "random" if ready.parameters else "none"
    return replace(weights, identity=weights.identity.model_copy(update={"source": source}))


def _unscored(entry: Entry) -> Absent:
    name, scale = entry.descriptor.name, entry.scale
    if entry.descriptor.released_weights(scale) is None:
        return Absent(
            kind="unavailable",
            reason=f"random weights: none are released for {name} at x{scale}",
            advice=f"Give trained weights with --weights {name}=FILE. In a challenge file, list "
            "the folder of an entry that holds them.",
        )
    return Absent(
        kind="unavailable",
        reason="random weights: the released ones are not in the cache",
        advice=f"Run `esrbench fetch weights {name} --scale {scale}`.",
    )


def failed(failure: MeasurementError) -> Absent:
    """An absent part, with the reason why its measurement failed."""
    kind = failure.kind if isinstance(failure, WorkerError) else None
    return Absent(kind="failed", reason=failure.message, advice=failure.advice, failure=kind)


def raise_if_fatal(failure: MeasurementError) -> None:
    """Raise the failure again if its worker is gone."""
    if isinstance(failure, WorkerError) and failure.fatal:
        raise failure
