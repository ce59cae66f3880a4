"""The efficiency suite: every entry on every data set, each record stored as it is made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from esrbench.data.codecs import read_size
from esrbench.data.datasets import open_dataset
from esrbench.devices import DEVICES
from esrbench.entries.networks import resolve_weights
from esrbench.environment import cpus_available
from esrbench.errors import UsageError, WeightsError
from esrbench.runs.assembly import identify
from esrbench.runs.evaluator import UNTIMED_STEPS_BESIDE_IMAGES, Entry
from esrbench.runs.refusal import Refusal
from esrbench.runs.resumption import Resumption
from esrbench.runs.rounds import TIMED_STEPS_BESIDE_IMAGES
from esrbench.worker.launcher import open_launcher
from esrbench.worker.process import DEFAULT_ENTRY_SECONDS, DEFAULT_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from esrbench.data.datasets import ImagePairs
    from esrbench.entries.networks import WeightsChoice
    from esrbench.entries.registry import Registry
    from esrbench.errors import EsrbenchError
    from esrbench.protocol import Protocol
    from esrbench.records import DataIdentity, Notice, RunRecord
    from esrbench.runs.store import Store
    from esrbench.sandbox.tiers import IsolationChoice
    from esrbench.worker.launcher import Launcher


FIXED_INPUT = "the fixed input"


@dataclass(frozen=True, slots=True)
class Suite:
    """What will run, all checked beforehand.

    Attributes:
        entries: on each data set, the baseline among them.
        data: in order.
        protocol: settings.
        launcher: starts every worker.
        baseline: name of the entry to which runtimes are set in relation, or None.
        order_seed: of the random order of entries in each round.
        sr_folder: where SR images are written, a folder for each data set and entry, or None.
        refusals: submissions that were asked for and cannot run.
    """

    entries: tuple[Entry, ...]
    data: tuple[tuple[ImagePairs, DataIdentity], ...]
    protocol: Protocol
    launcher: Launcher
    baseline: str | None = None
    order_seed: int = 0
    sr_folder: Path | None = None
    refusals: tuple[Refusal, ...] = ()

    @property
    def steps(self) -> int:
        """Steps of the whole suite, for progress."""
        images = sum(len(pairs.pairs) for pairs, _ in self.data)
        rounds = self.protocol.latency.processes if self.protocol.latency else 0
        untimed = images + len(self.data) * UNTIMED_STEPS_BESIDE_IMAGES
        timed = rounds * (images + len(self.data) * TIMED_STEPS_BESIDE_IMAGES)
        return len(self.entries) * (untimed + timed)


def plan_suite(
    registry: Registry,
    names: Sequence[str],
    data: Sequence[str],
    scale: int,
    *,
    weights: Mapping[str, WeightsChoice],
    protocol: Protocol,
    isolation: IsolationChoice = "auto",
    baseline: str | None = None,
    order_seed: int = 0,
    sr_folder: Path | None = None,
    on_image: Callable[[str, int, int], None] = lambda _spec, _done, _total: None,
) -> Suite:
    """Resolve and check everything before any network runs.

    Args:
        registry: where names are looked up.
        names: of networks; a repeated one counts once.
        data: ``NAME``, ``PATH`` or ``NAME=PATH`` each; equal images count once.
        scale: upscaling factor.
        weights: by name; networks left out take ``auto``.
        protocol: settings.
        isolation: which sandbox is asked for.
        baseline: name of the entry to which runtimes are set in relation; it runs with the
            others whether named among them or not.
        order_seed: of the random order of entries in each round.
        sr_folder: where SR images are written, or None.
        on_image: told data set, images checked and images in all.

    Raises:
        UsageError: an unknown name or scale, weights for a network that does not run, an LR
            image below what the baseline or every network accepts, or a protocol or a sandbox that
            this machine cannot have.
        WeightsError: a weights file that is missing or altered. That of a submission is no more
            than a record's status, like all else that is wrong with a submission, and like an
            image that is too small for one network of several.
        DataError: images that may not be measured on; all problems are listed.
    """
    require_possible(protocol)
    refusals = {
        name: Refusal(name, scale, error)
        for name in dict.fromkeys(names)
        if (error := broken_submission(registry, name, scale, weights))
    }
    errors = [refusal.error for refusal in refusals.values()]
    if set(refusals) == set(names) and all(isinstance(error, UsageError) for error in errors):
        raise errors[0]  # a scale that nobody has is the caller's mistake
    named = [name for name in names if name not in refusals]
    if baseline is not None:
        named.append(baseline)
    entries = plan_entries(registry, named, scale, weights)
    opened: dict[str, tuple[ImagePairs, DataIdentity]] = {}
    for spec in data:
        pairs = open_dataset(spec, scale, progress=partial(on_image, spec))
        identity = pairs.identity()
        if identity.verified or identity.digest not in opened:
            opened[identity.digest] = (pairs, identity)
    launcher = open_launcher(isolation)
    suite = Suite(
        entries,
        tuple(opened.values()),
        protocol,
        launcher,
        baseline,
        order_seed,
        sr_folder=sr_folder,
        refusals=tuple(refusals.values()),
    )
    return _fitting(suite)


def broken_submission(
    registry: Registry, name: str, scale: int, weights: Mapping[str, WeightsChoice]
) -> EsrbenchError | None:
    """What keeps a submission from running, or None; a built-in network is no submission."""
    if name in registry.broken:
        return registry.broken[name]
    if name not in registry or registry.get(name).folder is None or name in weights:
        return None
    try:
        resolve_weights(registry.get(name), scale)
    except (UsageError, WeightsError) as error:
        return error
    return None


def require_possible(protocol: Protocol) -> None:
    """Refuse what no worker on this machine could do, before any is started.

    Raises:
        UsageError: arithmetic that only GPUs have, or more threads than CPUs.
    """
    forward, cpus = protocol.forward, cpus_available()
    for_gpus = [
        *(["precision tf32"] if forward.precision == "tf32" else []),
        *(["cudnn.benchmark"] if forward.cudnn_benchmark else []),
    ]
    if for_gpus and not DEVICES[protocol.device].gpu:
        message = f"{' and '.join(for_gpus)}: only GPUs have that"
        raise UsageError(message, advice="Leave it out, or use --device cuda.")
    if protocol.threads is not None and protocol.threads > cpus:
        message = f"{protocol.threads} threads were asked for; this process may use {cpus} CPUs"
        raise UsageError(message, advice=f"Use --threads {cpus} or fewer.")


def plan_entries(
    registry: Registry,
    names: Sequence[str],
    scale: int,
    weights: Mapping[str, WeightsChoice],
) -> tuple[Entry, ...]:
    """Resolve names and weights.

    Raises:
        UsageError: an unknown name or scale, or weights for a network that does not run.
        WeightsError: a weights file that is missing or altered.
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


