"""Take more memory than it was given."""

from __future__ import annotations

import mmap
from typing import Any


def attempt(_facts: dict[str, Any]) -> object:
    kept = mmap.mmap(-1, 6 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return len(kept)
