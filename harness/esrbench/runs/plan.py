"""The plan of a suite: entries, data sets, and the passes that they need."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from esrbench.data.codecs import read_size
from esrbench.data.datasets import open_dataset
from esrbench.devices import DEVICES
from esrbench.entries.networks import resolve_weights
from esrbench.environment import cpus_available
from esrbench.errors import EsrbenchError, UsageError, WeightsError
from esrbench.plaintext import plural, relative, series
from esrbench.probes.quality import require_metrics
from esrbench.runs.builds import build
from esrbench.runs.elsewhere import converted_state, find_interpreters
from esrbench.runs.evaluator import Entry
from esrbench.runs.exports import export, require_backend
from esrbench.runs.rejected import RejectedEntry
from esrbench.worker.failure import WorkerError
from esrbench.worker.launcher import open_launcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from esrbench.data.calibration import Calibration
    from esrbench.data.crops import CropFolder
    from esrbench.data.datasets import ImagePairs
    from esrbench.entries.descriptor import Precision
    from esrbench.entries.networks import WeightsChoice
    from esrbench.entries.registry import Registry
    from esrbench.protocol import Device, Protocol
    from esrbench.records import DataIdentity, Environment
    from esrbench.runs.passes import SharedRounds
    from esrbench.sandbox.interpreters import Interpreter
    from esrbench.sandbox.tiers import IsolationChoice
    from esrbench.worker.launcher import Launcher


FIXED_INPUT = "the fixed input"
Opened = tuple["ImagePairs", "DataIdentity"]
"""A checked data set, and its identity in records."""


@dataclass(frozen=True, slots=True)
class Suite:
    """What a suite will run, checked beforehand.

    Attributes:
        entries: entries for each data set, with the baseline.
        data: data sets, in order.
        protocol: settings.
        launcher: starts every worker.
        baseline: name of the entry by whose runtime others are divided, or None.
        order_seed: seed of the random order of entries in each round.
        sr_folder: where SR images are written, a folder for each data set and entry, or None.
        rejected: requested submissions that cannot run.
        precisions: arithmetic of entries that do not use the protocol's, by name.
    """

    entries: tuple[Entry, ...]
    data: tuple[tuple[ImagePairs, DataIdentity], ...]
    protocol: Protocol
    launcher: Launcher
    baseline: str | None = None
    order_seed: int = 0
    sr_folder: Path | None = None
    rejected: tuple[RejectedEntry, ...] = ()
    precisions: Mapping[str, Precision] = field(default_factory=dict)

    def protocol_of(self, name: str) -> Protocol:
        """The settings under which an entry runs, by its name."""
        own = self.precisions.get(name)
        return self.protocol if own is None else self.protocol.in_precision(own)

    def digest(self) -> str:
        """SHA-256 (hex) of the plan; later changes of files do not change it."""
        names = [entry.descriptor.name for entry in self.entries]
        names += [rejected.name for rejected in self.rejected]
        parts = {
            "entries": sorted(names),
            "scales": sorted({entry.scale for entry in self.entries}),
            "data": [data.digest for _, data in self.data],
            "protocols": sorted({self.protocol_of(name).digest() for name in names}),
            "baseline": self.baseline,
            "order_seed": self.order_seed,
            "sr_folder": self.sr_folder and str(self.sr_folder.resolve()),
            "gpu": self.launcher.gpu,
            "software": {
                entry.descriptor.name: entry.software.describe()
                for entry in self.entries
                if entry.software is not None
            },
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class PlannedPass:
    """A pass to be made, with all that it needs; a timed pass also needs its untimed pass.

    Attributes:
        entry: network and weights.
        pairs: checked images.
        data: their identity.
        protocol: settings.
        environment: the environment, as far as it is known before anything runs.
        launcher: starts workers that see only files which the entry may see.
        fingerprint: fingerprint of the run.
        rounds: settings that timed passes of all entries share.
        index: number of the round; None for the untimed pass.
        position: position of the entry in its round.
        sr_folder: where SR images are written, or None.
        crops: parts of SR images that are kept, or None.
    """

    entry: Entry
    pairs: ImagePairs
    data: DataIdentity
    protocol: Protocol
    environment: Environment
    launcher: Launcher
    fingerprint: str
    rounds: SharedRounds
    index: int | None = None
    position: int = 0
    sr_folder: Path | None = None
    crops: CropFolder | None = None

    @property
    def name(self) -> str:
        """Name of its file, which says what it measures."""
        kind = "untimed" if self.index is None else f"timed-{self.index:03}"
        return f"{self.fingerprint}.{kind}"


def plan_passes(
    suite: Suite,
    pairs: ImagePairs,
    data: DataIdentity,
    *,
    rounds: SharedRounds,
    environment: Environment,
    fingerprints: Mapping[str, str],
) -> list[PlannedPass]:
    """The passes of a suite on one data set, in the order in which they are made.

    All entries are scored and counted first, so only timed passes lie between an entry and the
    baseline. Then each round times all entries in a new random order.

    Args:
        suite: entries and settings.
        pairs: checked images.
        data: their identity.
        rounds: settings that timed passes share.
        environment: the environment, as far as it is known before anything runs.
        fingerprints: fingerprints of the runs, by name of the entry.
    """
    launcher = suite.launcher.hiding(hidden_images(pairs))
    folders = [
        (each.descriptor.name, Path(folder))
        for each in suite.entries
        for folder in (each.descriptor.folder, each.descriptor.sources)
        if folder is not None
    ]
    untimed = []
    for entry in suite.entries:
        name = entry.descriptor.name
        others = (folder for other, folder in folders if other != name)
        sr_folder = suite.sr_folder and suite.sr_folder / data.name / name
        untimed.append(
            PlannedPass(
                entry=entry,
                pairs=pairs,
                data=data,
                protocol=suite.protocol_of(name),
                environment=entry.environment(environment),
                launcher=launcher.hiding(others),
                fingerprint=fingerprints[name],
                rounds=rounds,
                sr_folder=sr_folder,
            )
        )
    planned, order = list(untimed), list(untimed)
    shuffled = random.Random(suite.order_seed)  # noqa: S311 - an order, not a secret
    for index in range(suite.protocol.latency.processes if suite.protocol.latency else 0):
        shuffled.shuffle(order)
        planned += [
            replace(each, index=index, position=position) for position, each in enumerate(order)
        ]
    return planned


def hidden_images(pairs: ImagePairs) -> Iterator[Path]:
    """The folders of a data set's images, which no worker may see."""
    for pair in pairs.pairs:
        yield from {pair.hr.resolve().parent, pair.lr.resolve().parent}


