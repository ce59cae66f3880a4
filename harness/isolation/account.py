"""What a worker says of itself, held against what the evaluator knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.environment import available_cpus, cpus_available

if TYPE_CHECKING:
    from harness.isolation.messages import Ready
    from harness.protocol import Protocol


def impossible(ready: Ready, protocol: Protocol) -> str | None:
    """What of a worker's account cannot be true, or None; records repeat the rest.

    Args:
        ready: its account.
        protocol: what it was told.
    """
    threads = protocol.threads or cpus_available()
    known = set(available_cpus())
    if ready.threads != threads:
        return "threads"
    if ready.cpus and (len(set(ready.cpus)) != threads or (known and not set(ready.cpus) <= known)):
        return "CPUs"
    if protocol.device == "cpu" and (ready.accelerator or ready.gpu_uuid or ready.libraries):
        return "GPU"
    return None
