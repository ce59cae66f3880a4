"""Have the kernel signal the evaluator when a pipe is ready."""

from __future__ import annotations

import fcntl
import os
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    read, _ = os.pipe()
    fcntl.fcntl(read, fcntl.F_SETOWN, facts["evaluator"])
    return True
