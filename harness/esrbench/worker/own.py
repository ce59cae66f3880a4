"""Requests that only workers in the harness's own environment answer: counts, graphs, weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from esrbench.backends import get_backend
from esrbench.entries.descriptor import ModelDescriptor
from esrbench.entries.networks import load_network
from esrbench.entries.submissions import module_advice
from esrbench.probes.blocks import measure_blocks
from esrbench.probes.complexity import found_to_differ, measure_complexity
from esrbench.probes.memory import unpredicted
from esrbench.probes.precision import cast_as_counted
from esrbench.protocol import EAGER
from esrbench.records import Absent, Notice
from esrbench.worker.exporting import export_graph
from esrbench.worker.loaded import open_network
from esrbench.worker.measured import MeasuredNetwork
from esrbench.worker.messages import (
    BLOCKS,
    REQUEST,
    Account,
    Calibrate,
    Compiled,
    Converted,
    ConvertWeights,
    CountComplexity,
    Counted,
    Export,
    Failed,
    Load,
    LoadSecond,
    MeasureBlocks,
    ReadCompiled,
    Settled,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import torch

    from esrbench.entries.building import LoadedNetwork
    from esrbench.records import Complexity
    from esrbench.worker.cuda_requests import CudaRequests
    from esrbench.worker.loaded import Worker
    from esrbench.worker.messages import Reply


MOST_NAMES = 5
"""Largest number of names in a notice."""


def load_declared(request: SimpleNamespace) -> LoadedNetwork:
    """Build a network and load its weights file, with the layout of its declaration.

    Args:
        request: ``Load`` or ``LoadSecond``.
    """
    kind = LoadSecond if request.command == "load-second" else Load
    asked = kind.model_validate(request.message)
    return load_network(
        asked.descriptor,
        asked.scale,
        Path(asked.weights_path) if asked.weights_path else None,
        released=asked.released,
        seed=asked.protocol.seed,
    )


def convert_weights(request: SimpleNamespace) -> tuple[dict[str, Any], bytes]:
    """Read a weights file as data and convert it to safetensors."""
    from esrbench.weights.conversion import convert

    asked = ConvertWeights.model_validate(request.message)
    report, content = convert(
        Path(asked.path), key=asked.key, prefix=asked.prefix, renames=asked.renames
    )
    return Converted(report=report).model_dump(mode="json"), content


class OwnAnswers:
    """Answers about a loaded network.

    Args:
        worker: the worker that loaded it.
    """

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.load = Load.model_validate(worker.load.message)
        self.inputs: list[torch.Tensor] = []

    def answer(self, request: SimpleNamespace) -> tuple[dict[str, Any], bytes]:
        """Answer a request about the loaded network; any other request gets a failure.

        Args:
            request: request with its fields as attributes.

        Returns:
            The answer as JSON, and its payload.
        """
        reply: Reply
        content = b""
        match REQUEST.validate_python(request.message):
            case CountComplexity():
                complexity = self.counted()
                notices = (*complexity.notices, *request_notices(self.worker.requests))
                reply = Counted(complexity=complexity.model_copy(update={"notices": notices}))
            case Calibrate() as asked:
                self.inputs.append(self.worker.input_of(asked.lr_size))
                reply = Settled()
            case Export() as asked:
                reply, content = export_graph(self.worker, self.load, asked, self.inputs)
            case ReadCompiled():
                reply, content = Compiled(), get_backend(self.worker.policy.backend).compiled()
            case MeasureBlocks() as asked:
                reply, content = Account(), self.blocks(asked.depth)
            case asked:
                reply = Failed(kind="protocol", message=f"unexpected request {asked!r}"[:400])
        return reply.model_dump(mode="json"), content

    def measured(self) -> MeasuredNetwork:
        """The network in its state after all images."""
        worker = self.worker
        return MeasuredNetwork(
            worker.opened.network,
            worker.run,
            self.load.protocol,
            worker.conversion,
            worker.device.device,
            self.load.descriptor.min_lr_size,
            worker.requests.running,
            worker.scored,
        )

    def counted(self) -> Complexity:
        """Complexity of the network, or of its declared form without compiled modules."""
        measured, uncounted = self._without_built()
        complexity = count(measured)
        if uncounted is None:
            return complexity
        counters = dict.fromkeys(complexity.counters, uncounted)
        none = dict.fromkeys(("audit", "predicted_memory", "blocks"), uncounted)
        return complexity.model_copy(update={"counters": counters, **none})

    def _without_built(self) -> tuple[MeasuredNetwork, Absent | None]:
        """The network to count, and the reason if its counts have no meaning."""
        declared, measured = self.load.descriptor, self.measured()
        if declared.build is None:
            return measured, None
        if declared.pure_torch is None:
            absent = Absent(
                kind="unavailable",
                reason="counters cannot see the operations of its compiled modules",
                advice="Declare model.pure_torch: a factory of the same network without them.",
            )
            return measured, absent
        worker = self.worker
        fields = worker.load.message["descriptor"] | {"factory": declared.pure_torch}
        if declared.pure_torch == declared.factory and declared.sources:
            fields["folder"] = declared.sources
        request = SimpleNamespace(**vars(worker.load))
        request.message = worker.load.message | {"descriptor": fields}
        request.descriptor = SimpleNamespace(**fields)
        eager = vars(worker.load.protocol.forward) | {"backend": EAGER}
        request.protocol = SimpleNamespace(**vars(worker.load.protocol))
        request.protocol.forward = SimpleNamespace(**eager)
        opened = open_network(request, worker.device, worker.requests, load_declared)
        pure = replace(measured, network=opened.network, run=opened.run, scored=None)
        if measured.agrees(pure):
            return pure, None
        absent = Absent(
            kind="unavailable",
            reason=f"{declared.pure_torch} gives other pixels than the measured network",
            advice="Correct model.pure_torch: both must give the same output for equal weights.",
        )
        return measured, absent

    def blocks(self, depth: int) -> bytes:
        """JSON with the cost of each block of a copy at the protocol's counted input."""
        conversion = self.worker.conversion
        size = conversion.input_size(self.load.protocol.counted_input)
        shape = (1, conversion.channels, *size)
        with cast_as_counted(self.load.protocol.forward):
            blocks = self.worker.requests.running(
                lambda: measure_blocks(self.measured().copy(), input_shape=shape, depth=depth)
            )
        return BLOCKS.dump_json(blocks)


