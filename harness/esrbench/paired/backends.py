"""One network by several backends: its SR against eager torch's, and its time in paired rounds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from esrbench.backends import backend_names, get_backend
from esrbench.errors import EsrbenchError
from esrbench.paired.race import race
from esrbench.probes.forward import fixed_lr
from esrbench.processes import peak_bytes
from esrbench.protocol import EAGER, Frozen, PairDesign
from esrbench.records import Absent, Count, Deployment, PairedEstimate, required
from esrbench.runs.builds import build
from esrbench.runs.evaluator import measure_untimed
from esrbench.runs.exports import export, require_backend
from esrbench.runs.plan import hidden_images
from esrbench.worker.launcher import open_launcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from esrbench.data.datasets import ImagePairs
    from esrbench.protocol import Protocol
    from esrbench.runs.evaluator import Entry
    from esrbench.sandbox.tiers import IsolationChoice
    from esrbench.worker.launcher import Launcher

DESIGN: Final = PairDesign(max_pairs=120)
"""Looked at from 20 pairs on; a ratio far from 1 needs no more."""


def named_backends(names: Sequence[str]) -> tuple[str, ...]:
    """Backends by name, or all but eager torch for ``all``.

    Raises:
        UsageError: an unknown name; the message names the known ones.
    """
    if tuple(names) == ("all",):
        return tuple(name for name in backend_names() if name != EAGER)
    return tuple(get_backend(name).name for name in names)


class BackendFigures(Frozen):
    """What a backend makes of one network.

    Attributes:
        network: registered name.
        backend: its name.
        deployment: its SR, graph and options; absent with the reason where it cannot run.
        ratio: its time over eager torch's, of pairs of forwards in one process.
        peak_bytes: most resident memory of its worker, PyTorch and the network's code included,
            for one forward at the fixed input; None where the system does not tell.
    """

    network: str
    backend: str
    deployment: Deployment | Absent
    ratio: PairedEstimate | Absent
    peak_bytes: Count | None = None


def compare_backends(
    entry: Entry,
    backends: Sequence[str],
    pairs: ImagePairs,
    protocol: Protocol,
    *,
    isolation: IsolationChoice = "auto",
    on_step: Callable[[str], None] = lambda _step: None,
) -> Iterator[BackendFigures]:
    """Measure one network by backends, each beside eager torch.

    Args:
        entry: network and weights.
        backends: their names; eager torch itself is left out.
        pairs: checked images on which SR is compared.
        protocol: settings; ``counted_input`` is the size that is timed.
        isolation: which sandbox is asked for.
        on_step: told the backend and what is done.

    Yields:
        One result a backend, in order. A backend that fails has the reason.
    """
    launcher = open_launcher(isolation).hiding(hidden_images(pairs))
    quick = protocol.model_copy(update={"counters": (), "latency": None})
    for name in backends:
        if name == EAGER:
            continue
        try:
            own = quick.by(name)
            require_backend(own)
            on_step(f"{name}, exporting")
            built = export(_built(entry, launcher), own, launcher)
            on_step(f"{name}, upscaling")
            found = measure_untimed(built, pairs, own, launcher=launcher)
            if found.deployment is None:
                required(found.quality)
            on_step(f"{name}, timing")
            record = race(entry, entry, own, DESIGN, isolation=isolation, baseline_backend=EAGER)
            yield BackendFigures(
                network=entry.descriptor.name,
                backend=name,
                deployment=found.deployment or Absent(kind="failed", reason="it did not run"),
                ratio=record.estimate
                if isinstance(record.estimate, PairedEstimate)
                else Absent(kind="failed", reason=record.reason),
                peak_bytes=_peak(built, own, launcher),
            )
        except EsrbenchError as error:
            absent = Absent(kind="unavailable", reason=error.message, advice=error.advice)
            yield BackendFigures(
                network=entry.descriptor.name, backend=name, deployment=absent, ratio=absent
            )


def _built(entry: Entry, launcher: Launcher) -> Entry:
    return replace(entry, descriptor=build(entry.descriptor, launcher))


def _peak(entry: Entry, protocol: Protocol, launcher: Launcher) -> int | None:
    """Most memory of a worker that makes one forward at the fixed input."""
    worker = launcher.worker(
        (entry.descriptor, entry.weights), protocol=protocol, readable=entry.readable
    )
    with worker as session:
        entry.load(session, protocol)
        session.forward(fixed_lr(protocol))
        return peak_bytes(session.process.pid)
