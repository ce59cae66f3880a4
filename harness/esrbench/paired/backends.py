"""One network by several backends: its SR against eager torch's, and its time in paired rounds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from esrbench.backends import backend_names, get_backend
from esrbench.errors import EsrbenchError, UsageError
from esrbench.paired.race import race
from esrbench.probes.forward import fixed_lr
from esrbench.processes import peak_bytes
from esrbench.protocol import EAGER, Frozen, PairDesign, PrecisionName
from esrbench.records import Absent, Count, Deployment, PairedEstimate, required
from esrbench.runs.builds import build
from esrbench.runs.evaluator import measure_untimed
from esrbench.runs.exports import export, require_backend
from esrbench.runs.plan import hidden_images
from esrbench.worker.launcher import open_launcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from esrbench.data.calibration import Calibration
    from esrbench.data.datasets import ImagePairs
    from esrbench.protocol import Protocol
    from esrbench.runs.evaluator import Entry
    from esrbench.sandbox.tiers import IsolationChoice
    from esrbench.worker.launcher import Launcher

QUANTISED: Final[tuple[tuple[PrecisionName, bool], ...]] = (
    ("int8", False),
    ("int8", True),
    ("int8-w16", False),
    ("int8-w16", True),
)
"""Precisions that are compared, and whether first and last convolution stay in float32."""
DESIGN: Final = PairDesign(pairs_per_process=20, self_pairs_per_process=10, max_pairs=60)
"""Looked at from 20 pairs on; a ratio far from 1 needs no more."""


def named_backends(names: Sequence[str]) -> tuple[str, ...]:
    """Backends by name, or for ``all`` those of the CPU beside eager torch.

    Raises:
        UsageError: an unknown name; the message names the known ones.
    """
    if tuple(names) == ("all",):
        known = map(get_backend, backend_names())
        return tuple(each.name for each in known if each.name != EAGER and "cpu" in each.devices)
    return tuple(get_backend(name).name for name in names)


def compared_protocols(
    protocol: Protocol, backends: Sequence[str], calibration: Calibration | None
) -> tuple[Protocol, ...]:
    """The protocol by each backend beside eager torch, and in integers where that has them.

    Args:
        protocol: in float32.
        backends: their names; eager torch itself is left out.
        calibration: images by which networks are quantised; None for float32 alone.

    Returns:
        One a row; those of integers also with first and last convolution in float32.

    Raises:
        UsageError: there is no backend but eager torch.
    """
    found: list[Protocol] = []
    for own in (protocol.by(name) for name in backends if name != EAGER):
        found.append(own)
        if calibration is not None:
            known = get_backend(own.forward.backend).precisions
            found += [
                own.in_precision(precision, calibration.quantisation(fp32_ends=fp32_ends))
                for precision, fp32_ends in QUANTISED
                if precision in known
            ]
    if not found:
        message = f"--backends {','.join(backends)}: all are compared with eager torch itself"
        raise UsageError(message, advice="Name another, or all.")
    return tuple(found)


class BackendFigures(Frozen):
    """The result of a backend for one network.

    Attributes:
        network: registered name.
        backend: its name.
        precision: of its forward, and what of the network keeps another.
        deployment: its SR, graph and options; absent with the reason where it cannot run.
        ratio: its time over eager torch's, of pairs of forwards in one process.
        peak_bytes: most resident memory of its worker, PyTorch and the network's code included,
            for one forward at the fixed input; None where the system does not tell.
    """

    network: str
    backend: str
    precision: str = "fp32"
    deployment: Deployment | Absent
    ratio: PairedEstimate | Absent
    peak_bytes: Count | None = None


def compare_backends(
    entry: Entry,
    protocols: Sequence[Protocol],
    pairs: ImagePairs,
    *,
    calibration: Calibration | None = None,
    isolation: IsolationChoice = "auto",
    on_step: Callable[[str], None] = lambda _step: None,
) -> Iterator[BackendFigures]:
    """Measure one network by backends, each beside eager torch.

    Args:
        entry: network and weights.
        protocols: as of ``compared_protocols``; ``counted_input`` is the size that is timed.
        pairs: checked images on which SR is compared.
        calibration: images by which it is quantised.
        isolation: which sandbox is asked for.
        on_step: told the backend and what is done.

    Yields:
        One result a protocol, in order. A backend that fails has the reason.

    Raises:
        DataError: images are calibrated with that are scored.
    """
    if calibration is not None:
        calibration.refuse_scored((pairs,))
    launcher = open_launcher(isolation).hiding(hidden_images(pairs))
    for protocol in protocols:
        own = protocol.model_copy(update={"counters": (), "latency": None})
        forward = own.forward
        name = forward.backend
        precision = forward.label.removesuffix(f", {name}")
        shared = {"network": entry.descriptor.name, "backend": name, "precision": precision}
        try:
            require_backend(own)
            on_step(f"{forward.label}, exporting")
            built = export(_built(entry, launcher), own, launcher, calibration=calibration)
            on_step(f"{forward.label}, upscaling")
            found = measure_untimed(built, pairs, own, launcher=launcher)
            if found.deployment is None:
                required(found.quality)
            on_step(f"{forward.label}, timing")
            record = race(
                entry,
                entry,
                own,
                DESIGN,
                isolation=isolation,
                baseline_backend=EAGER,
                calibration=calibration,
            )
            yield BackendFigures(
                **shared,
                deployment=found.deployment or Absent(kind="failed", reason="it did not run"),
                ratio=record.estimate
                if isinstance(record.estimate, PairedEstimate)
                else Absent(kind="failed", reason=record.reason),
                peak_bytes=_peak(built, own, launcher),
            )
        except EsrbenchError as error:
            absent = Absent(kind="unavailable", reason=error.message, advice=error.advice)
            yield BackendFigures(**shared, deployment=absent, ratio=absent)


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
