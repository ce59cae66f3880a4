"""The plan of a suite on one data set as one JSON file, from which any node can make a cell.

`esrbench status` also reads it to see which passes are missing. It has the paths of the checked
entries, weights and images, which all nodes share. A node checks images, weights and software
again.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from esrbench.data.pairs import ImagePair, ImagePairs, check
from esrbench.devices import DEVICES
from esrbench.entries.descriptor import (  # noqa: TC001 - pydantic reads annotations
    ModelDescriptor,
    ReleasedWeights,
)
from esrbench.entries.networks import ResolvedWeights
from esrbench.errors import DataError, MeasurementError
from esrbench.protocol import Frozen, Protocol
from esrbench.records import (
    SCHEMA_VERSION,
    Count,
    DataIdentity,
    Environment,
    Sha256,
    Software,
    Tier,
    WeightsIdentity,
)
from esrbench.runs.cells import Cell  # noqa: TC001 - likewise
from esrbench.runs.documents import decode, encode
from esrbench.runs.elsewhere import converted_state
from esrbench.runs.evaluator import Entry
from esrbench.runs.exports import export
from esrbench.runs.fingerprint import harness_sha256
from esrbench.runs.plan import Suite, require_possible
from esrbench.sandbox.interpreters import entry_interpreter
from esrbench.sandbox.tiers import SANDBOXES
from esrbench.worker.launcher import open_launcher

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from esrbench.worker.launcher import Launcher

PLAN: Final = "plan-"
"""Prefix of the names of plans."""


class PlannedEntry(Frozen):
    """An entry of a plan.

    Attributes:
        descriptor: descriptor of the network.
        scale: upscaling factor.
        weights: resolved weights.
        path: path of the weights file, or None.
        released: the declaration by which that file is read.
        python: program of its interpreter, or None for the harness's own.
        software: software of that interpreter.
        graph: SHA-256 of the graph that the protocol's backend runs instead of its code, or None.
    """

    descriptor: ModelDescriptor
    scale: Count
    weights: WeightsIdentity
    path: str | None = None
    released: ReleasedWeights | None = None
    python: str | None = None
    software: Software | None = None
    graph: Sha256 | None = None


class PlannedImage(Frozen):
    """One image, with the fields of ``ImagePair``."""

    name: str
    lr: str
    hr: str
    allow_grey: bool = False


class PlannedData(Frozen):
    """The data set of a plan.

    Attributes:
        identity: identity of the images.
        modcrop: as in ``ImagePairs``.
        images: files of the images.
        fingerprints: fingerprints of the missing runs, by name of the entry.
    """

    identity: DataIdentity
    modcrop: bool
    images: tuple[PlannedImage, ...]
    fingerprints: dict[str, Sha256]


class PlanFile(Frozen):
    """A suite on one data set, as any node can read it.

    Attributes:
        harness: SHA-256 of the sources of esrbench.
        packages: versions of the software, by distribution.
        tier: tier of the sandbox.
        protocol: settings.
        precisions: as in ``Suite``.
        baseline: as in ``Suite``.
        order_seed: as in ``Suite``.
        sr_folder: as in ``Suite``.
        entry_seconds: as in ``run_suite``.
        timeout_seconds: as in ``run_suite``.
        entries: all entries, with the baseline.
        data: images, and the runs on them.
        cells: all cells to be made.
        anywhere: any machine may make them; otherwise one process does, whose machine the
            fingerprints name.
        device_class: device model that may make the cells; None for any.
        finished: number of entries of the suite that are not in the plan.
        later: number of images in later data sets, divided by the number in this one.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    harness: Sha256
    packages: dict[str, str]
    tier: Tier
    protocol: Protocol
    precisions: dict[str, Literal["fp32", "fp16", "bf16"]]
    baseline: str | None
    order_seed: Count
    sr_folder: str | None
    entry_seconds: float
    timeout_seconds: float
    entries: tuple[PlannedEntry, ...]
    data: PlannedData
    cells: tuple[Cell, ...]
    anywhere: bool = True
    device_class: str | None = None
    finished: Count = 0
    later: Annotated[float, Field(ge=0)] = 0.0

    @property
    def name(self) -> str:
        """Name of its document, from its content: a resumed suite may have several plans."""
        return f"{PLAN}{hashlib.sha256(encode(self)).hexdigest()[:12]}"


def plan_file(
    suite: Suite,
    pairs: ImagePairs,
    identity: DataIdentity,
    fingerprints: Mapping[str, str],
    *,
    cells: Sequence[Cell],
    environment: Environment,
    anywhere: bool,
    device_class: str | None,
    finished: int,
    later: float,
    entry_seconds: float,
    timeout_seconds: float,
) -> PlanFile:
    """The plan of the passes that a suite still lacks.

    Args:
        suite: the plan.
        pairs: checked images.
        identity: identity of the images.
        fingerprints: fingerprints of the missing runs, by name of the entry.
        cells: cells to be made.
        environment: environment of the harness.
        anywhere: as in ``PlanFile``.
        device_class: as in ``PlanFile``.
        finished: as in ``PlanFile``.
        later: as in ``PlanFile``.
        entry_seconds: as in ``run_suite``.
        timeout_seconds: as in ``run_suite``.
    """
    return PlanFile(
        harness=harness_sha256(),
        packages={"python": environment.python, **environment.packages},
        tier=suite.launcher.sandbox.tier,
        protocol=suite.protocol,
        precisions=dict(suite.precisions),
        baseline=suite.baseline,
        order_seed=suite.order_seed,
        sr_folder=suite.sr_folder and str(suite.sr_folder.resolve()),
        entry_seconds=entry_seconds,
        timeout_seconds=timeout_seconds,
        entries=tuple(
            PlannedEntry(
                descriptor=each.descriptor,
                scale=each.scale,
                weights=each.weights.identity,
                path=each.weights.path and str(each.weights.path.resolve()),
                released=each.weights.released,
                python=each.interpreter and str(each.interpreter.executable),
                software=each.software,
                graph=each.graph and each.graph.sha256,
            )
            for each in suite.entries
        ),
        data=PlannedData(
            identity=identity,
            modcrop=pairs.modcrop,
            images=tuple(
                PlannedImage(
                    name=pair.name,
                    lr=str(pair.lr.resolve()),
                    hr=str(pair.hr.resolve()),
                    allow_grey=pair.allow_grey,
                )
                for pair in pairs.pairs
            ),
            fingerprints=dict(fingerprints),
        ),
        cells=tuple(cells),
        anywhere=anywhere,
        device_class=device_class,
        finished=finished,
        later=later,
    )


