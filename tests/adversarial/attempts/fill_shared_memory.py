"""Fill the memory of /dev/shm."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    made = [Path(f"/dev/shm/fill-{facts['daemon']}-{number}") for number in range(32)]  # noqa: S108
    try:
        for path in made:
            path.write_bytes(bytes(1 << 20))
    finally:
        for path in made:
            path.unlink(missing_ok=True)
    return True
