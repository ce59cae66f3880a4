"""Read an HR image."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    return len(Path(facts["hr"]).read_bytes())
