"""Change an installed library for the next run."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def attempt(_facts: dict[str, Any]) -> object:
    import torch

    with Path(torch.__file__).open("ab"):
        return True
