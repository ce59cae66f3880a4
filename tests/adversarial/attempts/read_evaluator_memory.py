"""Read the memory of the evaluator."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def attempt(facts: dict[str, Any]) -> object:
    maps = Path(f"/proc/{facts['evaluator']}/maps").read_text().splitlines()
    stack = next(line for line in maps if line.endswith("[stack]"))
    with Path(f"/proc/{facts['evaluator']}/mem").open("rb", buffering=0) as memory:
        memory.seek(int(stack.split("-")[1].split()[0], 16) - 4096)
        return len(memory.read(4096))
