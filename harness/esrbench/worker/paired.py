"""Time two networks in interleaved pairs in one worker; only for trusted networks.

Runs in every interpreter that a worker may have: Python 3.8, torch 1.13, numpy and nothing else.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from esrbench.probes.forward import fixed_lr
from esrbench.probes.pairs import time_pairs
from esrbench.probes.precision import PrecisionError, adapt_input
from esrbench.worker.loaded import ContenderError, open_network

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from esrbench.probes.forward import PixelConversion
    from esrbench.probes.precision import PolicyGuard
    from esrbench.worker.loaded import Loader, OpenedNetwork, Request, Worker


class Pairing:
    """The candidate, the baseline and two copies of the baseline.

    The network that is loaded first may be slower. So the copies are loaded in the order of the
    two networks: a process that exchanges the networks also exchanges the copies.

    Args:
        worker: the worker that loaded the first network.
        request: ``LoadSecond``, with the second network and its side.
        load: builds that network and loads its weights.

    Attributes:
        ready: the answer about the second network, which the evaluator records.
    """

    def __init__(self, worker: Worker, request: Request, load: Loader) -> None:
        self.device, first = worker.device, worker.opened
        self.requests = worker.requests
        self.protocol = request.protocol
        second = self._open(request, load)
        self.ready = second.ready
        # Copies are loaded again, because a network in the policy's form may not support copying.
        if request.side == "baseline":
            self.candidate, self.baseline = first, second
            self.twin, self.other = self._open(request, load), self._open(request, load)
        else:
            self.candidate, self.baseline = second, first
            again = worker.load, worker.loader
            self.other, self.twin = self._open(*again), self._open(*again)

    def _open(self, request: Request, load: Loader) -> OpenedNetwork:
        """Open a network and run it once, so that errors are attributed to it."""
        opened = open_network(request, self.device, self.requests, load)
        with torch.inference_mode():
            forward = partial(opened.run, self._input(opened.conversion))
            output = self.requests.running(forward)
            opened.guard.verify()
            opened.conversion.validate(output, self.protocol.counted_input)
        return opened

    def _input(self, conversion: PixelConversion) -> Tensor:
        """The fixed input in the form that a network accepts."""
        pixels = conversion.to_input(fixed_lr(self.protocol), self.device.device)
        return adapt_input(pixels, self.protocol.forward)

    def time(self, request: Request, beat: Callable[[], None]) -> dict[str, Any]:
        """Time the candidate against the baseline, and the copies against each other.

        Args:
            request: ``TimePairs``, with the number of pairs and their order.
            beat: called after every forward.

        Returns:
            ``PairsTimed``.

        Raises:
            ContenderError: a network's forward failed, or changed what the protocol fixes.
        """
        with torch.inference_mode():
            theirs_input = self._input(self.baseline.conversion)
            ours_input = theirs_input
            if self.candidate.conversion != self.baseline.conversion:
                ours_input = self._input(self.candidate.conversion)
            us, them = f"candidate {self.candidate.name}", f"baseline {self.baseline.name}"
            ours = _named(us, partial(self.candidate.run, ours_input))
            theirs = _named(them, partial(self.baseline.run, theirs_input))
            twin = _named(them, partial(self.twin.run, theirs_input))
            other = _named(them, partial(self.other.run, theirs_input))
            guards: dict[Callable[[], object], PolicyGuard] = {
                ours: self.candidate.guard,
                theirs: self.baseline.guard,
                twin: self.twin.guard,
                other: self.other.guard,
            }

            def verify(forward: Callable[[], object]) -> None:
                try:
                    guards[forward].verify()
                except PrecisionError as error:
                    raise ContenderError(us if forward is ours else them, error) from error
                beat()

            for one, another, goes_first in (
                (ours, theirs, request.candidate_first),
                (twin, other, request.twin_first),
            ):
                time_pairs(
                    one,
                    another,
                    self.device,
                    count=request.discard,
                    candidate_first=goes_first,
                    verify=verify,
                )
            times = time_pairs(
                ours,
                theirs,
                self.device,
                count=request.count,
                candidate_first=request.candidate_first,
                copies=(twin, other),
                self_count=request.self_count,
                twin_first=request.twin_first,
                verify=verify,
            )
        return {
            "event": "pairs-timed",
            "pairs": times.pairs,
            "self_pairs": times.self_pairs,
        }


def _named(who: str, forward: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """A forward whose failure names its network."""

    def call() -> Tensor:
        try:
            return forward()
        except Exception as error:
            raise ContenderError(who, error) from error

    return call
