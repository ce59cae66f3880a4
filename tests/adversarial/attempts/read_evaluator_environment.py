"""Find a secret in the environment of the evaluator."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    said = Path(f"/proc/{facts['evaluator']}/environ").read_bytes()
    if facts["secret"].encode() not in said:
        raise PermissionError
    return True
