"""Bicubic enlargement against MATLAB's scores and against values computed by hand."""

import math
from fractions import Fraction

import pytest
import torch

from esrbench_models.bicubic.network import Bicubic


def enlarge_row(values, scale):
    """Enlarge an image whose rows are all equal; one row of the result."""
    row = torch.tensor(values, dtype=torch.float32) / 255
    sr = Bicubic(scale)(row.expand(1, 3, 4, -1)) * 255
    assert torch.allclose(sr, sr.round(), atol=1e-4)
    assert torch.equal(sr, sr[:, :1, :1].expand_as(sr))
    return [int(value) for value in sr[0, 0, 0].round()]


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("lr_source", ["as_distributed_replicate", "matlab_mirror"])
def test_set5_psnr_is_the_reference(scale, lr_source, set5_psnr):
    scores = set5_psnr(Bicubic(scale), f"bicubic_x{scale}", scale, lr_source)
    for image, (found, expected) in scores.items():
        assert found == pytest.approx(expected, abs=1e-4), image


def test_impulse_at_x2():
    # h(.25), h(.75), h(1.25), h(1.75) = 111/128, 29/128, -9/128, -3/128, over 100 + 128 h.
    expected = [100] * 5 + [97, 91, 129, 211, 211, 129, 91, 97] + [100] * 5
    assert enlarge_row([100] * 4 + [228] + [100] * 4, 2) == expected


def test_borders_are_mirrored():
    # At x4, output 0 lies at u = -0.375: the mirrored taps are samples 1, 0, 0, 1, and
    # h(1.625) + h(1.375) = -15/128. Replicated borders would give 91.
    assert enlarge_row([100, 228, 100, 100], 4)[0] == 85
    assert enlarge_row([100, 100, 228, 100], 4)[-1] == 85


def test_halves_round_up_and_values_are_clipped():
    # The kernel's lobes overshoot 0 and 255 on both sides of the step.
    row = enlarge_row([0, 0, 0, 255, 255, 255], 2)
    assert min(row) == 0
    assert max(row) == 255
    # Output 5 of the step 0 -> 64 lies at u = 2.25: 64 (29 - 3)/128 = 13 exactly; of the step
    # 0 -> 16 it is 16 * 26/128 = 3.25, and of 0 -> 32 it is 6.5, which rounds to 7.
    assert enlarge_row([0, 0, 0, 64, 64, 64], 2)[5] == 13
    assert enlarge_row([0, 0, 0, 16, 16, 16], 2)[5] == 3
    assert enlarge_row([0, 0, 0, 32, 32, 32], 2)[5] == 7


def exact(image, scale, order, *, between):
    """Enlarge in exact arithmetic: rows (r) and columns (c), rounded after each or at the end."""
    for number, axis in enumerate(order):
        lines = image if axis == "c" else transposed(image)
        lines = [enlarge_exactly(line, scale) for line in lines]
        if between or number == 1:
            lines = [[Fraction(rounded(value)) for value in line] for line in lines]
        image = lines if axis == "c" else transposed(lines)
    return [[int(value) for value in line] for line in image]


def transposed(image):
    return [list(line) for line in zip(*image, strict=True)]


def enlarge_exactly(line, scale):
    folded = [*range(len(line)), *reversed(range(len(line)))]
    result = []
    for out in range(len(line) * scale):
        position = Fraction(2 * out + 1, 2 * scale) - Fraction(1, 2)
        first = math.floor(position) - 1
        result.append(
            sum(
                (
                    kernel(abs(position - tap)) * line[folded[tap % len(folded)]]
                    for tap in range(first, first + 4)
                ),
                Fraction(0),
            )
        )
    return result


def kernel(t):
    if t <= 1:
        return Fraction(3, 2) * t**3 - Fraction(5, 2) * t**2 + 1
    return -Fraction(1, 2) * t**3 + Fraction(5, 2) * t**2 - 4 * t + 2


def rounded(value):
    return min(255, max(0, math.floor(value + Fraction(1, 2))))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_rows_come_first_and_each_pass_is_rounded(scale):
    pixels = torch.randint(0, 256, (7, 5), generator=torch.Generator().manual_seed(scale))
    image = [[Fraction(value) for value in line] for line in pixels.tolist()]
    sr = Bicubic(scale)((pixels.float() / 255).expand(1, 3, -1, -1))
    found = (sr[0, 1] * 255).round().int().tolist()
    assert found == exact(image, scale, "rc", between=True)
    assert found != exact(image, scale, "cr", between=True)
    assert found != exact(image, scale, "rc", between=False)


@pytest.mark.parametrize("size", [(1, 1), (2, 3)])
def test_images_smaller_than_the_kernel_are_enlarged(size):
    sr = Bicubic(4)(torch.full((1, 3, *size), 37 / 255))
    assert torch.equal((sr * 255).round(), torch.full((1, 3, 4 * size[0], 4 * size[1]), 37.0))


def test_runs_on_meta():
    sr = Bicubic(3)(torch.empty(1, 3, 256, 256, device="meta"))
    assert sr.shape == (1, 3, 768, 768)
    assert sr.dtype == torch.float32
