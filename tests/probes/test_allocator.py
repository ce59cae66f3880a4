from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esrbench.probes.allocator import CachingAllocator, rounded

KIB, MIB = 2**10, 2**20


@pytest.mark.parametrize(
    ("size", "expected"), [(0, 0), (1, 512), (512, 512), (513, 1024), (52_020_000, 52_020_224)]
)
def test_requests_are_rounded_up_to_512_bytes(size, expected):
    assert rounded(size) == expected


@pytest.mark.parametrize(
    ("size", "counted", "reserved"),
    [
        # Small pool: segments of 2 MiB, of which only what was asked for counts.
        (1, 512, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        # Large pool below 10 MiB: segments of 20 MiB.
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        # From 10 MiB on: a segment of its own, in steps of 2 MiB; a rest of up to 1 MiB stays.
        (10 * MIB, 10 * MIB, 10 * MIB),
        (11 * MIB, 12 * MIB, 12 * MIB),
        (11 * MIB - 512, 11 * MIB - 512, 12 * MIB),
        # 50 channels of 510x510 in float32; 64 of them.
        (52_020_000, 50 * MIB, 50 * MIB),
        (66_585_600, 64 * MIB, 64 * MIB),
    ],
)
def test_one_block_in_an_empty_allocator(size, counted, reserved):
    allocator = CachingAllocator()
    allocator.allocate(size)
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (counted, reserved)
    assert allocator.peak_bytes == counted


def test_a_freed_block_serves_the_next_request_of_its_size():
    allocator = CachingAllocator()
    first = allocator.allocate(12 * MIB)
    allocator.free(first)
    assert allocator.allocated_bytes == 0
    again = allocator.allocate(12 * MIB)
    assert (again.address, allocator.reserved_bytes) == (0, 12 * MIB)


def test_the_smallest_block_that_fits_is_taken():
    allocator = CachingAllocator()
    blocks = [allocator.allocate(size * MIB) for size in (40, 20, 30)]
    for block in blocks:
        allocator.free(block)
    # Of 40, 20 and 30 MiB: 19 fit into 20, whose rest of 1 MiB is not split off.
    taken = allocator.allocate(19 * MIB)
    assert (taken.address, taken.size) == (40 * MIB, 20 * MIB)
    # 20 are gone; of 30, 10 are split off and serve the next one.
    taken = allocator.allocate(20 * MIB)
    assert (taken.address, taken.size) == (60 * MIB, 20 * MIB)
    taken = allocator.allocate(10 * MIB)
    assert (taken.address, taken.size) == (80 * MIB, 10 * MIB)
    assert allocator.allocated_bytes == 50 * MIB
    assert allocator.reserved_bytes == 90 * MIB


def test_the_lower_of_two_equal_blocks_is_taken():
    allocator = CachingAllocator()
    low, high = allocator.allocate(12 * MIB), allocator.allocate(12 * MIB)
    allocator.free(high)
    allocator.free(low)
    assert allocator.allocate(12 * MIB).address == 0


def test_small_blocks_are_split_to_the_last_512_bytes():
    allocator = CachingAllocator()
    first, second = allocator.allocate(MIB - 512), allocator.allocate(512)
    assert (first.address, second.address) == (0, MIB - 512)
    allocator.free(first)
    third = allocator.allocate(MIB - 1024)
    assert (third.address, third.size) == (0, MIB - 1024)
    fourth = allocator.allocate(100)
    assert (fourth.address, fourth.size) == (MIB - 1024, 512)


def test_free_neighbours_are_joined_and_pools_kept_apart():
    allocator = CachingAllocator()
    one, two, three = (allocator.allocate(6 * MIB) for _ in range(3))
    assert [block.address for block in (one, two, three)] == [0, 6 * MIB, 12 * MIB]
    allocator.free(one)
    allocator.free(three)  # joined with the last 2 MiB of 20
    assert allocator.allocate(8 * MIB).address == 12 * MIB
    allocator.free(two)  # joined with the first
    assert allocator.allocate(12 * MIB - 512).address == 0
    assert allocator.reserved_bytes == 20 * MIB
    # Though there are 512 bytes left, a small request gets a small segment.
    assert allocator.allocate(512).address == 20 * MIB


def test_history_decides_what_a_request_counts():
    # 50 channels of 510x510 after 50 of 339x510 were freed: 33 MiB do not hold them.
    fresh, later = CachingAllocator(), CachingAllocator()
    fresh.allocate(52_020_000)
    whole = later.allocate(100 * MIB)
    later.free(whole)
    later.allocate(52_020_000)
    assert fresh.allocated_bytes - later.allocated_bytes == 50 * MIB - 52_020_224


def test_wrong_use_is_an_error():
    allocator = CachingAllocator()
    with pytest.raises(ValueError, match="expected at least 1"):
        allocator.allocate(0)
    block = allocator.allocate(1)
    allocator.free(block)
    with pytest.raises(ValueError, match="not in use"):
        allocator.free(block)


@given(
    st.lists(
        st.tuples(st.integers(min_value=1, max_value=64 * MIB), st.integers(0, 7)), max_size=60
    )
)
def test_blocks_never_overlap_and_all_comes_back(steps):
    allocator = CachingAllocator()
    alive = []
    for size, victim in steps:
        if victim < len(alive):
            allocator.free(alive.pop(victim)[0])
        alive.append((allocator.allocate(size), rounded(size)))
        spans = sorted((block.address, block.address + block.size) for block, _ in alive)
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
        assert sum(asked for _, asked in alive) <= allocator.allocated_bytes
        assert allocator.allocated_bytes == sum(block.size for block, _ in alive)
        assert allocator.allocated_bytes <= allocator.peak_bytes <= allocator.reserved_bytes
        # No block keeps more than what may stay unsplit.
        assert all(0 <= block.size - asked <= MIB for block, asked in alive)
    for block, _ in alive:
        allocator.free(block)
    assert allocator.allocated_bytes == 0
    reserved = allocator.reserved_bytes
    # Joined again: one request for the largest segment is served from what is there.
    if reserved >= 64 * MIB and any(size > 62 * MIB for size, _ in steps):
        allocator.allocate(62 * MIB)
        assert allocator.reserved_bytes == reserved
