from __future__ import annotations

import numpy as np

from esrbench.probes.inputs import fixed_lr
from esrbench.protocol import Protocol


def test_the_fixed_input_is_seeded_noise_of_every_level() -> None:
    protocol = Protocol(counted_input=(64, 96), seed=7)
    lr = fixed_lr(protocol)
    assert (lr.shape, lr.dtype) == ((64, 96, 3), np.uint8)
    assert len(np.unique(lr)) == 256
    assert np.array_equal(lr, fixed_lr(protocol))
    assert not np.array_equal(lr, fixed_lr(protocol.model_copy(update={"seed": 8})))
