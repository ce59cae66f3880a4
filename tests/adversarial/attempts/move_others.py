"""Move another process of the same user to its own CPU."""

from __future__ import annotations

import os
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    os.sched_setaffinity(facts["parent"], os.sched_getaffinity(facts["parent"]))
    return True