def plan_suite(
    registry: Registry,
    names: Sequence[str],
    data: Sequence[str | Opened],
    scale: int,
    *,
    weights: Mapping[str, WeightsChoice],
    protocol: Protocol,
    interpreters: Mapping[str, str] = MappingProxyType({}),
    isolation: IsolationChoice = "auto",
    baseline: str | None = None,
    order_seed: int = 0,
    sr_folder: Path | None = None,
    calibration: Calibration | None = None,
    own_precision: bool = False,
    gpu: int | None = 0,
    on_image: Callable[[str, int, int], None] = lambda _spec, _done, _total: None,
) -> Suite:
    """Resolve and check everything before any network runs.

    Args:
        registry: names are looked up here.
        names: names of networks; a repeated name counts once.
        data: data sets, each as ``NAME``, ``PATH``, ``NAME=PATH`` or already opened; equal images
            count once.
        scale: upscaling factor.
        weights: by name; networks left out take ``auto``.
        interpreters: interpreters of entries that run in another Python, from
            ``find_interpreters``.
        protocol: settings.
        isolation: the requested sandbox.
        baseline: name of the entry by whose runtime others are divided; it runs even if ``names``
            lacks it.
        order_seed: seed of the random order of entries in each round.
        sr_folder: where SR images are written, or None.
        calibration: images of the protocol's quantisation, if it has one.
        own_precision: each entry runs in the precision that it declares, not in the protocol's.
        gpu: number of the GPU, if the protocol asks for one; None if other machines measure.
        on_image: called with the data set, the images checked so far and the number of all.

    Raises:
        UsageError: an unknown name or scale, or weights for a network that does not run. Also an LR
            image that is too small for the baseline or for every network, or a protocol or a
            sandbox that this machine does not support.
        WeightsError: a weights file is missing or altered. Errors of a submission, or an image too
            small for one of several networks, do not raise: they become the status of its record.
        DataError: images cannot be measured on, or calibration images are also scored; all
            problems are listed.
    """
    require_possible(protocol, gpu)
    require_metrics(protocol.quality.metrics)
    rejected = {
        name: RejectedEntry(name, scale, error)
        for name in dict.fromkeys(names)
        if (error := broken_submission(registry, name, scale, weights))
    }
    errors = [entry.error for entry in rejected.values()]
    if set(rejected) == set(names) and all(isinstance(error, UsageError) for error in errors):
        raise errors[0]  # no network has this scale, so the caller is wrong
    named = [name for name in names if name not in rejected]
    if baseline is not None:
        named.append(baseline)
    entries = plan_entries(registry, named, scale, weights)
    chosen = {name: where for name, where in interpreters.items() if name not in rejected}
    found = find_interpreters(chosen, {each.descriptor.name: each.descriptor for each in entries})
    opened: dict[str, tuple[ImagePairs, DataIdentity]] = {}
    for spec in data:
        if isinstance(spec, str):
            pairs = open_dataset(spec, scale, progress=partial(on_image, spec))
            identity = pairs.identity()
        else:
            pairs, identity = spec
        if identity.verified or identity.digest not in opened:
            opened[identity.digest] = (pairs, identity)
    hidden = [identity.name for _, identity in opened.values() if identity.hidden]
    if hidden and sr_folder is not None:
        message = f"{', '.join(hidden)}: SR images of a hidden test set are not written"
        raise UsageError(message, advice="Leave --save-sr out.")
    if calibration is not None:
        calibration.refuse_scored(pairs for pairs, _ in opened.values())
    precisions = {
        name: registry.get(name).precision
        for name in (*rejected, *named)
        if own_precision and name in registry
    }
    launcher = open_launcher(isolation, gpu=gpu or 0)
    entries, unread = _moved(entries, found, launcher, baseline)
    entries, unbuilt = _built(entries, launcher, baseline)
    entries, unexported = _exported(
        entries, launcher, baseline, protocol, precisions, calibration=calibration
    )
    suite = Suite(
        entries,
        tuple(opened.values()),
        protocol,
        launcher,
        baseline,
        order_seed,
        sr_folder=sr_folder,
        rejected=(*rejected.values(), *unread, *unbuilt, *unexported),
        precisions=precisions,
    )
    return _fitting(suite)


