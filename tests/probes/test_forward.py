import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr, ycbcr2rgb

from esrbench.data.resize import upscale
from esrbench.probes.forward import InvalidOutputError, PixelConversion, fixed_lr
from esrbench.protocol import Protocol

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_every_level_survives_the_round_trip(data_range):
    conversion = PixelConversion(1, data_range)
    pixels = np.arange(256 * 3, dtype=np.uint16).reshape(16, 16, 3).astype(np.uint8)
    tensor = conversion.to_input(pixels, CPU)
    assert tensor.shape == (1, 3, 16, 16)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    assert float(tensor.max()) == data_range
    assert tensor[0, 1, 0, 0] == np.float32(data_range / 255)
    assert np.array_equal(conversion.to_pixels(tensor, pixels), pixels)


def test_pixels_are_clipped_and_rounded_not_truncated():
    levels = torch.tensor([-0.5, 0.0, 0.6 / 255, 1.4 / 255, 254.51 / 255, 2.0])
    sr = levels.reshape(1, 1, 1, 6).expand(1, 3, 1, 6)
    pixels = PixelConversion(1).to_pixels(sr, np.zeros((1, 6, 3), np.uint8))
    assert pixels[0, :, 0].tolist() == [0, 0, 1, 1, 255, 255]


def by_definition(sr, data_range):
    """Clip, scale and round half to even in float32, one operation after the other."""
    values = sr.to(torch.float32).numpy()[0].transpose(1, 2, 0)
    with np.errstate(over="ignore"):
        unit = np.clip(values / np.float32(data_range), np.float32(0), np.float32(1))
    return np.rint(unit * np.float32(255)).astype(np.uint8)


def hard_to_round(data_range):
    """(1, 3, 150, 500): next to every tie, of every magnitude, and within the range."""
    ties = ((np.arange(-2, 258) + 0.5) / 255 * data_range).astype(np.float32)
    near = [ties]
    for towards in (-np.inf, np.inf):
        step = ties
        for _ in range(20):
            step = np.nextafter(step, np.float32(towards))
            near.append(step)
    bits = RNG.integers(0, 2**32, 120_000, dtype=np.uint32).view(np.float32)
    bits = bits[np.isfinite(bits)][:100_000]
    inside = RNG.uniform(-0.1, 1.1, 225_000).astype(np.float32) * np.float32(data_range)
    values = np.concatenate([*near, bits, inside])[: 3 * 150 * 500]
    assert values.size == 3 * 150 * 500
    return torch.from_numpy(RNG.permutation(values).reshape(1, 3, 150, 500))


@pytest.mark.parametrize("data_range", [1.0, 255.0, 2.0, 0.7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_every_level_is_rounded_by_definition(data_range, dtype):
    sr = hard_to_round(data_range).to(dtype)
    conversion = PixelConversion(1, data_range)
    lr = np.zeros((150, 500, 3), np.uint8)
    expected = by_definition(sr, data_range)
    layouts = (sr, sr.to(memory_format=torch.channels_last), sr.flip(3).flip(3), sr.mT.clone().mT)
    for layout in layouts:
        pixels = conversion.to_pixels(layout, lr)
        assert pixels.flags.c_contiguous
        assert np.array_equal(pixels, expected)


def test_an_output_that_needs_a_gradient_becomes_pixels():
    sr = torch.full((1, 3, 2, 2), 0.5, requires_grad=True)
    pixels = PixelConversion(1).to_pixels(sr, np.zeros((2, 2, 3), np.uint8))
    assert (pixels == 128).all()  # 127.5 lies between 127 and 128, which is even


def test_inputs_are_rounded_quotients_whatever_the_memory_of_the_image():
    lr = RNG.integers(0, 256, (70, 9, 3), dtype=np.uint8)
    lr.flags.writeable = False
    for data_range in (1.0, 255.0, 2.0):
        quotients = lr.astype(np.float64) / (255 / data_range)
        expected = quotients.astype(np.float32).transpose(2, 0, 1)[None]
        for image in (lr, np.asfortranarray(lr), lr[::-1, ::-1].copy()[::-1, ::-1]):
            tensor = PixelConversion(1, data_range).to_input(image, CPU)
            assert tensor.is_contiguous()
            assert np.array_equal(tensor.numpy(), expected)


def test_a_y_network_sees_bt601_luma():
    lr = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    tensor = PixelConversion(2, 255.0, "y").to_input(lr, CPU)
    assert tensor.shape == (1, 1, 5, 7)
    assert np.allclose(tensor[0, 0].numpy(), rgb2ycbcr(lr)[..., 0], atol=1e-4)


def test_an_enlarged_input_is_bicubic_and_of_hr_size():
    lr = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    conversion = PixelConversion(3, 255.0, "rgb", "bicubic-hr")
    assert conversion.input_size((5, 7)) == (15, 21)
    tensor = conversion.to_input(lr, CPU)
    enlarged = upscale(lr, 3, border="mirror")
    assert np.array_equal(tensor[0].permute(1, 2, 0).numpy(), enlarged.astype(np.float32))


@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_sr_luma_is_joined_with_bicubic_chroma(data_range):
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


@pytest.mark.parametrize(
    ("color", "given"), [("rgb", "bicubic-hr"), ("y", "lr"), ("y", "bicubic-hr")]
)
def test_an_enlargement_that_is_there_is_not_made_again(color, given):
    conversion = PixelConversion(2, color=color, input=given)
    assert conversion.enlarges
    assert not PixelConversion(2).enlarges
    lr = RNG.integers(0, 256, (5, 7, 3), np.uint8)
    own = upscale(lr, 2, border="mirror")
    sr = torch.rand(1, conversion.channels, 10, 14)
    assert torch.equal(conversion.to_input(lr, CPU), conversion.to_input(lr, CPU, own))
    assert np.array_equal(conversion.to_pixels(sr, lr), conversion.to_pixels(sr, lr, own))
    if color == "y":
        # Of another enlargement the chroma is another.
        assert not np.array_equal(
            conversion.to_pixels(sr, lr), conversion.to_pixels(sr, lr, own[::-1])
        )
    else:
        assert torch.equal(
            conversion.to_input(lr, CPU, own[::-1].copy()), conversion.to_input(lr, CPU).flip(2)
        )


def test_a_y_network_that_changes_nothing_gives_bicubic():
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
        (torch.eye(8).log().expand(1, 3, 8, 8), "168 NaN or infinite"),
        (torch.tensor([float("nan"), *[0.0] * 191]).view(1, 3, 8, 8), "1 NaN or infinite"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_sr_image_is_refused(sr, says):
    with pytest.raises(InvalidOutputError, match=says):
        PixelConversion(2).validate(sr, (4, 4))


@pytest.mark.parametrize(
    "sr",
    [
        torch.rand(1, 3, 8, 8),
        torch.full((1, 3, 8, 8), 3e38),  # whose sum is infinite
        torch.full((1, 3, 8, 8), 6e4, dtype=torch.float16),
    ],
)
def test_an_sr_image_passes_through(sr):
    assert PixelConversion(2).validate(sr, (4, 4)) is sr


def test_the_fixed_input_is_seeded_noise_of_every_level():
    protocol = Protocol(counted_input=(64, 96), seed=7)
    lr = fixed_lr(protocol)
    assert (lr.shape, lr.dtype) == ((64, 96, 3), np.uint8)
    assert len(np.unique(lr)) == 256
    assert np.array_equal(lr, fixed_lr(protocol))
    assert not np.array_equal(lr, fixed_lr(protocol.model_copy(update={"seed": 8})))
