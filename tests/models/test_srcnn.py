"""SRCNN's other form, and how far it sees."""

from __future__ import annotations

import torch

from esrbench_models.srcnn.network import SRCNN


def test_the_form_of_2014_is_a_seventh_of_the_size() -> None:
    assert sum(parameter.numel() for parameter in SRCNN(middle=1).parameters()) == 8_129


def test_a_pixel_is_seen_from_eight_pixels_away() -> None:
    # 4 + 2 + 2 of the kernels 9, 5, 5; linear and positive, so that nothing cancels.
    network = SRCNN()
    with torch.inference_mode():
        for parameter in network.parameters():
            parameter.fill_(0.01)
        dark, lit = torch.zeros(1, 1, 21, 21), torch.zeros(1, 1, 21, 21)
        lit[..., 10, 10] = 1.0
        moved = (network(lit) - network(dark))[0, 0] != 0
    expected = torch.zeros(21, 21, dtype=torch.bool)
    expected[2:19, 2:19] = True
    assert torch.equal(moved, expected)
