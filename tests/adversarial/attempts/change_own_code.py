"""Change the submission while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    path = Path(facts["own"]) / "later.py"
    path.touch()
    path.unlink()
    return True
