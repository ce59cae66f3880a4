"""Move the evaluator to its own CPU."""

from __future__ import annotations

import os
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    os.sched_setaffinity(facts["evaluator"], os.sched_getaffinity(facts["evaluator"]))
    return True
