"""Read the code of another team."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    return (Path(facts["other"]) / "model.py").read_text()