def _moved(
    entries: Sequence[Entry],
    interpreters: Mapping[str, Interpreter],
    launcher: Launcher,
    baseline: str | None,
) -> tuple[tuple[Entry, ...], list[RejectedEntry]]:
    """Convert the weights of entries that run in another interpreter.

    Returns:
        Entries, and rejected entries whose weights cannot be read; a baseline must be readable.
    """
    moved: list[Entry] = []
    unread: list[RejectedEntry] = []
    for entry in entries:
        name = entry.descriptor.name
        interpreter = interpreters.get(name)
        if interpreter is None:
            moved.append(entry)
            continue
        try:
            state = converted_state(entry.weights, launcher)
        except (WeightsError, WorkerError) as error:
            if name == baseline:
                raise
            unread.append(RejectedEntry(name, entry.scale, error, identity=entry.identify()))
        else:
            moved.append(replace(entry, interpreter=interpreter, state=state))
    return tuple(moved), unread


def broken_submission(
    registry: Registry, name: str, scale: int, weights: Mapping[str, WeightsChoice]
) -> EsrbenchError | None:
    """The error that keeps a submission from running, or None; always None for other networks."""
    if name in registry.broken:
        return registry.broken[name]
    if name not in registry or registry.get(name).folder is None or name in weights:
        return None
    try:
        resolve_weights(registry.get(name), scale)
    except UsageError as error:
        return error
    except WeightsError as error:
        # Records and tables are published, so the message must not contain paths of this machine.
        folder = str(Path(registry.get(name).folder or "").parent)
        return WeightsError(relative(error.message, [folder]), advice=error.advice)
    return None


def require_possible(protocol: Protocol, gpu: int | None = 0) -> None:
    """Raise an error if no worker on this machine could follow the protocol.

    Args:
        protocol: settings.
        gpu: number of the GPU, if the protocol asks for one; None for a GPU of another machine.

    Raises:
        UsageError: there is no such GPU, only GPUs have this arithmetic, there are more threads
            than CPUs, or the backend is not installed or does not support the request.
    """
    forward, cpus = protocol.forward, cpus_available()
    for_gpus = [
        *(["precision tf32"] if forward.precision == "tf32" else []),
        *(["cudnn.benchmark"] if forward.cudnn_benchmark else []),
    ]
    if for_gpus and not DEVICES[protocol.device].gpu:
        message = f"{series(for_gpus)}: only GPUs support this"
        raise UsageError(message, advice="Leave it out, or use --device cuda.")
    if gpu is None:
        return
    require_backend(protocol)
    if DEVICES[protocol.device].gpu:
        _require_gpu(protocol.device, gpu)
    if protocol.threads is not None and protocol.threads > cpus:
        message = f"--threads {protocol.threads}: this process may use only {plural(cpus, 'CPU')}"
        raise UsageError(message, advice=f"Use --threads {cpus} or fewer.")


