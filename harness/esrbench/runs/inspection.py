"""Inspect networks without timing them: complexity of many, or the blocks of one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from esrbench.entries.networks import resolve_weights
from esrbench.errors import EsrbenchError
from esrbench.protocol import COUNTERS, Protocol
from esrbench.records import Absent
from esrbench.runs.builds import build
from esrbench.runs.elsewhere import draw_noise
from esrbench.runs.evaluator import count_at_home, failed
from esrbench.worker.failure import WorkerError
from esrbench.worker.launcher import open_launcher

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.protocol import CounterName
    from esrbench.records import Block, Complexity
    from esrbench.runs.evaluator import Entry
    from esrbench.worker.launcher import Launcher
    from esrbench.worker.session import WorkerSession

COMPARED_SIDE: Final = 48
"""Side in pixels of the LR image on which a network must give the same SR here as in its
interpreter."""


def count_models(
    models: Sequence[tuple[ModelDescriptor, int]],
    *,
    input_size: tuple[int, int] = (256, 256),
    counters: Sequence[CounterName] = COUNTERS,
) -> Iterator[Complexity | Absent]:
    """Complexity of many networks with random weights; trusted networks share one worker.

    Args:
        models: descriptors and the scales to count them at.
        input_size: LR height and width.
        counters: which rules to count by.

    Yields:
        One result for each network, in order; absent, with the reason, if counting failed.
    """
    remaining = list(models)
    protocol = Protocol(counted_input=input_size, counters=tuple(counters))
    launcher = open_launcher()
    while remaining:
        # Each submission gets its own worker; trusted networks share one.
        alone = remaining[0][0].folder is not None
        if alone:
            descriptor, scale = remaining[0]
            try:
                remaining[0] = (build(descriptor, launcher), scale)
            except EsrbenchError as error:
                yield Absent(kind="failed", reason=error.message, advice=error.advice)
                del remaining[0]
                continue
        together = remaining[:1] if alone else remaining
        with launcher.worker(*((descriptor, None) for descriptor, _ in together)) as session:
            while remaining:
                if not alone and remaining[0][0].folder is not None:
                    break
                descriptor, scale = remaining.pop(0)
                try:
                    _load(session, descriptor, scale, protocol)
                    yield session.count_complexity()
                except WorkerError as error:
                    yield failed(error)
                    if error.fatal:
                        break
                if alone:
                    break


def count_moved(entry: Entry, protocol: Protocol, launcher: Launcher) -> Complexity | Absent:
    """Complexity of an entry of another interpreter, if its network is the same here.

    Args:
        entry: the entry, with its weights for that interpreter.
        protocol: settings.
        launcher: starts the workers in both interpreters.

    Returns:
        Absent with the reason: ``failed`` if it does not run in its own interpreter,
        ``unavailable`` if the network differs here.
    """
    worker = partial(launcher.worker, (entry.descriptor, entry.weights), protocol=protocol)
    try:
        with worker(interpreter=entry.interpreter) as session:
            ready = entry.load(session, protocol)
            side = max(entry.descriptor.min_lr_size, COMPARED_SIDE)
            samples = draw_noise(session.upscale, side)
    except WorkerError as error:
        return failed(error)
    return count_at_home(entry, protocol, launcher, ready=ready, samples=samples)


def blocks_of(
    descriptor: ModelDescriptor,
    scale: int,
    *,
    depth: int,
    input_size: tuple[int, int] = (256, 256),
) -> tuple[Block, ...]:
    """The cost of each block of a network.

    Args:
        descriptor: of the network.
        scale: upscaling factor.
        depth: depth of the deepest modules shown.
        input_size: LR height and width.

    Raises:
        UsageError: the network is not defined at this scale, or cannot be compiled here.
        WorkerError: the network cannot be built, or its forward needs pixel values.
    """
    descriptor.require_scale(scale)
    launcher = open_launcher()
    descriptor = build(descriptor, launcher)
    with launcher.worker((descriptor, None)) as session:
        _load(session, descriptor, scale, Protocol(counted_input=input_size))
        return session.measure_blocks(depth)


def _load(
    session: WorkerSession, descriptor: ModelDescriptor, scale: int, protocol: Protocol
) -> None:
    weights = resolve_weights(descriptor, scale, None)
    own = protocol.in_precision(descriptor.precision)
    session.load(descriptor, scale, weights=weights, protocol=own)
