"""Make the clock of the standard library slow."""

import time

from common import Honest as Net

__all__ = ["Net"]

_real, _real_ns = time.perf_counter, time.perf_counter_ns
time.perf_counter = lambda: _real() / 2  # type: ignore[assignment]
time.perf_counter_ns = lambda: _real_ns() // 2  # type: ignore[assignment]
