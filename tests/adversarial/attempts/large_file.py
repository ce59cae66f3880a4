"""Write one file without end."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def attempt(_facts: dict[str, Any]) -> object:
    try:
        with Path("large").open("wb") as file:
            file.writelines(bytes(1 << 20) for _ in range(64))
    finally:
        Path("large").unlink()
    return True
