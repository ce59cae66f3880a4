"""Variants against MATLAB's bicubic of the whole mirrored image."""

import itertools
import random

import numpy as np
import pytest

from esrbench.data.resize import downscale
from esrbench.runs.variants import CLEAN, MOST_OFFSET, Variant, draw_variants

RNG = np.random.default_rng(0)


def draw(seed, size, count):
    rng = random.Random(seed)  # noqa: S311 - no secret here
    return list(itertools.islice(draw_variants(rng, size), count))


def image(height, width):
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def window(image, variant, scale):
    """What a variant shows of an image that goes on mirrored beyond its borders."""
    height, width = image.shape[:2]
    mirrored = np.pad(image, ((height, height), (width, width), (0, 0)), mode="symmetric")
    top, left = height + scale * variant.offset[0], width + scale * variant.offset[1]
    seen = mirrored[top : top + height, left : left + width]
    seen = seen[::-1] if variant.flip_rows else seen
    return seen[:, ::-1] if variant.flip_columns else seen


VARIANTS = [
    Variant(offset, *flips)
    for offset in ((0, 0), (3, -2), (-4, 0), (1, 5), (-2, -3))
    for flips in itertools.product((False, True), repeat=2)
]


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(16, 21), (20, 16)])
def test_the_lr_of_a_variant_is_the_lr_of_its_hr(scale, size):
    hr = image(size[0] * scale, size[1] * scale)
    lr = downscale(hr, scale, border="mirror")
    height, width = hr.shape[:2]
    whole = np.pad(hr, ((height, height), (width, width), (0, 0)), mode="symmetric")
    whole_lr = downscale(whole, scale, border="mirror")
    for variant in VARIANTS:
        shown = variant.of_lr(lr)
        top, left = size[0] + variant.offset[0], size[1] + variant.offset[1]
        expected = whole_lr[top : top + size[0], left : left + size[1]]
        expected = expected[:: -1 if variant.flip_rows else 1, :: -1 if variant.flip_columns else 1]
        assert np.array_equal(shown, expected), variant
        assert np.array_equal(shown, window(lr, variant, 1)), variant
        assert shown.flags.c_contiguous
        assert shown.shape == lr.shape


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_what_is_restored_of_a_perfect_sr_is_what_is_shown_of_the_hr(scale):
    hr = image(16 * scale, 21 * scale)
    for variant in VARIANTS:
        truth = variant.shown(hr, scale)
        assert np.array_equal(variant.restored(window(hr, variant, scale), scale), truth), variant
        down, right = variant.offset
        assert truth.shape == ((16 - abs(down)) * scale, (21 - abs(right)) * scale, 3)
        # And of an SR that is wrong in one pixel of the image it is not.
        wrong = hr.copy()
        wrong[hr.shape[0] // 2, hr.shape[1] // 2] ^= 255
        assert not np.array_equal(variant.restored(window(wrong, variant, scale), scale), truth)


def test_the_clean_variant_is_the_image():
    lr = image(5, 7)
    assert np.array_equal(CLEAN.of_lr(lr), lr)
    assert np.array_equal(CLEAN.shown(lr, 1), lr)
    assert np.array_equal(CLEAN.restored(lr, 1), lr)


@pytest.mark.parametrize("size", [(64, 64), (16, 24), (339, 510), (40, 9)])
def test_hundreds_of_variants_are_all_different_and_none_is_the_image(size):
    drawn = draw(3, size, 320)
    reach = [min(MOST_OFFSET, side // 4) for side in size]
    possible = 4 * (2 * reach[0] + 1) * (2 * reach[1] + 1) - 1
    assert len(set(drawn[:possible])) == min(320, possible)
    assert CLEAN not in drawn
    for axis in (0, 1):
        offsets = {variant.offset[axis] for variant in drawn}
        assert max(map(abs, offsets)) <= reach[axis]
        assert {min(offsets), max(offsets)} == {-reach[axis], reach[axis]}
    assert len({(variant.flip_rows, variant.flip_columns) for variant in drawn}) == 4
    # Their pixels differ too.
    lr = image(*size)
    assert len({variant.of_lr(lr).tobytes() for variant in drawn[:40]}) == 40


# Flips of a row of 50 with 25 offsets, less the image itself.
@pytest.mark.parametrize(("size", "possible"), [((1, 1), 3), ((3, 2), 3), ((1, 50), 4 * 25 - 1)])
def test_tiny_images_have_few_variants_and_then_the_same_again(size, possible):
    drawn = draw(3, size, 2 * possible)
    assert set(drawn[:possible]) == set(drawn[possible:])
    assert len(set(drawn)) == possible
    assert CLEAN not in drawn
    lr = image(*size)
    assert {variant.of_lr(lr).shape for variant in drawn} == {lr.shape}


def test_variants_are_the_seed_s():
    assert draw(1, (32, 32), 20) == draw(1, (32, 32), 20) != draw(2, (32, 32), 20)
