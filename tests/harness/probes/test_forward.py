from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.probes.forward import InvalidOutputError, lr_tensor, sr_pixels, validate_sr

CPU = torch.device("cpu")


@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_every_level_survives_the_round_trip(data_range: float) -> None:
    pixels = np.arange(256 * 3, dtype=np.uint16).reshape(16, 16, 3).astype(np.uint8)
    tensor = lr_tensor(pixels, data_range=data_range, device=CPU)
    assert tensor.shape == (1, 3, 16, 16)
    assert tensor.dtype == torch.float32
    assert float(tensor.max()) == data_range
    assert tensor[0, 1, 0, 0] == pixels[0, 0, 1] * (data_range / 255)
    assert np.array_equal(sr_pixels(tensor, data_range=data_range), pixels)


def test_pixels_are_clipped_and_rounded_not_truncated() -> None:
    levels = torch.tensor([-0.5, 0.0, 0.6 / 255, 1.4 / 255, 254.51 / 255, 2.0])
    sr = levels.reshape(1, 1, 1, 6).expand(1, 3, 1, 6)
    assert sr_pixels(sr, data_range=1.0)[0, :, 0].tolist() == [0, 0, 1, 1, 255, 255]


@pytest.mark.parametrize(
    ("sr", "says"),
    [
        (torch.zeros(1, 3, 8, 9), r"\(1, 3, 8, 9\), expected \(1, 3, 8, 8\)"),
        (torch.zeros(3, 8, 8), "shape"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int32), "int32"),
        (torch.full((1, 3, 8, 8), float("inf")), "192 NaN or infinite"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_sr_image_is_refused(sr: object, says: str) -> None:
    with pytest.raises(InvalidOutputError, match=says):
        validate_sr(sr, lr_size=(4, 4), scale=2)


def test_an_sr_image_passes_through() -> None:
    sr = torch.rand(1, 3, 8, 8)
    assert validate_sr(sr, lr_size=(4, 4), scale=2) is sr
