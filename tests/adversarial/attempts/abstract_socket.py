"""Call a server of this machine by a socket without a file."""

from __future__ import annotations

import socket
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("\0" + facts["abstract"])
    return True
