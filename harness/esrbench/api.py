"""The Python interface: what the commands do, for scripts and notebooks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.entries.descriptor import ModelDescriptor
from esrbench.entries.networks import build_deployed
from esrbench.entries.registry import (
    FROM_A_FILE,
    default_registry,
    register_model,
    resolve_name,
    resolve_names,
)
from esrbench.environment import WORKER_VARIABLE
from esrbench.errors import UsageError
from esrbench.protocol import (
    COUNTERS,
    ForwardPolicy,
    LatencyDesign,
    PairDesign,
    Protocol,
    QualityDefinition,
)
from esrbench.records import RaceRecord
from esrbench.runs.in_process import load_model
from esrbench.runs.lock import device_lock
from esrbench.runs.store import Store, default_results

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from esrbench.entries.networks import WeightsChoice
    from esrbench.protocol import CounterName
    from esrbench.ranking.board import Leaderboard
    from esrbench.records import Complexity, LatencySamples, Quality, RunRecord
    from esrbench.reports.comparison import Comparison
    from esrbench.sandbox.tiers import IsolationChoice

__all__ = [
    "compare",
    "complexity",
    "evaluate",
    "latency",
    "leaderboard",
    "load_model",
    "race",
    "register_model",
    "run",
]


def complexity(
    model: str | ModelDescriptor | nn.Module,
    scale: int = 4,
    *,
    input_size: tuple[int, int] = (256, 256),
    counters: Sequence[CounterName] = COUNTERS,
) -> Complexity:
    """Count parameters, FLOPs, activations and convolutions of one forward.

    Args:
        model: registered name, descriptor, or any module that takes (1, 3, H, W); a module is
            copied and left untouched.
        scale: upscaling factor; a module has its own.
        input_size: LR height and width; networks that take the LR image enlarged, or its luma
            alone, are counted on what they take. A module is given it as it is.
        counters: which rules to count by.

    Returns:
        Sizes in elements and bytes, and per counter multiply-accumulates with the convention,
        the library version and the operators it left out. A counter that failed is absent with
        the reason.

    Raises:
        UsageError: unknown name or scale.
    """
    from torch import nn

    from esrbench.probes.complexity import measure_complexity
    from esrbench.probes.forward import PixelConversion
    from esrbench.probes.precision import cast_as_counted

    if isinstance(model, nn.Module):
        return measure_complexity(model, input_size=input_size, counters=counters)
    descriptor = _descriptor(model)
    descriptor.require_scale(scale)
    conversion = PixelConversion.of(descriptor, scale, descriptor.data_range)
    with cast_as_counted(ForwardPolicy(precision=descriptor.precision)):
        return measure_complexity(
            partial(build_deployed, descriptor, scale),
            input_size=conversion.input_size(input_size),
            input_for_1280x720=conversion.size_for_1280x720,
            channels=conversion.channels,
            counters=counters,
            precision=descriptor.precision,
        )


def evaluate(
    model: str | ModelDescriptor | nn.Module,
    data: str | os.PathLike[str] = "demo",
    scale: int = 4,
    *,
    weights: WeightsChoice = "auto",
    definition: QualityDefinition | None = None,
) -> Quality:
    """Score a network on a data set, in this process and on the network's own device.

    Args:
        model: registered name, descriptor, or a module that maps float32 (1, 3, H, W) in [0, 1]
            to (1, 3, scale*H, scale*W).
        data: data set name, folder of HR/LR pairs, or ``NAME=PATH``.
        scale: upscaling factor.
        weights: for names: ``auto`` for the released ones, or a file. Random weights are
            refused, since their scores would mean nothing.
        definition: borders and luma; the challenge's and the papers' by default.

    Returns:
        PSNR in dB (RGB and Y) and SSIM (Y) of every image.

    Raises:
        UsageError: unknown name or scale, or no trained weights.
        DataError: images that may not be measured on.
        MeasurementError: an output that is not an SR image.
    """
    from torch import nn

    from esrbench.data.datasets import open_dataset
    from esrbench.entries.networks import resolve_weights
    from esrbench.probes.forward import PixelConversion
    from esrbench.probes.quality import score_network
    from esrbench.records import Quality
    from esrbench.runs.in_process import evaluating

    if isinstance(model, nn.Module):
        network, conversion = model, PixelConversion(scale)
    else:
        descriptor = _descriptor(model)
        untrained = resolve_weights(descriptor, scale, weights).path is None
        network = load_model(descriptor, scale, None if untrained else weights)
        if untrained and any(True for _ in network.parameters()):
            message = f"{descriptor.name} has no trained weights here, so it has no scores"
            advice = "Pass weights=FILE."
            if descriptor.released_weights(scale) is not None:
                advice = f"Run `esrbench fetch weights {descriptor.name}`, or pass weights=FILE."
            raise UsageError(message, advice=advice)
        conversion = PixelConversion.of(descriptor, scale, data_range=1.0)
    definition = definition or QualityDefinition()
    pairs = open_dataset(data if isinstance(data, str) else Path(data), scale)
    with evaluating(network):
        scores = score_network(network, conversion, pairs, definition)
    return Quality(definition=definition.describe(scale), images=scores)


def latency(
    model: str | ModelDescriptor | nn.Module,
    scale: int = 4,
    *,
    input_size: tuple[int, int] = (256, 256),
    design: LatencyDesign | None = None,
) -> LatencySamples:
    """Time forwards of a network in this process, on the network's own device.

    Nothing keeps this process apart from others, and nobody checks its clock: compare such times
    with each other only, on one machine. Leaderboards need ``run``.

    Args:
        model: registered name, descriptor, or a module that maps float32 (1, 3, H, W) in [0, 1]
            to (1, 3, scale*H, scale*W). Names have random weights, which take the same time.
        scale: upscaling factor.
        input_size: LR height and width.
        design: warm-up and rounds; by default rounds end when half of the median's interval is
            at most 2 % of it, or after 3 s.

    Returns:
        Seconds of every round, each with new noise as input. Its interval holds for this process.

    Raises:
        UsageError: unknown name or scale.
        MeasurementError: an output that is not an SR image.
    """
    from torch import nn

    from esrbench.probes.forward import PixelConversion
    from esrbench.runs.in_process import time_network

    design = design or LatencyDesign()
    if isinstance(model, nn.Module):
        return time_network(model, PixelConversion(scale), input_size, design)
    descriptor = _descriptor(model)
    network = load_model(descriptor, scale, None)
    conversion = PixelConversion.of(descriptor, scale, data_range=1.0)
    return time_network(network, conversion, input_size, design)


def run(
    models: str | Sequence[str],
    *,
    data: str | os.PathLike[str] | Sequence[str] = "demo",
    scale: int = 4,
    weights: Mapping[str, WeightsChoice] | None = None,
    python: Mapping[str, str | os.PathLike[str]] | None = None,
    protocol: Protocol | None = None,
    calibrate_with: str | os.PathLike[str] | None = None,
    fp32_ends: bool = False,
    baseline: str | None = None,
    order_seed: int = 0,
    isolation: IsolationChoice = "auto",
    gpu: int = 0,
    resume: bool = False,
    results: str | os.PathLike[str] | None = None,
) -> list[RunRecord]:
    """Measure registered networks, each in a worker process, and store the records.

    Args:
        models: registered names, or folders of submissions.
        data: data set names, folders, or ``NAME=PATH``.
        scale: upscaling factor.
        weights: by name; networks left out take ``auto``.
        python: by name, paths of interpreters of networks that run in another one.
        protocol: settings; CPU defaults if left out, each model in the precision that it declares.
        calibrate_with: folder of HR images that are not scored, for a protocol in ``int8`` or
            ``int8-w16``.
        fp32_ends: leave first and last convolution in float32 under such a protocol.
        baseline: network that runs in every round, to which runtimes are set in relation.
        order_seed: of the random order of entries in each round.
        isolation: which sandbox workers must run in.
        gpu: number of the GPU, where the protocol asks for one.
        resume: go on where the same suite was cut short, and measure nothing twice; see
            ``run_suite``.
        results: folder of run records; ``results`` if left out.

    Raises:
        UsageError, WeightsError, DataError: before anything runs.
        RecordError: a record cannot be stored.
    """
    from esrbench.runs.events import SuiteEvents
    from esrbench.runs.exports import quantised
    from esrbench.runs.plan import plan_suite
    from esrbench.runs.suite import run_suite

    _refuse_in_worker("run")
    registry = default_registry()
    single = isinstance(models, str) or not isinstance(models, Sequence)
    names = resolve_names(registry, _named("run", *([models] if single else models)))
    baseline = baseline and resolve_name(registry, baseline)
    specs = [data] if isinstance(data, str | os.PathLike) else list(data)
    store = Store(Path(results) if results else default_results())
    folders = None if calibrate_with is None else str(calibrate_with)
    settings, calibration = quantised(protocol or Protocol(), folders, scale, fp32_ends=fp32_ends)
    suite = plan_suite(
        registry,
        names,
        [spec if isinstance(spec, str) else str(Path(spec).absolute()) for spec in specs],
        scale,
        weights=weights or {},
        interpreters={name: str(where) for name, where in (python or {}).items()},
        protocol=settings,
        calibration=calibration,
        isolation=isolation,
        gpu=gpu,
        baseline=baseline,
        order_seed=order_seed,
        own_precision=protocol is None,
    )
    known: list[RunRecord] = []
    made = list(run_suite(suite, store, resume=resume, events=SuiteEvents(on_known=known.append)))
    return [*known, *made]


def race(
    candidate: str,
    baseline: str,
    scale: int = 4,
    *,
    weights: Mapping[str, WeightsChoice] | None = None,
    protocol: Protocol | None = None,
    design: PairDesign | None = None,
    python: Mapping[str, str | os.PathLike[str]] | None = None,
    gpu: int = 0,
    results: str | os.PathLike[str] | None = None,
) -> RaceRecord:
    """Time two registered networks against each other, and store the record.

    Both run in the same processes, so they must be trusted.

    Args:
        candidate: the network in question.
        baseline: what it is compared with; may be the same.
        scale: upscaling factor.
        weights: by name; networks left out take ``auto``.
        protocol: settings; an LR input of 64x64 on CPU if left out.
        design: of the pairs and the decision.
        python: by name, path of the interpreter of a network; both run in it.
        gpu: number of the GPU, where the protocol asks for one.
        results: folder of records; ``results`` if left out.

    Raises:
        UsageError, WeightsError: before anything runs.
        WorkerError: a network failed; the message says which.
        MeasurementError: a network's code changed meanwhile, or it is too fast for the clock.
        RecordError: the record cannot be stored.
    """
    from esrbench.paired import race as races

    _refuse_in_worker("race")
    protocol = protocol or Protocol(counted_input=(64, 64), latency=None)
    store = Store(Path(results) if results else default_results())
    registry = default_registry()
    both = _named("race", candidate, baseline)
    candidate, baseline = (resolve_name(registry, each) for each in both)
    entries = races.plan_race(
        registry,
        candidate,
        baseline,
        scale,
        weights=weights or {},
        protocol=protocol,
        interpreters={name: str(where) for name, where in (python or {}).items()},
        gpu=gpu,
    )
    store.require_writable(RaceRecord)
    with device_lock(protocol.device, gpu):
        record = races.race(*entries, protocol, design, gpu=gpu)
    store.put(record)
    return record


def leaderboard(
    records: Sequence[RunRecord] | None = None,
    *,
    rule: str = "ntire2022",
    results: str | os.PathLike[str] | None = None,
) -> Leaderboard:
    """Rank records by an edition's rule.

    Args:
        records: what to rank; those stored under ``results`` if left out. The newest that went well
            decides data, protocol and environment; records that differ are left out with a
            notice.
        rule: name of the edition.
        results: folder of run records; ``results`` if left out.

    Raises:
        UsageError: unknown rule, or no records.
    """
    from esrbench.ranking.leaderboard import build_leaderboard
    from esrbench.ranking.rules import get_rule

    chosen = get_rule(rule)
    if records is None:
        records, _ = Store(Path(results) if results else default_results()).load()
    return build_leaderboard(records, chosen)


def compare(
    records: Sequence[RunRecord] | None = None,
    *,
    models: Sequence[str] = (),
    data: Sequence[str] = (),
    scales: Sequence[int] = (),
    columns: Sequence[str] = (),
    published: bool = False,
    results: str | os.PathLike[str] | None = None,
) -> Comparison:
    """Compare records as a paper's table does, entries by scale, scores by data set.

    Args:
        records: what to compare; those stored under ``results`` if left out.
        models: names in the table's order; all if left out, by parameters.
        data: names of data sets; all that were measured on if left out.
        scales: upscaling factors, likewise.
        columns: keys of metrics; parameters, FLOPs, PSNR and SSIM on Y if left out.
        published: show published figures of networks that were not run.
        results: folder of run records; ``results`` if left out.

    Raises:
        UsageError: unknown names, or no figure for the table.
    """
    from esrbench.reports.comparing import build_comparison
    from esrbench.reports.comparison_sources import DEFAULT_COLUMNS, Wanted

    wanted = Wanted(
        entries=tuple(models),
        data=tuple(data),
        scales=tuple(scales),
        columns=tuple(columns) or DEFAULT_COLUMNS,
        published=published,
    )
    if records is None:
        records, _ = Store(Path(results) if results else default_results()).load()
    return build_comparison(records, wanted, default_registry())


def _descriptor(model: object) -> ModelDescriptor:
    """The descriptor that is registered under a name, or the descriptor itself.

    Raises:
        UsageError: unknown name, or something else.
    """
    if isinstance(model, ModelDescriptor):
        return model
    if isinstance(model, str):
        return default_registry().get(model)
    what = f"the class {model.__name__}" if isinstance(model, type) else repr(model)[:80]
    message = f"got {what}, expected the name of a network or a torch.nn.Module"
    raise UsageError(message, advice="Give an instance of a class: its name with () behind it.")


def _named(what: str, *models: object) -> list[str]:
    """Names and folders of networks that run in workers.

    Raises:
        UsageError: a module, a class, or something else that a worker cannot be told.
    """
    names = []
    for model in models:
        if not isinstance(model, str | os.PathLike):
            kind = model.__name__ if isinstance(model, type) else type(model).__name__
            message = f"{what}: got {kind} itself; a worker process needs the name of a network"
            raise UsageError(message, advice=FROM_A_FILE)
        names.append(str(model))
    return names


def _refuse_in_worker(name: str) -> None:
    if os.environ.get(WORKER_VARIABLE):
        message = f"{name} was called by a file that a worker imports"
        raise UsageError(message, advice='Guard it: if __name__ == "__main__".')