def read_plan(path: Path) -> PlanFile:
    """Read the file of a plan.

    Raises:
        RecordError: the file is damaged or no plan.
        DataError: the file cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"{path}: not readable: {error.strerror or error}"
        advice = "Every node must see the folder of results under the same path."
        raise DataError(message, advice=advice) from error
    return decode(path, content, PlanFile)


def suite_of(
    plan: PlanFile, names: Collection[str], environment: Environment, *, gpu: int = 0
) -> Suite:
    """Rebuild the suite of a plan on this node; everything is checked again.

    Args:
        plan: the plan.
        names: names of the cell's entries; the weights of others are not checked.
        environment: environment of the harness on this node.
        gpu: number of the GPU, if the protocol asks for one.

    Raises:
        MeasurementError: this node has other software, or another device.
        UsageError: this node lacks the sandbox, the GPU or the CPUs.
        DataError: this node sees other images.
    """
    _require_same_software(plan, environment)
    require_possible(plan.protocol, gpu)
    _require_device_class(plan, environment, gpu)
    launcher = open_launcher(SANDBOXES[plan.tier].choice, gpu=gpu)
    return Suite(
        entries=tuple(
            _entry(each, plan, launcher) if each.descriptor.name in names else _named(each)
            for each in plan.entries
        ),
        data=((_images(plan.data), plan.data.identity),),
        protocol=plan.protocol,
        launcher=launcher,
        baseline=plan.baseline,
        order_seed=plan.order_seed,
        sr_folder=Path(plan.sr_folder) if plan.sr_folder else None,
        precisions=plan.precisions,
    )


def _require_same_software(plan: PlanFile, environment: Environment) -> None:
    here = {"python": environment.python, **environment.packages}
    names = sorted({*here, *plan.packages})
    other = [
        f"{name} {here.get(name, 'absent')}, expected {plan.packages.get(name, 'absent')}"
        for name in names
        if here.get(name) != plan.packages.get(name)
    ]
    if not other and plan.harness != harness_sha256():
        other = ["other sources of esrbench than those of the plan"]
    if other:
        advice = "Nodes must share one environment, for instance in a folder that all of them see."
        raise MeasurementError(f"this node has {'; '.join(other)}", advice=advice)


def _require_device_class(plan: PlanFile, environment: Environment, gpu: int) -> None:
    if plan.device_class is None:
        return
    found = environment.cpu
    if DEVICES[plan.protocol.device].gpu:
        import torch

        found = torch.cuda.get_device_name(gpu)
    if found != plan.device_class:
        message = f"this node has {found}, expected {plan.device_class}"
        advice = (
            "Other nodes make its cells. To allow this device, change device_class in [engine]."
        )
        raise MeasurementError(message, advice=advice)


def _named(planned: PlannedEntry) -> Entry:
    """An entry without its graph and its own interpreter."""
    path = Path(planned.path) if planned.path else None
    weights = ResolvedWeights(planned.weights, path, planned.released)
    return Entry(planned.descriptor, planned.scale, weights)


def _entry(planned: PlannedEntry, plan: PlanFile, launcher: Launcher) -> Entry:
    name, entry = planned.descriptor.name, _named(planned)
    if planned.python is not None:
        interpreter = entry_interpreter(Path(planned.python))
        state = converted_state(entry.weights, launcher)
        entry = replace(entry, interpreter=interpreter, state=state)
    own = plan.precisions.get(name)
    entry = export(entry, plan.protocol.in_precision(own) if own else plan.protocol, launcher)
    found = entry.software.describe() if entry.software else "esrbench's own Python"
    expected = planned.software.describe() if planned.software else found
    if found != expected:
        message = f"{name}: its environment has {found} on this node, expected {expected}"
        raise MeasurementError(message, advice="Nodes must share the environments of entries.")
    if (entry.graph and entry.graph.sha256) != planned.graph:
        message = f"{name}: the graph that this node exports differs from that of the plan"
        advice = "Nodes must share the cache (ESRBENCH_CACHE) and have CPUs of one kind."
        raise MeasurementError(message, advice=advice)
    return entry


def _images(data: PlannedData) -> ImagePairs:
    identity = data.identity
    pairs = ImagePairs(
        identity.name,
        identity.title,
        identity.scale,
        tuple(
            ImagePair(each.name, Path(each.lr), Path(each.hr), each.allow_grey)
            for each in data.images
        ),
        data.modcrop,
        identity.digest,
        identity.verified,
        identity.hidden,
    )
    found = check(pairs)
    if found != identity.digest:
        message = f"{identity.name}: this node sees other images: expected digest "
        message += f"{identity.digest}, found {found}"
        raise DataError(message, advice="Nodes must share the folder of the images.")
    return pairs
