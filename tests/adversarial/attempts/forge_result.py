"""Put a record of its own among the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    path = Path(facts["results"]) / "runs" / "forged.json"
    path.write_text("{}")
    path.unlink()
    return True
