"""Graphs that a backend runs instead of an entry's code: written once, in the sandbox, and kept."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from esrbench.backends import backend_names, get_backend
from esrbench.data.cache import cache_dir, complete_folder, usable
from esrbench.data.calibration import open_calibration
from esrbench.data.datasets import open_dataset
from esrbench.entries.sources import source_sha256
from esrbench.environment import cpu_model, cpu_name, package_version
from esrbench.errors import UsageError
from esrbench.files import replace_file
from esrbench.protocol import ForwardPolicy, Frozen, Protocol
from esrbench.records import Absent, Deployment, Graph, Software, required
from esrbench.runs.builds import build
from esrbench.runs.evaluator import measure_untimed
from esrbench.runs.fingerprint import harness_sha256
from esrbench.worker.process import DEFAULT_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    import numpy.typing as npt

    from esrbench.backends import Backend
    from esrbench.data.calibration import Calibration
    from esrbench.protocol import PrecisionName
    from esrbench.runs.evaluator import Entry
    from esrbench.worker.launcher import Launcher

    Pixels = npt.NDArray[np.uint8]

CALIBRATE = "Give a folder of HR images that are not scored: --calibrate-with FOLDER."
RECORD = "graph.json"
"""Description of a kept graph, stored in its folder."""


class ExportedFiles(Frozen):
    """The result of ``export_files``.

    Attributes:
        network: registered name.
        scale: upscaling factor.
        files: the files that were written.
        deployment: the graph, and how its SR of the demo images differs from that of torch.
    """

    network: str
    scale: int
    files: tuple[str, ...]
    deployment: Deployment

    @property
    def said(self) -> str:
        """One sentence: whether the files give the same SR as torch."""
        found = self.deployment.equality
        if isinstance(found, Absent):
            return f"SR of the file was not compared with that of torch: {found.reason}"
        return f"SR of the file compared with that of torch: {found.step} ({found.describe()})"


def require_backend(protocol: Protocol, software: Software | None = None) -> None:
    """Raise an error if the backend is not installed or cannot follow the protocol.

    Args:
        protocol: names the backend.
        software: software of the interpreter that runs forwards; None for the harness's own.

    Raises:
        UsageError: the message says what is missing or not supported.
    """
    backend = get_backend(protocol.forward.backend)
    refused = backend.refuses(protocol.forward, protocol.device)
    if refused is not None:
        others = (get_backend(name) for name in backend_names())
        able = [each.name for each in others if not each.refuses(protocol.forward, protocol.device)]
        other = f", or use --backend {' or '.join(able)}" if able else ""
        raise UsageError(refused, advice=f"Leave that out{other}.")
    if protocol.forward.quantises and protocol.forward.quantisation is None:
        message = f"{protocol.forward.precision}: there are no images to calibrate with"
        raise UsageError(message, advice=CALIBRATE)
    torch = software.torch if software else package_version("torch")
    lacks = backend.missing(torch, precision=protocol.forward.precision)
    if lacks is not None:
        raise UsageError(lacks[0], advice=lacks[1])


def quantised(
    protocol: Protocol, folders: str | None, scale: int, *, fp32_ends: bool = False
) -> tuple[Protocol, Calibration | None]:
    """Add calibration images to a protocol whose precision is an integer one.

    Args:
        protocol: names the precision.
        folders: folders of HR images for ``open_calibration``, or None.
        scale: upscaling factor.
        fp32_ends: leave the first and the last convolution in float32.

    Returns:
        The protocol, which names these images, and the images. Without quantisation: the same
        protocol and None.

    Raises:
        UsageError: the precision needs no images and some are given, or it needs them and none are.
        DataError: the images cannot be used for calibration.
    """
    forward = protocol.forward
    if not forward.quantises:
        asked = "--calibrate-with" if folders else "--fp32-ends" if fp32_ends else None
        if asked is not None:
            message = f"{asked} has no effect in {forward.precision}, which is not quantised"
            raise UsageError(message, advice="Add --precision int8 or int8-w16, or leave it out.")
        return protocol, None
    if folders is None:
        message = f"--precision {forward.precision}: there are no images to calibrate with"
        raise UsageError(message, advice=CALIBRATE)
    calibration = open_calibration(folders, scale)
    found = calibration.quantisation(fp32_ends=fp32_ends)
    return protocol.in_precision(forward.precision, found), calibration


def export(
    entry: Entry,
    protocol: Protocol,
    launcher: Launcher,
    *,
    calibration: Calibration | None = None,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
) -> Entry:
    """Add to an entry the graph that the protocol's backend runs, if that backend runs graphs.

    The graph comes from the cache if sources, weights and software are the same.

    Args:
        entry: network and weights; sources that it compiles are already built.
        protocol: names the backend.
        launcher: starts the worker that writes the graph.
        calibration: images for quantisation; a cached graph needs none.
        timeout_seconds: longest time of the export.

    Raises:
        UsageError: the entry runs in its own interpreter, or the calibration images are too small
            for it.
        WorkerError: the backend cannot take the network; the message says why.
        DataError: the cache cannot be used.
    """
    backend, precision = get_backend(protocol.forward.backend), protocol.forward.precision
    if not backend.files:
        return entry
    name = entry.descriptor.name
    if entry.interpreter is not None:
        message = f"{name} runs in an interpreter of its own, and {backend.name} needs esrbench's"
        raise UsageError(message, advice="Leave --python out, or use --backend torch.")
    versions = {each: package_version(each) for each in ("torch", *backend.needs(precision))}
    folder = cache_dir() / "graphs" / _key(entry, protocol, versions)
    graph = _kept(folder, backend)
    if graph is None:
        inputs = _inputs(entry, protocol, calibration)
        eager = protocol.model_copy(update={"device": "cpu", "forward": ForwardPolicy()})
        with launcher.worker(
            (entry.descriptor, entry.weights),
            protocol=eager,
            processes=backend.processes,
            timeout_seconds=timeout_seconds,
        ) as session:
            entry.load(session, eager)
            start = time.monotonic()
            held, contents = session.export(protocol.forward, inputs)
            seconds = time.monotonic() - start
        graph = Graph(
            sha256=_sha256(contents.values()),
            file_bytes=sum(map(len, contents.values())),
            parameters=held.parameters,
            nodes=sum(held.operators.values()),
            operators=held.operators,
            build_seconds=seconds,
            versions=versions,
            float_products=held.float_products,
        )
        with usable(folder), complete_folder(folder, useless=True) as staging:
            for each, content in contents.items():
                (staging / each).write_bytes(content)
            (staging / RECORD).write_text(graph.model_dump_json())
    return replace(entry, graph=graph, graph_folder=folder)


def _inputs(
    entry: Entry, protocol: Protocol, calibration: Calibration | None
) -> tuple[Pixels, ...]:
    """LR images for the quantisation of an entry; none if the protocol does not quantise."""
    name, least = entry.descriptor.name, entry.descriptor.min_lr_size
    if protocol.forward.quantisation is None:
        return ()
    if calibration is None:
        message = f"{name}: its quantised graph is not in the cache of this machine"
        raise UsageError(message, advice="Share the cache (ESRBENCH_CACHE), or quantise it here.")
    smallest = min(min(image.shape[:2]) for image in calibration.images)
    if smallest < least:
        message = f"{name} needs LR images of {least}x{least} or more; the smallest calibration "
        message += f"image has {smallest} LR pixels on its shorter side"
        raise UsageError(message, advice=f"Leave {name} out, or calibrate with larger images.")
    return calibration.images


def _key(entry: Entry, protocol: Protocol, versions: Mapping[str, str]) -> str:
    backend = get_backend(protocol.forward.backend)
    weights = entry.weights.identity
    parts = {
        "entry": entry.descriptor.model_dump(mode="json"),
        "source": source_sha256(entry.descriptor),
        "scale": entry.scale,
        "weights": weights.sha256 or f"{weights.source} {protocol.seed}",
        "forward": protocol.forward.model_dump(
            mode="json", include={"backend", "precision", "quantisation"}
        ),
        "versions": dict(versions),
        "harness": harness_sha256(),
        # A compiled graph contains instructions for this CPU.
        "machine": f"{cpu_name()}, {cpu_model()}" if backend.processes else platform.machine(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _kept(folder: Path, backend: Backend) -> Graph | None:
    """The graph in a folder of the cache, if it is there and unchanged."""
    try:
        graph = Graph.model_validate_json((folder / RECORD).read_bytes())
        contents = [(folder / each).read_bytes() for each in backend.files]
    except (OSError, ValidationError):
        return None
    return graph if _sha256(contents) == graph.sha256 else None


def _sha256(contents: Iterable[bytes]) -> str:
    """Digest of one file's content, or of several in their order."""
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content)
    return digest.hexdigest()


