"""Find a secret in its own environment."""

from __future__ import annotations

import os
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    if facts["secret"] not in [f"{key}={value}" for key, value in os.environ.items()]:
        raise PermissionError
    return True
