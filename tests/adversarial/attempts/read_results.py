"""Read the results of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    folder = Path(facts["results"]) / "runs"
    return next(iter([path.read_text() for path in folder.iterdir()]))
