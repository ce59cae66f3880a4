"""MATLAB's bicubic: hand computation, an independent antialiased bicubic, and distributed LR."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from esrbench.data.codecs import read_rgb
from esrbench.data.resize import downscale, imresize_matlab, modcrop, upscale

BORDERS = ("mirror", "replicate")
NOISE = np.random.default_rng(7).integers(0, 256, (96, 120, 3), dtype=np.uint8)


def column(*values):
    """An (N, 1, 1) image."""
    return np.array(values, np.uint8).reshape(-1, 1, 1)


@pytest.mark.parametrize("border", BORDERS)
def test_doubling_by_hand(border):
    # Keys' kernel at distances 1.75, .75, .25, 1.25 is -3, 29, 111, -9 over 128; the bump of
    # 128 makes outputs sums of those, clipped at 0.
    doubled = upscale(column(0, 0, 128, 128, 0, 0), 2, border=border)
    assert doubled.shape == (12, 2, 1)
    assert doubled[:, 0, 0].tolist() == [0, 0, 0, 26, 102, 140, 140, 102, 26, 0, 0, 0]


@pytest.mark.parametrize("border", BORDERS)
def test_halving_by_hand_is_antialiased_and_rounds_half_up(border):
    # The kernel stretched twice is 111, 29, -9, -3 over 256 at .5, 1.5, 2.5, 3.5 px. Outputs
    # around the step are 128/256 times -3, 17, 239, 259: -1.5, 8.5, 119.5, 129.5.
    halved = downscale(column(*[0] * 6, *[128] * 6), 2, border=border)
    assert halved.shape == (6, 1, 1)
    assert halved[:, 0, 0].tolist() == [0, 0, 9, 120, 130, 128]


@pytest.mark.parametrize(("border", "edge"), [("mirror", 108), ("replicate", 106)])
def test_the_border_rules_by_hand(border, edge):
    # Output 0 reads inputs -2, -1, 0, 1 with -3, 29, 111, -9 over 128. Mirrored they are
    # 1, 0, 0, 1 (100 + 90 * 12 / 128 = 108.4), replicated 0, 0, 0, 1 (100 + 90 * 9 / 128).
    assert upscale(column(100, 10, 100), 2, border=border)[0, 0, 0] == edge


@given(
    value=st.integers(0, 255),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    scale=st.sampled_from([Fraction(n, d) for n in (1, 2, 3, 4) for d in (1, 2, 3, 4)]),
    border=st.sampled_from(BORDERS),
)
def test_a_flat_image_stays_flat_at_any_size(value, height, width, scale, border):
    resized = imresize_matlab(np.full((height, width, 3), value, np.uint8), scale, border=border)
    expected = (-(-height * scale.numerator // scale.denominator),)
    expected += (-(-width * scale.numerator // scale.denominator), 3)
    assert resized.shape == expected
    assert resized.dtype == np.uint8
    assert (resized == value).all()


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("scale", [2, 4])
def test_flipping_commutes_with_resizing(scale, border):
    for resize in (downscale, upscale):
        flipped = resize(np.ascontiguousarray(NOISE[::-1, ::-1]), scale, border=border)
        assert np.array_equal(flipped[::-1, ::-1], resize(NOISE, scale, border=border))


def torch_pass(image, size):
    """PyTorch's antialiased bicubic (a = -0.5), which renormalises at borders."""
    planes = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float64))[None]
    resized = interpolate(planes, size, mode="bicubic", antialias=True, align_corners=False)
    return resized[0].numpy().transpose(1, 2, 0)


def rounded(image):
    return np.floor(np.clip(image, 0, 255) + 0.5).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shrinking_agrees_with_pytorch_inside_the_border_when_it_rounds_twice(scale):
    height, width = NOISE.shape[0] // scale, NOISE.shape[1] // scale
    rows = rounded(torch_pass(NOISE, (height, NOISE.shape[1])))
    twice = rounded(torch_pass(rows, (height, width)))
    once = rounded(torch_pass(NOISE, (height, width)))
    ours = downscale(NOISE, scale, border="mirror")
    inner = slice(3, -3)
    assert np.mean(ours[inner, inner] == twice[inner, inner]) > 0.999  # but for float ties
    assert np.mean(ours[inner, inner] == once[inner, inner]) < 0.95


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_border_rules_differ_in_the_outer_three_pixels_only(scale):
    mirrored = downscale(NOISE, scale, border="mirror")
    replicated = downscale(NOISE, scale, border="replicate")
    assert (mirrored != replicated).any()
    assert np.array_equal(mirrored[3:-3, 3:-3], replicated[3:-3, 3:-3])


def test_modcrop_keeps_the_top_left():
    cropped = modcrop(NOISE[:95, :118], 4)
    assert np.array_equal(cropped, NOISE[:92, :116])
    assert np.array_equal(modcrop(NOISE, 12), NOISE)


@pytest.mark.parametrize(
    "image", [NOISE.astype(np.float32), NOISE[:, :, 0], NOISE[:0], NOISE[:, :0]]
)
def test_anything_but_a_uint8_image_is_refused(image):
    with pytest.raises(ValueError, match=r"expected a non-empty uint8 \(H, W, C\) image"):
        downscale(image, 2, border="mirror")


def test_a_scale_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        imresize_matlab(NOISE, 0, border="mirror")


@pytest.mark.parametrize(
    ("data", "folder", "border", "images"),
    [
        ("Set5", "LR_bicubic", "replicate", 15),
        ("Set5", "LR_bicubic_mirror", "mirror", 15),
        ("Set14", "LR_bicubic", "replicate", 42),
        ("DIV2K_valid_c256", "LR_bicubic", "mirror", 100),
    ],
)
def test_every_distributed_lr_image_regenerates_bit_for_bit(shared, data, folder, border, images):
    files = sorted((shared / "data" / data / folder).glob("X*/*.png"))
    assert len(files) == images
    for path in files:
        scale = int(path.parent.name[1:])
        name = path.stem.removesuffix(f"x{scale}")
        hr = read_rgb(shared / "data" / data / "HR" / f"{name}.png", allow_grey=True)
        lr = downscale(modcrop(hr, scale), scale, border=border)
        assert np.array_equal(lr, read_rgb(path, allow_grey=True)), path
