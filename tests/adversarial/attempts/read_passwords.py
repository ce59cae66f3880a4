"""Read a file of the host that is none of its business."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def attempt(_facts: dict[str, Any]) -> object:
    return len(Path("/etc/passwd").read_bytes())
