"""Sizes as users write them."""

from __future__ import annotations

from harness.errors import UsageError


def parse_size(text: str) -> tuple[int, int]:
    """``HxW`` in LR pixels; a single number is a square.

    Raises:
        UsageError: not of that form.
    """
    parts = text.lower().split("x")
    if len(parts) in {1, 2} and all(part.isdecimal() and int(part) > 0 for part in parts):
        return int(parts[0]), int(parts[-1])
    message = f"--input-size {text!r}: expected HxW in LR pixels"
    raise UsageError(message, advice="For example 256x256.")
