"""List the folder of HR images."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    return [path.name for path in Path(facts["hr"]).parent.iterdir()]
