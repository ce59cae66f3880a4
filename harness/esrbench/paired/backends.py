"""One network by several backends: its SR against eager torch's, and its time in paired rounds.

Each measured row is stored. So a comparison that was interrupted continues at the next row.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from esrbench.backends import COMPILED, backend_names, get_backend
from esrbench.environment import package_version
from esrbench.errors import EsrbenchError, UsageError
from esrbench.paired.race import race
from esrbench.probes.forward import fixed_lr
from esrbench.processes import peak_bytes
from esrbench.protocol import EAGER, PairDesign, PrecisionName
from esrbench.records import (
    Absent,
    BackendFigures,
    BackendRecord,
    Notice,
    PairedEstimate,
    required,
)
from esrbench.runs.builds import build
from esrbench.runs.evaluator import measure_untimed
from esrbench.runs.exports import export, require_backend
from esrbench.runs.fingerprint import expected_environment, fingerprint
from esrbench.runs.plan import hidden_images
from esrbench.worker.launcher import open_launcher
from esrbench.worker.process import DEFAULT_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from esrbench.data.calibration import Calibration
    from esrbench.data.datasets import ImagePairs
    from esrbench.protocol import Protocol
    from esrbench.records import DataIdentity, Environment
    from esrbench.runs.equality import Upscale
    from esrbench.runs.evaluator import Entry
    from esrbench.runs.store import Store
    from esrbench.sandbox.tiers import IsolationChoice
    from esrbench.worker.launcher import Launcher
    from esrbench.worker.session import WorkerSession

    Pixels = npt.NDArray[np.uint8]

QUANTISED: Final[tuple[tuple[PrecisionName, bool], ...]] = (
    ("int8", False),
    ("int8", True),
    ("int8-w16", False),
    ("int8-w16", True),
)
"""Precisions that are compared, and whether first and last convolution stay in float32."""
DESIGN: Final = PairDesign(pairs_per_process=30, self_pairs_per_process=30, max_pairs=60)
"""Two processes, one of either order of loading: starting a third would take longer than all pairs.
As many pairs of copies as of networks soon show that the machine is quiet."""


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


@dataclass(frozen=True, slots=True)
class BackendRow:
    """A row to be measured.

    Attributes:
        entry: network and weights.
        protocol: names the backend; ``counted_input`` is the size that is timed.
        data: images on which SR is compared.
        environment: as it is known before anything runs, the backend's libraries included.
        fingerprint: digest of all of these.
    """

    entry: Entry
    protocol: Protocol
    data: DataIdentity
    environment: Environment
    fingerprint: str


def plan_rows(
    entries: Iterable[Entry],
    protocols: Sequence[Protocol],
    pairs: ImagePairs,
    isolation: IsolationChoice = "auto",
) -> tuple[BackendRow, ...]:
    """The rows of a table, one network after the other.

    Args:
        entries: networks and weights.
        protocols: the result of ``compared_protocols``.
        pairs: checked images on which SR is compared.
        isolation: which sandbox is asked for.
    """
    tier = open_launcher(isolation).sandbox.tier
    data = pairs.identity()
    rows = []
    for entry in entries:
        for protocol in (
            each.model_copy(update={"counters": (), "latency": None}) for each in protocols
        ):
            forward = protocol.forward
            needs = get_backend(forward.backend).needs(forward.precision)
            known = expected_environment(protocol, tier)
            packages = {**known.packages, **{each: package_version(each) for each in needs}}
            environment = known.model_copy(update={"packages": packages})
            digest = fingerprint(entry, data, protocol, environment)
            rows.append(BackendRow(entry, protocol, data, environment, digest))
    return tuple(rows)


def stored_rows(
    rows: Iterable[BackendRow], store: Store
) -> tuple[dict[str, BackendFigures], list[Notice]]:
    """Figures that were measured before of the same code, weights, data, protocol and machine.

    Args:
        rows: of a table.
        store: of results.

    Returns:
        By fingerprint, and a notice for every file that cannot be read.
    """
    found: dict[str, BackendFigures] = {}
    notices = []
    for row in rows:
        stored = store.load_backend(row.fingerprint)
        if isinstance(stored, Notice):
            notices.append(stored)
        elif stored is not None and stored.fingerprint == row.fingerprint:
            found[row.fingerprint] = stored.figures
    return found, notices


def compare_backends(
    rows: Sequence[BackendRow],
    pairs: ImagePairs,
    store: Store,
    *,
    known: Mapping[str, BackendFigures],
    calibration: Calibration | None = None,
    isolation: IsolationChoice = "auto",
    on_step: Callable[[BackendRow, str], None] = lambda _row, _step: None,
) -> Iterator[BackendFigures]:
    """Measure networks by backends, each beside eager torch, and store each row when it is whole.

    A row that lacks a figure, because the machine was busy or the backend failed, is not stored.

    Args:
        rows: the result of ``plan_rows``.
        pairs: checked images on which SR is compared.
        store: receives the rows.
        known: rows that are not measured, by fingerprint.
        calibration: images by which networks are quantised.
        isolation: which sandbox is asked for.
        on_step: told the row and what is done.

    Yields:
        One result a row, in order. A backend that fails has the reason.

    Raises:
        DataError: a calibration image is also scored.
        RecordError: a row cannot be stored.
    """
    if calibration is not None:
        calibration.refuse_scored((pairs,))
    hidden = (*hidden_images(pairs), *(each.resolve() for each in store.folders))
    launcher = open_launcher(isolation).hiding(hidden)
    for _, group in groupby(rows, key=lambda row: row.entry.descriptor.name):
        with ExitStack() as ending:
            folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="esrbench-")))
            reference: _EagerSR | None = None
            for row in group:
                if row.fingerprint in known:
                    yield known[row.fingerprint]
                    continue
                if reference is None:
                    reference = _EagerSR(row.entry, row.protocol.eager, launcher, folder, ending)
                created = datetime.now(UTC)
                figures = _measured(
                    row,
                    pairs,
                    launcher,
                    reference.upscale,
                    calibration=calibration,
                    isolation=isolation,
                    on_step=on_step,
                )
                if figures.whole:
                    store.put(_record(row, figures, created))
                yield figures


def _record(row: BackendRow, figures: BackendFigures, created: datetime) -> BackendRecord:
    return BackendRecord(
        fingerprint=row.fingerprint,
        created=created,
        entry=row.entry.identify(),
        data=row.data,
        protocol=row.protocol,
        design=DESIGN,
        environment=row.environment,
        figures=figures,
    )


def _measured(
    row: BackendRow,
    pairs: ImagePairs,
    launcher: Launcher,
    reference: Upscale,
    *,
    calibration: Calibration | None,
    isolation: IsolationChoice,
    on_step: Callable[[BackendRow, str], None],
) -> BackendFigures:
    """One row, or why there is none."""
    entry, protocol, forward = row.entry, row.protocol, row.protocol.forward
    shared = {
        "network": entry.descriptor.name,
        "backend": forward.backend,
        "precision": forward.label.removesuffix(f", {forward.backend}"),
    }
    with tempfile.TemporaryDirectory(prefix="esrbench-") as temporary:
        first = _FirstForward(protocol, Path(temporary))
        try:
            require_backend(protocol)
            on_step(row, "exporting")
            built = replace(entry, descriptor=build(entry.descriptor, launcher))
            built = export(built, protocol, launcher, calibration=calibration)
            on_step(row, "upscaling")
            found = measure_untimed(
                built,
                pairs,
                protocol,
                launcher=launcher,
                counted=False,
                on_loaded=first.make,
                reference=reference,
            )
            if found.deployment is None:
                required(found.quality)
            on_step(row, "timing")
            record = race(
                first.compiled(entry),
                entry,
                protocol,
                DESIGN,
                isolation=isolation,
                baseline_backend=EAGER,
                calibration=calibration,
            )
        except EsrbenchError as error:
            absent = Absent(kind="unavailable", reason=error.message, advice=error.advice)
            return BackendFigures(**shared, deployment=absent, ratio=absent)
    return BackendFigures(
        **shared,
        deployment=found.deployment or Absent(kind="failed", reason="it did not run"),
        ratio=record.estimate
        if isinstance(record.estimate, PairedEstimate)
        else Absent(kind="failed", reason=record.reason),
        peak_bytes=first.peak_bytes,
    )


@dataclass(slots=True)
class _FirstForward:
    """A worker's first forward, at the fixed input, and what it leaves.

    Attributes:
        protocol: settings.
        folder: receives what the compiler made for the fixed input, so that the workers that time
            it need not compile it again.
        peak_bytes: most memory of the worker so far; None where the system does not tell.
    """

    protocol: Protocol
    folder: Path
    peak_bytes: int | None = None

    def make(self, session: WorkerSession) -> None:
        session.forward(fixed_lr(self.protocol))
        self.peak_bytes = peak_bytes(session.process.pid)
        content = session.read_compiled()
        if content:
            (self.folder / COMPILED).write_bytes(content)

    def compiled(self, entry: Entry) -> Entry:
        """The entry with what was compiled of it, if anything was."""
        there = (self.folder / COMPILED).exists()
        return replace(entry, graph_folder=self.folder) if there else entry


@dataclass(slots=True)
class _EagerSR:
    """SR of one network by eager torch. Each image is upscaled once, for all backends.

    Attributes:
        entry: network and weights.
        protocol: of eager torch.
        launcher: starts its worker when the first image is asked for.
        folder: receives the images.
        ending: ends the worker.
    """

    entry: Entry
    protocol: Protocol
    launcher: Launcher
    folder: Path
    ending: ExitStack
    _session: WorkerSession | None = None

    def upscale(self, lr: Pixels, image: str) -> Pixels:
        """SR of an image.

        Raises:
            WorkerError: the network failed.
        """
        path = self.folder / f"{image}.npy"
        if not path.exists():
            np.save(path, self._worker().upscale(lr, image))
        sr: Pixels = np.load(path)
        return sr

    def _worker(self) -> WorkerSession:
        if self._session is None:
            built = replace(self.entry, descriptor=build(self.entry.descriptor, self.launcher))
            worker = built.worker(
                self.launcher, self.protocol, timeout_seconds=DEFAULT_TIMEOUT_SECONDS
            )
            session = self.ending.enter_context(worker)
            built.load(session, self.protocol)
            self._session = session
        return self._session
