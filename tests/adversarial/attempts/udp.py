"""Call home by UDP."""

from __future__ import annotations

import socket
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        return sender.sendto(b"secret", ("127.0.0.1", facts["udp"]))
