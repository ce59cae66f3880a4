"""Signal every process there is."""

from __future__ import annotations

import os
from typing import Any


def attempt(_facts: dict[str, Any]) -> object:
    os.kill(-1, 0)
    return True
