"""Leave a process behind that has another parent and session."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    if os.fork():
        os.wait()
        return True
    os.setsid()
    if os.fork():
        os._exit(0)
    Path("/proc/self/comm").write_text(facts["daemon"])
    os.closerange(0, 100)
    time.sleep(600)
    os._exit(0)