def count(measured: MeasuredNetwork) -> Complexity:
    """Complexity of a network in its state after all images; copies of it are counted."""
    protocol, conversion = measured.protocol, measured.conversion
    differs = measured.differs()
    with cast_as_counted(protocol.forward):
        complexity = measure_complexity(
            measured.copy(),
            input_size=conversion.input_size(protocol.counted_input),
            memory_input=conversion.input_size(protocol.memory_input),
            input_for_1280x720=conversion.size_for_1280x720,
            channels=conversion.channels,
            counters=protocol.counters,
            precision=protocol.forward.precision,
        )
    absent = unpredicted(protocol.forward)
    if absent is not None:
        complexity = complexity.model_copy(update={"predicted_memory": absent})
    return complexity if differs is None else found_to_differ(complexity, differs)


def request_notices(requests: CudaRequests) -> Iterator[Notice]:
    """Report an entry's requests for CUDA, and forwards that ran while it was built."""
    device = "GPU" if requests.device.type == "cuda" else "CPU"
    if requests.made:
        asked = _listed(requests.made)
        yield Notice(
            code="cuda-requests",
            message=f"its code requests CUDA ({asked}); it got the {device} of this run instead",
            advice="No change is needed. Code that uses the device of its input runs anywhere.",
        )
    if requests.forwards:
        ran = _listed(requests.forwards)
        yield Notice(
            code="warm-up",
            message=f"modules ran while it was built ({ran}), on the {device} of this run",
            advice="This only makes loading longer; no figure contains it.",
        )


def _listed(names: Iterable[str]) -> str:
    first = list(names)
    more = f" and {len(first) - MOST_NAMES} more" if len(first) > MOST_NAMES else ""
    return ", ".join(first[:MOST_NAMES]) + more


def advice_on(module: str, request: SimpleNamespace) -> str:
    """Advice if a module is missing that an entry's code imports."""
    return module_advice(ModelDescriptor.model_validate(request.message["descriptor"]), module)
