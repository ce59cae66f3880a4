"""Real workers that go on after their ``with`` block, because the import of torch takes seconds.

For tests that are not about the life of a worker: one process loads one network after the other, as
``esrbench scan`` has it do. A worker that a network ended is replaced.
"""

from contextlib import contextmanager
from dataclasses import replace

import pytest

from esrbench.worker.launcher import Launcher
from esrbench.worker.session import WorkerSession


class LastingSession(WorkerSession):
    """A session in a process of earlier sessions, if there is one that sees the same and is idle.

    Args:
        process: not yet started; only used if there is none.
        idle: processes between two sessions, by what they see.
    """

    def __init__(self, process, idle):
        super().__init__(process)
        self.idle = idle

    def __enter__(self):
        waiting = self.idle.setdefault((self.process.view, self.process.limits), [])
        if not waiting:
            return super().__enter__()
        process = waiting.pop()
        process.timeout_seconds = self.process.timeout_seconds
        process.limit_seconds = self.process.limit_seconds
        process.begin_life()
        self.process = process
        return self

    def __exit__(self, kind, value, trace):
        process = self.process
        # A generator that nobody asks for more ends between two requests.
        answered = kind in {None, GeneratorExit} or getattr(value, "fatal", True) is False
        if answered and process._process.poll() is None:
            self.idle[process.view, process.limits].append(process)
        else:
            super().__exit__(kind, value, trace)


class LastingWorkers:
    """The processes between two sessions.

    Args:
        seen: folders that hold the code and weights of all networks; a worker sees all of them.
    """

    def __init__(self, seen):
        self.seen = tuple(seen)
        self.idle = {}

    @contextmanager
    def in_use(self):
        """Have every launcher give their sessions."""
        start = Launcher.worker

        def worker(launcher, *networks, **settings):
            process = start(launcher, *networks, **settings).process
            view = process.view
            if all(any(path.is_relative_to(each) for each in self.seen) for path in view.readable):
                process.view = replace(view, readable=self.seen)
            return LastingSession(process, self.idle)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Launcher, "worker", worker)
            yield

    def end(self):
        """End them all."""
        for process in (each for waiting in self.idle.values() for each in waiting):
            process.__exit__(None, None, None)
