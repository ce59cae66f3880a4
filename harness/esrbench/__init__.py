"""esrbench: how efficient is a super-resolution network.

The names below are loaded on first use, so that importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from esrbench.api import (
        complexity,
        evaluate,
        leaderboard,
        load_model,
        race,
        register_model,
        run,
    )

__all__ = [
    "complexity",
    "evaluate",
    "leaderboard",
    "load_model",
    "race",
    "register_model",
    "run",
]

# Registering must not import what measuring needs.
_SOURCES = {"register_model": "esrbench.entries.registry"}


def __getattr__(name: str) -> Any:
    """Load a public name from where it is defined."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_SOURCES.get(name, "esrbench.api")), name)
