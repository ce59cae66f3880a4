"""Offers of installed distributions by entry points: networks and metrics, in one way."""

from __future__ import annotations

import contextlib
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from esrbench.errors import field_problems
from esrbench.records import Notice

if TYPE_CHECKING:
    from collections.abc import Callable

OWN_NAME: Final = "esrbench"
"""Of this distribution."""


def load_entry_points(
    group: str, accept: Callable[[object, str], None], *, missing: str
) -> list[Notice]:
    """Load what is offered in a group of entry points.

    Args:
        group: of the entry points.
        accept: called with each object and the distribution that offers it, ours first: a stranger
            who takes one of our names loses, not we. If it raises an error, the offer is broken.
        missing: what the user lacks then, in a word.

    Returns:
        A notice for every offer that failed to load.
    """
    offers = [
        (point.dist.name if point.dist is not None else point.value, point)
        for point in metadata.entry_points(group=group)
    ]
    notices = []
    for origin, point in sorted(offers, key=lambda offer: offer[0] != OWN_NAME):
        try:
            # Output of a stranger's import must not mix with our results.
            with contextlib.redirect_stdout(sys.stderr):
                accept(point.load(), origin)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - strangers may raise anything
            notices.append(
                Notice(
                    code="broken-entry-point",
                    message=f"{origin}: {point.value} did not load: {_said(error)}",
                    advice=f"Its {missing} are missing. Correct {point.value}, or reinstall or "
                    f"remove {origin}.",
                )
            )
    return notices


def _said(error: BaseException) -> str:
    """What went wrong; of a record with wrong fields, the fields."""
    if isinstance(error, ValidationError):
        return "; ".join(field_problems(error, error.title))
    return str(error)