def export_files(
    entry: Entry,
    form: str,
    folder: Path,
    launcher: Launcher,
    *,
    precision: PrecisionName = "fp32",
    calibrate_with: str | None = None,
    fp32_ends: bool = False,
    replacing: bool = False,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
) -> ExportedFiles:
    """Write the graph of an entry to a folder, and check it with the backend that runs it.

    Args:
        entry: network and weights.
        form: format of the files, a ``Backend.form``.
        folder: receives the files.
        launcher: starts the workers that write and check.
        precision: precision of the graph.
        calibrate_with: folders of HR images for quantisation, as in ``quantised``.
        fp32_ends: leave the first and the last convolution in float32.
        replacing: replace files that exist already.
        timeout_seconds: deadline of each request.

    Raises:
        UsageError: the backend is not installed or lacks the precision, or a file exists already or
            cannot be written, or calibration images are missing or have no use.
        DataError: the calibration images cannot be used.
        MeasurementError: the backend cannot export the network or run its graph.
    """
    backend = next(each for each in map(get_backend, backend_names()) if each.form == form)
    protocol = Protocol(counters=(), latency=None).by(backend.name).in_precision(precision)
    protocol, calibration = quantised(protocol, calibrate_with, entry.scale, fp32_ends=fp32_ends)
    require_backend(protocol)
    stem = f"{entry.descriptor.name}_x{entry.scale}"
    stem += f"_{precision}" if protocol.forward.quantises else ""
    targets = {each: folder / (stem + Path(each).suffix) for each in backend.files}
    for target in targets.values():
        if target.exists() and not replacing:
            message = f"{target}: exists already"
            raise UsageError(
                message, advice="Name another --output, or replace the file with --force."
            )
    entry = replace(entry, descriptor=build(entry.descriptor, launcher))
    pairs = open_dataset("demo", entry.scale)
    if calibration is not None:
        calibration.refuse_scored((pairs,))
    exported = export(
        entry, protocol, launcher, calibration=calibration, timeout_seconds=timeout_seconds
    )
    found = measure_untimed(
        exported,
        pairs,
        protocol,
        launcher=launcher,
        counted=False,
        timeout_seconds=timeout_seconds,
    )
    if found.ready is None or found.scored:
        required(found.quality)
    if found.deployment is None or exported.graph_folder is None:
        raise AssertionError("it was upscaled without a backend")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each, target in targets.items():
            replace_file(target, (exported.graph_folder / each).read_bytes())
    except OSError as error:
        message = f"{folder}: the graph cannot be written: {error.strerror or error}"
        raise UsageError(message, advice="Name another --output.") from error
    return ExportedFiles(
        network=entry.descriptor.name,
        scale=entry.scale,
        files=tuple(map(str, targets.values())),
        deployment=found.deployment,
    )
