"""The process that runs one network: it sees LR pixels, one image at a time, and nothing else.

``esrbench.sandbox.start`` starts it in its sandbox. It answers ``esrbench.worker.messages`` until
it receives ``Stop`` or its pipe closes. The times that it reports are claims: the network shares
this process and could forge them.

It runs in every interpreter that an entry may ask for (Python 3.8, torch 1.13 and numpy, nothing
else). So requests and answers are plain JSON here, and the evaluator checks every answer. Requests
that only the harness's own environment can answer are in ``esrbench.worker.own``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from esrbench.backends import UntranslatedError
from esrbench.errors import EsrbenchError
from esrbench.plaintext import relative
from esrbench.probes.forward import InvalidOutputError
from esrbench.worker.building import build_modules
from esrbench.worker.channel import Channel, ChannelClosedError
from esrbench.worker.cuda_requests import needs_cuda
from esrbench.worker.loaded import ContenderError, Worker, load_converted
from esrbench.worker.paired import Pairing
from esrbench.worker.pixels import PixelAreas
from esrbench.worker.tracebacks import place_in, place_of, traceback_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.records import FailureKind
    from esrbench.worker.loaded import Loader

    Message = dict[str, Any]

MESSAGE_CHARACTERS = 2000
PLACED_CHARACTERS = 800
"""Most characters of an exception's message; the place where it was raised follows."""
BEAT_SECONDS = 10.0
"""Seconds between the signs of life in a long request; they are sent between two forwards."""
LOADING = frozenset({"load", "load-second", "convert-weights", "build", "export"})
"""Requests whose failure counts as a failed load, if it has no kind of its own."""


def requested(message: Message) -> SimpleNamespace:
    """A request with its fields as attributes; ``message`` has the whole request."""
    request = SimpleNamespace(**message, message=message)
    if "descriptor" in message:
        request.descriptor = SimpleNamespace(**message["descriptor"])
        request.protocol = SimpleNamespace(**message["protocol"])
        request.protocol.forward = SimpleNamespace(**message["protocol"]["forward"])
    return request


def classify(error: BaseException, default: FailureKind) -> FailureKind:
    """The kind of failure that an exception represents."""
    if isinstance(error, InvalidOutputError):
        return "invalid-output"
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return "oom"
    # The CPU allocator raises no exception type of its own.
    if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):
        return "oom"
    return default


def failure(
    error: BaseException, default: FailureKind, loads: Sequence[SimpleNamespace] = ()
) -> Message:
    """Turn an exception into an answer; its traceback goes to the log.

    Args:
        error: the exception.
        default: kind of failure, unless the exception has its own.
        loads: requests that loaded the networks whose code may have raised it.
    """
    if isinstance(error, ContenderError):
        told = failure(error.cause, default, loads)
        return {**told, "message": f"{error.who}: {told['message']}"[:MESSAGE_CHARACTERS]}
    code = [folder for load in loads for folder in load.code]
    known = [*code, *(str(Path(load.weights_path).parent) for load in loads if load.weights_path)]
    if isinstance(error, EsrbenchError):
        text, advice = relative(error.message, known), error.advice
        place = place_in(error.stack, code) if isinstance(error, UntranslatedError) else None
        text = f"{text} ({place})" if place else text
    else:
        print(traceback_of(error, code), file=sys.stderr)  # noqa: T201 - the log
        place = place_of(error, code)
        text = relative(f"{type(error).__name__}: {error}", known)[:PLACED_CHARACTERS]
        text, advice = f"{text} ({place})" if place else text, None
        if isinstance(error, ModuleNotFoundError) and loads:
            advice = _advice_on(str(error.name), loads[-1])
    # The error of an entry that lacks a requirement has the missing module's error as its cause.
    raised = error.__cause__ if isinstance(error.__cause__, ImportError) else error
    need = None if isinstance(raised, EsrbenchError) else needs_cuda(raised)
    if need and not torch.cuda.is_available():
        text = f"{need} needs CUDA, which a run on the CPU does not have ({text})"
        advice = "Run it with --device cuda on a machine with an NVIDIA GPU."
    return {
        "event": "failed",
        "kind": classify(error, default),
        "message": text[:MESSAGE_CHARACTERS],
        "advice": advice,
    }


def _advice_on(module: str, load: SimpleNamespace) -> str:
    """Advice if a module is missing that an entry's code imports."""
    if load.converted:
        return f"Install the package of {module.partition('.')[0]} in the environment it runs in."
    from esrbench.worker.own import advice_on

    return advice_on(module, load)


