"""A second network in a worker, to be timed against the first: only for networks we trust."""

from __future__ import annotations

import copy
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from harness.catalog.networks import code_sha256, load_network, makers
from harness.isolation.messages import PairsTimed, Ready
from harness.probes.forward import PixelConversion
from harness.probes.inputs import fixed_lr
from harness.probes.pairs import time_batch, time_pairs
from harness.probes.precision import PrecisionError, adapt_input, adapt_network
from harness.probes.telemetry import SHORTEST_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from harness.isolation.messages import LoadBaseline, TimePairs
    from harness.probes.devices import ComputeDevice
    from harness.probes.precision import PolicyGuard
    from harness.probes.telemetry import Monitor
    from harness.protocol import Protocol


class ContenderError(Exception):
    """One of two networks failed.

    Attributes:
        who: which one.
        cause: what it raised.
    """

    def __init__(self, who: str, cause: Exception) -> None:
        super().__init__(f"{who}: {cause}")
        self.who = who
        self.cause = cause


class Baseline:
    """The network that the worker's own is raced against, and a copy of it.

    Args:
        request: which network.
        device: of the worker, as its first network left it.
    """

    def __init__(self, request: LoadBaseline, device: ComputeDevice) -> None:
        self.name = request.descriptor.name
        self.device = device
        self.protocol: Protocol = request.protocol
        policy = request.protocol.forward
        loaded = load_network(
            request.descriptor,
            request.scale,
            Path(request.weights_path) if request.weights_path else None,
            released=request.released,
            seed=request.protocol.seed,
        )
        self.conversion = PixelConversion.of(request.descriptor, request.scale, loaded.data_range)
        self.parameters = sum(1 for _ in loaded.network.parameters())
        self.code_sha256 = code_sha256(loaded.network, *makers(request.descriptor))
        network = loaded.network.to(device.device)
        twin = copy.deepcopy(network)
        self.network: nn.Module = adapt_network(network, policy)
        self.twin: nn.Module = adapt_network(twin, policy)
        self.guard = device.guard(self.network)
        self.twin_guard = device.guard(self.twin)
        self._prove()

    def ready(self) -> Ready:
        """What the evaluator records of it."""
        return Ready(
            parameters=self.parameters,
            threads=torch.get_num_threads(),
            cpus=self.device.cpus,
            accelerator=self.device.accelerator,
            code_sha256=self.code_sha256,
        )

    def input(self, conversion: PixelConversion) -> Tensor:
        """The fixed input as a network takes it."""
        pixels = conversion.to_input(fixed_lr(self.protocol), self.device.device)
        return adapt_input(pixels, self.protocol.forward)

    def _prove(self) -> None:
        """Make a forward, so that what fails here is known to be the baseline."""
        with torch.inference_mode():
            pixels = self.input(self.conversion)
            guards = (self.guard, self.twin_guard)
            for network, guard in zip((self.network, self.twin), guards, strict=True):
                output = network(pixels)
                guard.verify()
                self.conversion.validate(output, self.protocol.counted_input)

    def time_pairs(
        self,
        request: TimePairs,
        candidate: nn.Module,
        *,
        name: str,
        guard: PolicyGuard,
        conversion: PixelConversion,
        monitor: Monitor,
        beat: Callable[[], None],
    ) -> PairsTimed:
        """Time the worker's own network against this one.

        A batch on the CPU too short for the kernel to tell the load is followed by waiting until
        it can.

        Args:
            request: how many pairs, and who goes first.
            candidate: the worker's own network.
            name: of the candidate.
            guard: of the candidate.
            conversion: of the candidate.
            monitor: of the worker.
            beat: called after every forward.

        Raises:
            ContenderError: a network's forward failed, or changed what the protocol fixes.
        """
        with torch.inference_mode():
            theirs_input = self.input(self.conversion)
            ours_input = theirs_input
            if conversion != self.conversion:
                ours_input = self.input(conversion)
            ours = _named(f"candidate {name}", partial(candidate, ours_input))
            theirs = _named(f"baseline {self.name}", partial(self.network, theirs_input))
            twin = _named(f"baseline {self.name}", partial(self.twin, theirs_input))
            guards: dict[Callable[[], object], PolicyGuard] = {
                ours: guard,
                theirs: self.guard,
                twin: self.twin_guard,
            }

            def verify(forward: Callable[[], object]) -> None:
                try:
                    guards[forward].verify()
                except PrecisionError as error:
                    who = f"candidate {name}" if forward is ours else f"baseline {self.name}"
                    raise ContenderError(who, error) from error
                beat()

            for first in (ours, twin):
                time_pairs(
                    first,
                    theirs,
                    self.device,
                    count=request.discard,
                    candidate_first=True,
                    verify=verify,
                )
            start = monitor.read()
            times = time_batch(
                ours,
                theirs,
                twin,
                self.device,
                count=request.count,
                self_count=request.self_count,
                candidate_first=request.candidate_first,
                twin_first=request.twin_first,
                verify=verify,
            )
            end = monitor.read()
            missing = SHORTEST_SECONDS - (end.seconds - start.seconds)
            if missing > 0 and self.device.clock == "monotonic":
                time.sleep(missing)
                end = monitor.read()
        return PairsTimed(
            pairs=times.pairs,
            self_pairs=times.self_pairs,
            conditions=monitor.conditions(start, end),
        )


def _named(who: str, forward: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """A forward whose failure says whose it is."""

    def call() -> Tensor:
        try:
            return forward()
        except Exception as error:
            raise ContenderError(who, error) from error

    return call
