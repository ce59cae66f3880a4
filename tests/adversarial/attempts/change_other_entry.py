"""Put a file into the folder of another team."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    path = Path(facts["other"]) / "sabotage.py"
    path.touch()
    path.unlink()
    return True
