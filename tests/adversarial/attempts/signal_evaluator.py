"""Signal the evaluator."""

from __future__ import annotations

import os
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    os.kill(facts["evaluator"], 0)
    return True
