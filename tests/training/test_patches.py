from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch

from esrbench.data.resize import downscale, upscale
from esrbench.probes.forward import PixelConversion
from esrbench.probes.luma import luma
from esrbench.training.images import StoredImage, TrainingImages
from esrbench.training.patches import SYMMETRIES, Patches, make_loader, transform

SCALE = 2


def make_patches(images, **fields):
    given = {
        "lr_patch": 8,
        "batch": 4,
        "seed": 0,
        "symmetric": True,
        "conversion": PixelConversion(images.scale),
    }
    return Patches(images=images, **(given | fields))


@pytest.fixture
def coordinates(tmp_path):
    """Images whose pixels are their number and LR row and column, in HR and LR."""
    images, lr, hr = [], [], []
    for number, (height, width) in enumerate(((20, 31), (25, 20), (40, 40))):
        rows, columns = np.mgrid[0:height, 0:width]
        lr.append(np.stack([rows, columns, np.full_like(rows, number)], axis=2).astype(np.uint8))
        hr.append(lr[-1].repeat(SCALE, axis=0).repeat(SCALE, axis=1))
        size = {"height": SCALE * height, "width": SCALE * width}
        images.append(StoredImage(name=f"set/{number}", pixels="0" * 64, cropped=(), **size))
    opened = TrainingImages(tmp_path, tuple(images), SCALE)
    opened.__dict__.update(lr=tuple(lr), hr=tuple(hr))
    return opened


def test_the_symmetries_are_the_eight_of_the_square_and_no_others():
    square = np.arange(9).reshape(3, 3, 1)
    mirrors = (lambda a: a, lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: a[::-1, ::-1])
    # The group by another route: four mirrors, with and without transposition.
    expected = {
        mirror(side).tobytes() for mirror in mirrors for side in (square, square.swapaxes(0, 1))
    }
    found = [transform(square, symmetry).tobytes() for symmetry in range(SYMMETRIES)]
    assert len(expected) == 8
    assert set(found) == expected
    assert len(set(found)) == 8
    assert np.array_equal(transform(square, 0), square)


def test_lr_and_hr_crops_show_the_same_place_under_every_symmetry(coordinates):
    patches = make_patches(coordinates)
    seen = Counter()
    for number in range(400):
        lr, hr = patches.crop(number)
        assert lr.shape == (8, 8, 3)
        assert np.array_equal(lr.repeat(SCALE, axis=0).repeat(SCALE, axis=1), hr)
        image, row, column, symmetry = patches.place(number)
        upright = coordinates.lr[image][row : row + 8, column : column + 8]
        assert np.array_equal(lr, transform(upright, symmetry))
        seen[symmetry] += 1
    assert set(seen) == set(range(8))
    assert min(seen.values()) > 25  # of 400, 50 each expected, standard deviation 6.6


def test_crops_reach_every_corner_and_stay_inside(coordinates):
    patches = make_patches(coordinates, lr_patch=18, symmetric=False)
    places = {patches.place(number)[:3] for number in range(600)}
    for image, (height, width) in enumerate(((20, 31), (25, 20), (40, 40))):
        rows = {row for found, row, _ in places if found == image}
        columns = {column for found, _, column in places if found == image}
        assert (min(rows), max(rows)) == (0, height - 18)
        assert (min(columns), max(columns)) == (0, width - 18)


def test_lr_crops_of_photographs_are_the_bicubic_of_hr_crops(images):
    patches = make_patches(images)
    for number in range(40):
        lr, hr = patches.crop(number)
        again = downscale(np.ascontiguousarray(hr), SCALE, border="mirror")
        inner = slice(3, -3)  # beyond the reach of the crop's own border
        apart = np.abs(again.astype(int) - lr)[inner, inner]
        # A quarter turn swaps MATLAB's two passes, and each rounds: one level.
        assert apart.max() <= 1
        assert patches.place(number)[3] % 2 or apart.max() == 0


def test_without_symmetries_crops_are_upright(images):
    patches = make_patches(images, symmetric=False)
    assert {patches.place(number)[3] for number in range(50)} == {0}


def test_an_epoch_uses_every_image_once_in_an_order_of_its_own(images):
    patches = make_patches(images, batch=2)
    assert patches.epoch_steps == 4
    epochs = [[patches.place(8 * epoch + slot)[0] for slot in range(8)] for epoch in range(4)]
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
    assert all(one != other for one, other in pairwise(epochs))


def test_an_incomplete_batch_is_left_out_of_an_epoch(images):
    patches = make_patches(images, batch=3)
    assert patches.epoch_steps == 2
    epoch = [patches.place(number)[0] for number in range(6)]
    assert len(set(epoch)) == 6


def test_a_batch_larger_than_the_set_uses_images_more_than_once(images):
    patches = make_patches(images, batch=20)
    assert patches.epoch_steps == 1
    assert set(Counter(patches.place(number)[0] for number in range(20)).values()) == {2, 3}


def test_crops_are_functions_of_seed_and_number(images):
    places = [make_patches(images, seed=seed).place(number) for seed in (0, 1) for number in (5, 6)]
    places += [make_patches(images, stage=1).place(number) for number in (5, 6)]
    assert len(set(places)) == 6
    assert make_patches(images).place(5) == places[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_gives_the_steps_asked_for_whoever_cuts_them(images, workers):
    patches = make_patches(images)
    batches = list(make_loader(patches, first=3, last=6, workers=workers))
    assert len(batches) == 3
    for step, (lr, hr) in enumerate(batches, start=3):
        crops = [patches.crop(4 * step + slot) for slot in range(4)]
        for found, side in ((lr, 0), (hr, 1)):
            expected = np.stack([crop[side] for crop in crops]).transpose(0, 3, 1, 2)
            assert found.dtype == torch.uint8
            assert np.array_equal(found.numpy(), expected)


def test_devices_share_a_batch_without_overlap(images):
    patches = make_patches(images)
    (whole,) = make_loader(patches, first=2, last=3, workers=0)
    shares = [
        next(iter(make_loader(patches, first=2, last=3, workers=0, rank=rank, devices=2)))
        for rank in (0, 1)
    ]
    assert torch.equal(torch.cat([lr for lr, _ in shares]), whole[0])


def test_the_loader_leaves_the_networks_random_numbers_alone(images):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    list(make_loader(make_patches(images), first=0, last=2, workers=0))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_of_luma_on_enlarged_images_gets_just_that(images):
    conversion = PixelConversion(SCALE, 1.0, "y", "bicubic-hr")
    patches = make_patches(images, conversion=conversion)
    lr, hr = patches.crop(7)
    inputs, targets = patches[7]
    assert inputs.shape == targets.shape == (1, 1, 16, 16)
    enlarged = upscale(np.ascontiguousarray(lr), SCALE, border="mirror")
    assert np.allclose(inputs[0, 0].numpy(), luma(enlarged, "unrounded"), atol=1e-3)
    assert np.allclose(targets[0, 0].numpy(), luma(hr, "unrounded"), atol=1e-3)
