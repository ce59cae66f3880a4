"""Read HR through a link that lies in the submission."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    return len((Path(facts["own"]) / "innocent.png").read_bytes())