def run_suite(
    suite: Suite,
    store: Store,
    *,
    resume: bool = False,
    on_step: Callable[[str, str], None] = lambda _entry, _step: None,
    on_known: Callable[[RunRecord], None] = lambda _record: None,
    on_notice: Callable[[Notice], None] = lambda _notice: None,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    entry_seconds: float = DEFAULT_ENTRY_SECONDS,
) -> Iterator[RunRecord]:
    """Measure and store one record after the other.

    On each data set all entries are scored and counted, and then timed once a round, each in a
    fresh process, in a random order that every round draws anew. A record is made as soon as
    its entry, and the baseline if there is one, have all their rounds.

    Every pass is kept in the store as soon as it is made. A suite that was cut short, in whatever
    way, can be resumed: the newest of the same plan that did not end is taken up, with its seeds
    and order, and only passes are made that it lacks, or whose fingerprint has changed. Where all
    suites of this plan ended, resuming leaves out what has a finished record of the same
    fingerprint, of whichever suite. Finished is any status but ``interrupted``,
    ``infra-error`` and ``busy-machine``. Without ``resume`` everything is measured.

    Args:
        suite: the plan.
        store: where each record goes as soon as it is made; nobody else may write there meanwhile.
        resume: measure only what is not there yet. With an ``sr_folder``, only a suite that did
            not end can be resumed, since records hold no SR images.
        on_step: told entry and step as each step begins.
        on_known: told the records that were there.
        on_notice: told what of an earlier suite could not be read; it is measured again.
        timeout_seconds: deadline of each request to a worker.
        entry_seconds: that all workers of an entry may take together, on each data set.

    Yields:
        Each record once it is stored. A run that is cut short, by whatever is raised, leaves
        records of what was timed so far, with the status ``interrupted``, in the store.

    Raises:
        RecordError: a record cannot be stored, those before it are; or another process writes
            into the store.
    """
    store.require_writable()
    with store.writing():
        suite = replace(
            suite, launcher=suite.launcher.hiding(folder.resolve() for folder in store.folders)
        )
        under_way = Resumption(
            suite, store, on_step, on_known, on_notice, timeout_seconds, entry_seconds
        )
        yield from under_way.run(resume=resume)


def _fitting(suite: Suite) -> Suite:
    """The suite without entries that are known to fail on its inputs: each is refused alone."""
    inputs = {FIXED_INPUT: suite.protocol.counted_input}
    for pairs, _ in suite.data:
        inputs |= {f"{pairs.name}/{pair.name}": read_size(pair.lr) for pair in pairs.pairs}
    unfit: list[Refusal] = []
    fitting: list[Entry] = []
    for entry in suite.entries:
        error = _too_small(entry, inputs)
        name = entry.descriptor.name
        if error is None:
            fitting.append(entry)
            continue
        if name == suite.baseline:
            raise error
        unfit.append(Refusal(name, entry.scale, error, identity=identify(entry, None)))
    if unfit and not (fitting or suite.refusals):
        raise unfit[0].error
    return replace(suite, entries=tuple(fitting), refusals=(*suite.refusals, *unfit))


def _too_small(entry: Entry, inputs: Mapping[str, tuple[int, int]]) -> UsageError | None:
    """What is wrong with the inputs for a network, before hours are spent on others."""
    name, least = entry.descriptor.name, entry.descriptor.min_lr_size
    small = [f"{image} ({h}x{w})" for image, (h, w) in inputs.items() if min(h, w) < least]
    if not small:
        return None
    message = f"{name} needs LR images of {least}x{least} or more; too small: {small[0]}"
    if len(small) > 1:
        message += f" and {len(small) - 1} more"
    other = "raise the input size" if small[0].startswith(FIXED_INPUT) else "those images"
    return UsageError(message, advice=f"Leave {name} out, or {other}.")
