"""Change the harness for the next run."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    with Path(facts["harness"]).open("ab"):
        return True
