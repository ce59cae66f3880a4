"""Counts every registered network when told to, in a process that has only imported torch.

Says ``ready``, waits for a line that says how many networks at most, and answers with the number
of networks counted.
"""

from __future__ import annotations

import sys
from functools import partial
from itertools import islice

import torch

SCALE = 4


def count_all(most: int) -> int:
    """Complexity, audit and predicted memory of each network, with what these import."""
    from esrbench.entries.networks import build_deployed
    from esrbench.entries.registry import default_registry
    from esrbench.probes.complexity import measure_complexity
    from esrbench.probes.forward import PixelConversion
    from esrbench.protocol import COUNTERS, Protocol
    from esrbench.records import Absent

    protocol = Protocol()
    counted = 0
    for model in islice(default_registry(), most):
        scale = SCALE if SCALE in model.scales else model.scales[0]
        conversion = PixelConversion.of(model, scale, model.data_range)
        found = measure_complexity(
            partial(build_deployed, model, scale),
            input_size=conversion.input_size(protocol.counted_input),
            memory_input=conversion.input_size(protocol.memory_input),
            channels=conversion.channels,
            counters=COUNTERS,
        )
        counted += not isinstance(found.predicted_memory, Absent)
    return counted


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("ready", flush=True)  # noqa: T201 - a script's output
    print(count_all(int(sys.stdin.readline())), flush=True)  # noqa: T201 - a script's output