def loader(request: SimpleNamespace, content: bytes) -> Loader:
    """The object that builds a network and loads its weights.

    Args:
        request: ``Load`` or ``LoadSecond``.
        content: payload of the request.
    """
    if request.converted:
        return partial(load_converted, content=content)
    from esrbench.worker.own import load_declared

    return load_declared


class Conversation:
    """Holds the loaded network and answers requests.

    Args:
        channel: answers are sent here.
        areas: shared memory for LR and SR pixels.
    """

    def __init__(self, channel: Channel, areas: PixelAreas) -> None:
        self.channel = channel
        self.areas = areas
        self.worker: Worker | None = None
        self.pairing: Pairing | None = None
        self.own: Any = None
        self._beaten = time.monotonic()

    def answer(self, request: SimpleNamespace, content: bytes) -> None:
        """Answer one request.

        Args:
            request: with its fields as attributes.
            content: payload of the request.
        """
        command = request.command
        if command == "load":
            self.load(request, content)
        elif command == "greet":
            self.channel.send({"event": "settled"})
        elif command == "convert-weights":
            from esrbench.worker.own import convert_weights

            self.channel.send(*convert_weights(request))
        elif command == "build":
            self.channel.send(*build_modules(request))
        elif self.worker is None:
            self.refuse("the first request must be load")
        else:
            self.answer_loaded(self.worker, request, content)

    def answer_loaded(self, worker: Worker, request: SimpleNamespace, content: bytes) -> None:
        """Answer a request about the loaded network; arguments as in ``answer``."""
        command = request.command
        if command == "upscale":
            self.channel.send(worker.upscale(request))
        elif command == "forward":
            self.channel.send(worker.forward(request, self.channel.send))
        elif command == "read-memory":
            self.channel.send({"event": "account"}, json.dumps(worker.read_memory()).encode())
        elif command == "load-second":
            self.pairing = Pairing(worker, request, loader(request, content))
            self.channel.send(self.pairing.ready)
        elif command == "time-pairs" and self.pairing is not None:
            self.channel.send(self.pairing.time(request, self.beat))
        elif command == "time-pairs":
            self.refuse("there is no second network to race")
        else:
            self.answer_own(worker, request)

    def load(self, request: SimpleNamespace, content: bytes) -> None:
        """Load a network; it replaces an earlier one."""
        self.worker = self.pairing = self.own = None
        self.worker = Worker(request, self.areas, loader(request, content))
        self.channel.send(self.worker.opened.ready)

    def answer_own(self, worker: Worker, request: SimpleNamespace) -> None:
        """Answer a request that only the harness's own environment can answer."""
        from esrbench.worker.own import OwnAnswers

        if self.own is None:
            self.own = OwnAnswers(worker)
        self.channel.send(*self.own.answer(request))

    def refuse(self, message: str) -> None:
        """Answer a request that cannot be answered now."""
        self.channel.send({"event": "failed", "kind": "protocol", "message": message})

    def beat(self) -> None:
        """Send a sign of life to the evaluator, but not too often."""
        if time.monotonic() - self._beaten >= BEAT_SECONDS:
            self._beaten = time.monotonic()
            self.channel.send({"event": "working"})


def serve(channel: Channel, areas: PixelAreas) -> None:
    """Answer requests until ``Stop`` arrives or the evaluator has ended."""
    conversation = Conversation(channel, areas)
    while True:
        try:
            message, content = channel.receive()
        except ChannelClosedError:
            return
        request = requested(message)
        if request.command == "stop":
            return
        try:
            conversation.answer(request, content)
        except Exception as error:  # noqa: BLE001 - a stranger's network may raise anything
            loading = request.command in LOADING
            loads = [conversation.worker.load] if conversation.worker else []
            loads += [request] if hasattr(request, "code") else []
            channel.send(failure(error, "load-error" if loading else "forward-error", loads))


def main(arguments: Sequence[str]) -> None:
    """Serve requests on the given descriptors: requests, answers, LR area, SR area; then exit."""
    requests, answers, lr_fd, sr_fd = map(int, arguments)
    serve(Channel(requests, answers, trusted=True), PixelAreas.open(lr_fd, sr_fd))
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # an entry may have replaced these objects
            stream.flush()
    # A normal exit of torch takes half a second and has no benefit.
    os._exit(0)
