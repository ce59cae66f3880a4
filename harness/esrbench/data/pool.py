"""Threads that read and score images; the process can end without waiting for them."""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from esrbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

T = TypeVar("T")
P = ParamSpec("P")

STOP_SECONDS = 2.0
"""Longest wait, after a signal, for running work such as an image that is being written."""


class ImagePool:
    """Runs functions in threads, within a ``with`` block.

    Python does not wait for these threads when it ends. ``ThreadPoolExecutor`` would wait forever
    for a read that hangs, for example on a lost network file system.

    Args:
        threads: largest number of threads; each is started when there is work for it.
    """

    def __init__(self, threads: int) -> None:
        self._most = threads
        self._threads: list[threading.Thread] = []
        self._work: queue.SimpleQueue[tuple[Future[object], Callable[[], object]] | None] = (
            queue.SimpleQueue()
        )

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a thread call a function; its result or exception is the future's."""
        future: Future[T] = Future()
        self._work.put((future, lambda: function(*args, **kwargs)))  # type: ignore[arg-type]
        if len(self._threads) < self._most:
            name = f"esrbench-images-{len(self._threads)}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def map(self, function: Callable[[int], T], count: int) -> Iterator[T]:
        """Results of a function for 0 to ``count`` - 1, in order, made as threads are free."""
        futures = [self.submit(function, index) for index in range(count)]
        for future in futures:
            yield future.result()

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drop what has not begun and wait for the rest; a signal waits for a moment only."""
        with suppress(queue.Empty):
            while (waiting := self._work.get_nowait()) is not None:
                waiting[0].cancel()
        for _ in self._threads:
            self._work.put(None)
        signalled = kind is not None and not issubclass(kind, Exception)
        latest = time.monotonic() + STOP_SECONDS if signalled else None
        for thread in self._threads:
            thread.join(None if latest is None else max(0.0, latest - time.monotonic()))

    def _run(self) -> None:
        while (given := self._work.get()) is not None:
            future, call = given
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 - whoever asks for the result gets it
                future.set_exception(error)
            # Otherwise the last result and its images would live as long as the thread.
            del given, future, call


def for_each(
    work: Callable[[int], T],
    count: int,
    *,
    threads: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[T], list[str]]:
    """Results of ``work`` for 0 to ``count`` - 1, and the problems where it raised ``DataError``.

    Args:
        work: called in threads.
        count: calls.
        threads: largest number of threads.
        progress: called with (images done, images in all).
    """

    def attempt(index: int) -> T | DataError:
        try:
            return work(index)
        except DataError as error:
            return error

    results: list[T] = []
    problems: list[str] = []
    with ImagePool(threads) as pool:
        for done, result in enumerate(pool.map(attempt, count), start=1):
            if isinstance(result, DataError):
                problems += result.listed
            else:
                results.append(result)
            if progress is not None:
                progress(done, count)
    return results, problems
