"""Open what the evaluator has open."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    for link in sorted(Path(f"/proc/{facts['evaluator']}/fd").iterdir()):
        if str(link.readlink()) == facts["hr"]:
            return len(link.read_bytes())
    raise PermissionError
