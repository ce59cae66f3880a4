"""Fill the disk of the temporary folder with many files."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def attempt(_facts: dict[str, Any]) -> object:
    made = [Path(f"fill-{number}") for number in range(32)]
    try:
        for path in made:
            path.write_bytes(bytes(1 << 20))
    finally:
        for path in made:
            path.unlink(missing_ok=True)
    return True
