from __future__ import annotations

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from esrbench.worker import pixels
from esrbench.worker.pixels import LR_CAPACITY, POISON, SR_CAPACITY, OversizeError, PixelAreas

RNG = np.random.default_rng(0)
sealed = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no seals")


@pytest.fixture
def areas():
    made = PixelAreas.create()
    yield made
    made.close()


def image(height, width):
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def test_pixels_go_both_ways(areas):
    theirs = PixelAreas.open(os.dup(areas.lr_fd), os.dup(areas.sr_fd))
    lr, sr = image(3, 5), image(12, 20)
    # Rows that are not contiguous arrive like any others.
    areas.reveal(np.asfortranarray(lr))
    assert np.array_equal(theirs.lr((3, 5)), lr)
    theirs.deliver(sr)
    assert np.array_equal(areas.take((12, 20)), sr)
    theirs.close()


def test_what_was_taken_is_a_copy_of_the_evaluator_s_own(areas):
    sr = image(4, 4)
    areas.deliver(sr)
    taken = areas.take((4, 4))
    areas.deliver(255 - sr)
    assert np.array_equal(taken, sr)
    assert taken.flags.owndata


def test_poison_covers_the_image_and_no_more(areas):
    areas.deliver(np.zeros((5, 4, 3), np.uint8))
    areas.poison((4, 4))
    assert (areas.take((4, 4)) == POISON).all()
    assert not areas.take((5, 4))[4].any()


def test_what_does_not_fit_is_refused_before_anything_is_written(areas):
    areas.deliver(np.full((1, 1, 3), 7, np.uint8))
    with pytest.raises(OversizeError, match=f"SR .* exceeds the area of {SR_CAPACITY} bytes"):
        areas.poison((20_000, 20_000))
    assert (areas.take((1, 1)) == 7).all()
    too_large = np.broadcast_to(np.uint8(0), (LR_CAPACITY // 3 + 1, 1, 3))
    with pytest.raises(OversizeError, match="LR of shape"):
        areas.reveal(too_large)
    # An area holds its capacity to the last byte.
    assert areas.lr((LR_CAPACITY // 3, 1)).nbytes == LR_CAPACITY // 3 * 3


RESIZES = """
import fcntl, os, sys
for descriptor in map(int, sys.argv[1:]):
    size = os.fstat(descriptor).st_size
    for other in (0, size - 1, size + 1):
        try:
            os.ftruncate(descriptor, other)
        except OSError as error:
            print(error.errno)
    try:
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    except OSError as error:
        print(error.errno)
    print(os.fstat(descriptor).st_size - size)
"""


@sealed
def test_no_process_can_resize_an_area_or_seal_it_further(areas):
    """A mapping that shrinks kills who reads it (SIGBUS)."""
    descriptors = (areas.lr_fd, areas.sr_fd)
    said = subprocess.run(
        [sys.executable, "-I", "-c", RESIZES, *map(str, descriptors)],
        pass_fds=descriptors,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert said == [*[str(errno.EPERM)] * 4, "0"] * 2
    assert areas.take((2, 2)).shape == (2, 2, 3)


def test_without_memfd_a_deleted_file_serves(monkeypatch):
    monkeypatch.delattr(os, "memfd_create", raising=False)
    areas = pixels.PixelAreas.create()
    lr = image(2, 3)
    areas.reveal(lr)
    assert np.array_equal(areas.lr((2, 3)), lr)
    assert os.fstat(areas.sr_fd).st_nlink == 0
    areas.close()


def test_closing_gives_every_descriptor_back():
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None  # noqa: PTH112, PTH208
    if before is None:
        pytest.skip("no /proc on this system")
    PixelAreas.create().close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
