from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr, ycbcr2rgb

from harness.imaging.resize import upscale
from harness.probes.forward import InvalidOutputError, PixelConversion

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_every_level_survives_the_round_trip(data_range: float) -> None:
    conversion = PixelConversion(1, data_range)
    pixels = np.arange(256 * 3, dtype=np.uint16).reshape(16, 16, 3).astype(np.uint8)
    tensor = conversion.to_input(pixels, CPU)
    assert tensor.shape == (1, 3, 16, 16)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    assert float(tensor.max()) == data_range
    assert tensor[0, 1, 0, 0] == pixels[0, 0, 1] * (data_range / 255)
    assert np.array_equal(conversion.to_pixels(tensor, pixels), pixels)


def test_pixels_are_clipped_and_rounded_not_truncated() -> None:
    levels = torch.tensor([-0.5, 0.0, 0.6 / 255, 1.4 / 255, 254.51 / 255, 2.0])
    sr = levels.reshape(1, 1, 1, 6).expand(1, 3, 1, 6)
    pixels = PixelConversion(1).to_pixels(sr, np.zeros((1, 6, 3), np.uint8))
    assert pixels[0, :, 0].tolist() == [0, 0, 1, 1, 255, 255]


def test_a_y_network_sees_bt601_luma() -> None:
    lr = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    tensor = PixelConversion(2, 255.0, "y").to_input(lr, CPU)
    assert tensor.shape == (1, 1, 5, 7)
    assert np.allclose(tensor[0, 0].numpy(), rgb2ycbcr(lr)[..., 0], atol=1e-4)


def test_an_enlarged_input_is_bicubic_and_of_hr_size() -> None:
    lr = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    conversion = PixelConversion(3, 255.0, "rgb", "bicubic-hr")
    assert conversion.input_size((5, 7)) == (15, 21)
    tensor = conversion.to_input(lr, CPU)
    enlarged = upscale(lr, 3, border="mirror")
    assert np.array_equal(tensor[0].permute(1, 2, 0).numpy(), enlarged.astype(np.float32))


@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_sr_luma_is_joined_with_bicubic_chroma(data_range: float) -> None:
    # Muted colours, so that nothing is clipped.
    lr = RNG.integers(80, 170, (6, 8, 3), dtype=np.uint8)
    enlarged = upscale(lr, 2, border="mirror")
    ycbcr = rgb2ycbcr(enlarged)
    ycbcr[..., 0] += RNG.uniform(-10, 10, ycbcr.shape[:2])
    expected = np.rint(ycbcr2rgb(ycbcr) * 255)
    luma = ycbcr[..., 0][None, None] / 255 * data_range
    conversion = PixelConversion(2, data_range, "y", "bicubic-hr")
    pixels = conversion.to_pixels(torch.from_numpy(luma), lr)
    # The library's inverse matrix is rounded; a level may fall on the other side.
    assert np.abs(pixels - expected).max() <= 1
    assert (pixels == expected).mean() > 0.99


def test_a_y_network_that_changes_nothing_gives_bicubic() -> None:
    lr = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    conversion = PixelConversion(2, 1.0, "y", "bicubic-hr")
    pixels = conversion.to_pixels(conversion.to_input(lr, CPU), lr)
    assert np.array_equal(pixels, upscale(lr, 2, border="mirror"))


@pytest.mark.parametrize(
    ("sr", "says"),
    [
        (torch.zeros(1, 3, 8, 9), r"\(1, 3, 8, 9\), expected \(1, 3, 8, 8\)"),
        (torch.zeros(3, 8, 8), "shape"),
        (torch.zeros(1, 1, 8, 8), "shape"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int32), "int32"),
        (torch.full((1, 3, 8, 8), float("inf")), "192 NaN or infinite"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_sr_image_is_refused(sr: object, says: str) -> None:
    with pytest.raises(InvalidOutputError, match=says):
        PixelConversion(2).validate(sr, (4, 4))


def test_an_sr_image_passes_through() -> None:
    sr = torch.rand(1, 3, 8, 8)
    assert PixelConversion(2).validate(sr, (4, 4)) is sr
