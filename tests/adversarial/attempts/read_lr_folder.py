"""Read all LR images at once, to prepare answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    return [path.read_bytes()[:4] for path in Path(facts["lr"]).parent.iterdir()]