def _require_gpu(device: Device, number: int) -> None:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if number < count:
        return
    seen = plural(count, "GPU") if count else "no GPU"
    message = f"--device {device}:{number}: PyTorch {torch.__version__} sees {seen} here"
    advice = "`esrbench doctor --device cuda` says why."
    if count:
        advice = f"GPUs are numbered from 0: use --device {device}:{count - 1} or a lower number."
    raise UsageError(message, advice=advice)


def plan_entries(
    registry: Registry,
    names: Sequence[str],
    scale: int,
    weights: Mapping[str, WeightsChoice],
) -> tuple[Entry, ...]:
    """Resolve names and weights.

    Raises:
        UsageError: an unknown name or scale, or weights for a network that does not run.
        WeightsError: a weights file is missing or altered.
    """
    unused = sorted(set(weights) - set(names))
    if unused:
        message = f"weights are given for {', '.join(unused)}, which is not among the networks"
        raise UsageError(message, advice=f"They are: {', '.join(names)}.")
    entries: list[Entry] = []
    for name in dict.fromkeys(names):
        descriptor = registry.get(name)
        descriptor.require_scale(scale)
        resolved = resolve_weights(descriptor, scale, weights.get(name, "auto"))
        entries.append(Entry(descriptor, scale, resolved))
    return tuple(entries)


def _built(
    entries: Sequence[Entry], launcher: Launcher, baseline: str | None
) -> tuple[tuple[Entry, ...], list[RejectedEntry]]:
    """Compile entries; returns the entries, and rejected entries whose build failed."""
    built: list[Entry] = []
    failed: list[RejectedEntry] = []
    for entry in entries:
        name = entry.descriptor.name
        try:
            descriptor = build(entry.descriptor, launcher, entry.interpreter)
            built.append(replace(entry, descriptor=descriptor))
        except EsrbenchError as error:
            if name == baseline:
                raise
            rejected = RejectedEntry(name, entry.scale, error, identity=entry.identify())
            failed.append(rejected)
    return tuple(built), failed


def _exported(
    entries: Sequence[Entry],
    launcher: Launcher,
    baseline: str | None,
    protocol: Protocol,
    precisions: Mapping[str, Precision],
    *,
    calibration: Calibration | None,
) -> tuple[tuple[Entry, ...], list[RejectedEntry]]:
    """Export graphs for the backend; returns the entries, and rejected ones whose export failed."""
    taken: list[Entry] = []
    failed: list[RejectedEntry] = []
    for entry in entries:
        name = entry.descriptor.name
        own = protocol.in_precision(precisions[name]) if name in precisions else protocol
        try:
            require_backend(own, entry.software)
            taken.append(export(entry, own, launcher, calibration=calibration))
        except EsrbenchError as error:
            if name == baseline:
                raise
            failed.append(RejectedEntry(name, entry.scale, error, identity=entry.identify()))
    return tuple(taken), failed


def _fitting(suite: Suite) -> Suite:
    """Reject each entry that is known to fail on the suite's inputs, and keep the others."""
    inputs = {FIXED_INPUT: suite.protocol.counted_input}
    for pairs, _ in suite.data:
        inputs |= {f"{pairs.name}/{pair.name}": read_size(pair.lr) for pair in pairs.pairs}
    unfit: list[RejectedEntry] = []
    fitting: list[Entry] = []
    for entry in suite.entries:
        error = _too_small(entry, inputs)
        name = entry.descriptor.name
        if error is None:
            fitting.append(entry)
            continue
        if name == suite.baseline:
            raise error
        unfit.append(RejectedEntry(name, entry.scale, error, identity=entry.identify()))
    if unfit and not (fitting or suite.rejected):
        raise unfit[0].error
    return replace(suite, entries=tuple(fitting), rejected=(*suite.rejected, *unfit))


def _too_small(entry: Entry, inputs: Mapping[str, tuple[int, int]]) -> UsageError | None:
    """The error if inputs are too small for a network; it is found before anything runs."""
    name, least = entry.descriptor.name, entry.descriptor.min_lr_size
    small = [f"{image} ({h}x{w})" for image, (h, w) in inputs.items() if min(h, w) < least]
    if not small:
        return None
    message = f"{name} needs LR images of {least}x{least} or more; too small: {small[0]}"
    if len(small) > 1:
        message += f" and {len(small) - 1} more"
    other = "raise the input size" if small[0].startswith(FIXED_INPUT) else "those images"
    return UsageError(message, advice=f"Leave {name} out, or {other}.")
