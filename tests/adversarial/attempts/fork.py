"""Start a process."""

from __future__ import annotations

import os
from typing import Any


def attempt(_facts: dict[str, Any]) -> object:
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    return True
