"""Raise its own limits."""

from __future__ import annotations

import resource
from typing import Any


def attempt(_facts: dict[str, Any]) -> object:
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except ValueError as error:
        raise PermissionError from error
    return True
