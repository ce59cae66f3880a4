"""Start workers: choose the sandbox, hide files, and give each network what it needs."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from esrbench.backends import get_backend
from esrbench.devices import selection
from esrbench.entries.sources import view_paths
from esrbench.sandbox.interpreters import own_interpreter
from esrbench.sandbox.limits import Limits
from esrbench.sandbox.tiers import IsolationChoice, open_sandbox
from esrbench.sandbox.view import View
from esrbench.worker.process import DEFAULT_TIMEOUT_SECONDS, WorkerProcess
from esrbench.worker.session import WorkerSession

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.entries.networks import ResolvedWeights
    from esrbench.protocol import Protocol
    from esrbench.sandbox.interpreters import Interpreter
    from esrbench.sandbox.sandbox import Sandbox

SLEEPING_THREADS: Final = {"OMP_WAIT_POLICY": "passive"}
"""Lets threads of a forward sleep, not spin, while they wait for each other.

On two CPUs beside one busy process, a forward of IMDN whose threads spin took twice as long as one
whose threads sleep; beside six, 13 times. On an idle machine it took two thirds of the time."""
PHOTOGRAPHS = "skimage"
"""The package whose photographs are the HR images of the ``demo`` data set."""


@dataclass(frozen=True, slots=True)
class Launcher:
    """Starts workers that cannot see ground truth, results or other entries.

    Attributes:
        sandbox: confines the workers.
        hidden: files and folders that no worker may see.
        gpu: number of the GPU that workers see, if their protocol asks for one.
    """

    sandbox: Sandbox
    hidden: tuple[Path, ...]
    gpu: int = 0

    def hiding(self, paths: Iterable[Path]) -> Launcher:
        """The same launcher with more files hidden."""
        return replace(self, hidden=tuple(dict.fromkeys((*self.hidden, *paths))))

    def worker(
        self,
        *networks: tuple[ModelDescriptor, ResolvedWeights | None],
        protocol: Protocol | None = None,
        interpreter: Interpreter | None = None,
        readable: Iterable[Path] = (),
        processes: bool = False,
        timed: bool = False,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        limit_seconds: float = math.inf,
    ) -> WorkerSession:
        """A worker that can load the given networks and sees no others.

        Args:
            networks: descriptors with their weights.
            protocol: says whether there is a GPU, and whether compiling needs processes.
            interpreter: interpreter of the worker; None for the running one.
            readable: other files that it needs.
            processes: it may start processes even if torch compiles nothing.
            timed: its forwards are timed, so its threads wait for each other as they do for users.
                Otherwise they sleep while they wait, so that other processes slow them less.
            timeout_seconds: a request fails after this time without any answer.
            limit_seconds: longest life of the worker.
        """
        files: list[Path] = list(readable)
        python_path: list[Path] = []
        for descriptor, weights in networks:
            needed, imported_from = view_paths(descriptor)
            files += needed
            python_path += imported_from
            # The harness sends the weights to an entry with its own interpreter.
            if weights is not None and weights.path is not None and interpreter is None:
                files.append(weights.path.resolve())
        view = View(
            readable=tuple(dict.fromkeys(files)),
            hidden=self.hidden,
            python_path=tuple(dict.fromkeys(python_path)),
            device=protocol.device if protocol else "cpu",
            interpreter=interpreter or own_interpreter(),
        )
        backend = None if protocol is None else get_backend(protocol.forward.backend)
        # A backend that runs files has compiled them before.
        compiles = backend is not None and backend.processes and not backend.files
        process = WorkerProcess(
            self.sandbox,
            view,
            Limits(processes=processes or compiles),
            timeout_seconds=timeout_seconds,
            limit_seconds=limit_seconds,
            variables={
                **selection(view.device, self.gpu, os.environ),
                **({} if timed else SLEEPING_THREADS),
            },
        )
        return WorkerSession(process)


def open_launcher(choice: IsolationChoice = "auto", *, gpu: int = 0) -> Launcher:
    """A launcher with the requested sandbox, or with the strongest one that works here.

    Args:
        choice: the requested sandbox.
        gpu: number of the GPU that workers see, if their protocol asks for one.

    Raises:
        UsageError: this sandbox does not work on this machine; the message says why.
    """
    return Launcher(open_sandbox(choice), tuple(_photographs()), gpu)


def _photographs() -> Iterable[Path]:
    spec = find_spec(PHOTOGRAPHS)
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "data"
