"""Read HR through a link made in the temporary folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    link = Path("innocent.png")
    link.symlink_to(facts["hr"])
    return len(link.read_bytes())
