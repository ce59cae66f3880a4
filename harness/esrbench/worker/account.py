"""What a worker says of itself, held against what the evaluator knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esrbench.devices import DEVICES
from esrbench.environment import available_cpus, cpus_available
from esrbench.protocol import Frozen
from esrbench.records import Absent, Memory

if TYPE_CHECKING:
    from esrbench.protocol import Protocol
    from esrbench.records import Complexity
    from esrbench.worker.messages import Ready


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
    told = ready.accelerator or ready.gpu_uuid or ready.libraries
    if told and not DEVICES[protocol.device].gpu:
        return "GPU"
    return None


def impossible_counts(complexity: Complexity, protocol: Protocol) -> str | None:
    """What of a worker's counts cannot be true, or None.

    Args:
        complexity: its account.
        protocol: what it was told.
    """
    if set(complexity.counters) != set(protocol.counters):
        told = ", ".join(sorted(complexity.counters)) or "none"
        return f"it answers with the counters {told}, not those of the protocol"
    return None


def impossible_memory(memory: Memory | Absent, protocol: Protocol) -> str | None:
    """What of a worker's account of memory cannot be true, or None; arguments as above."""
    if isinstance(memory, Memory) and not DEVICES[protocol.device].gpu:
        return "it gives an account of GPU memory, and has no GPU"
    return None


def blames_machine(told: object) -> bool:
    """Whether a worker's answer holds a failure that is not its network's.

    A failure without a kind is the harness's or its machine's, which only the evaluator can tell.
    """
    if isinstance(told, Absent):
        return told.kind == "failed" and told.failure is None
    if isinstance(told, Frozen):
        return any(blames_machine(value) for _, value in told)
    if isinstance(told, dict):
        return any(map(blames_machine, told.values()))
    return isinstance(told, list | tuple) and any(map(blames_machine, told))
