"""Name a GPU that is not there."""

import sys
from typing import Any

from common import Honest as Net

__all__ = ["Net"]

channel = sys.modules["esrbench.worker.channel"].Channel
real = channel.send


def send(self: Any, message: dict[str, Any], *rest: Any, **options: Any) -> Any:
    if message.get("event") == "ready":
        message = {**message, "accelerator": "NVIDIA H100"}
    return real(self, message, *rest, **options)


channel.send = send
