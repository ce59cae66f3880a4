"""A model of PyTorch's CUDA caching allocator: how many bytes it counts for live tensors.

Written from its documented behaviour (PyTorch's notes on CUDA memory management and the
constants of ``c10/cuda/CUDACachingAllocator``), for one stream and default settings:

- a request is rounded up to 512 bytes;
- up to 1 MiB it is served from segments of 2 MiB (the small pool), above from segments of
  20 MiB if it is below 10 MiB and of its size rounded up to 2 MiB otherwise (the large pool);
- the smallest free block that is large enough is taken, at the lowest address; a new segment
  is made where there is none;
- the block's end is split off if 512 bytes or more remain in the small pool, or more than 1 MiB
  in the large one; otherwise the request keeps all of it;
- a freed block is joined with free neighbours of its segment, and segments are kept.

``torch.cuda.max_memory_allocated`` is the highest sum of blocks in use, unsplit rests included.
That is why it depends on what was allocated before, and not only on what is alive.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import Final

ROUNDING: Final = 512
SMALL_REQUEST: Final = 2**20
SMALL_SEGMENT: Final = 2 * 2**20
LARGE_SEGMENT: Final = 20 * 2**20
LARGE_REQUEST: Final = 10 * 2**20
SEGMENT_ROUNDING: Final = 2 * 2**20


def rounded(size: int) -> int:
    """Bytes of the block for a request: a multiple of 512, 0 for no bytes."""
    return -(-size // ROUNDING) * ROUNDING


@dataclass(slots=True, eq=False)
class Chunk:
    """A range of a segment, in use or free.

    Attributes:
        address: address of its first byte; segments follow each other.
        size: bytes.
        small: whether it belongs to the small pool.
        used: whether it is in use.
        before: neighbour in its segment at the lower address.
        after: neighbour at the higher address.
    """

    address: int
    size: int
    small: bool
    used: bool = False
    before: Chunk | None = None
    after: Chunk | None = None


@dataclass(slots=True)
class CachingAllocator:
    """The counts of the allocator of one GPU; nothing is really allocated.

    Attributes:
        allocated_bytes: total of all blocks in use.
        peak_bytes: highest value of ``allocated_bytes`` so far.
        reserved_bytes: total of all segments.
    """

    allocated_bytes: int = 0
    peak_bytes: int = 0
    reserved_bytes: int = 0
    _free: dict[bool, list[tuple[int, int]]] = field(default_factory=lambda: {True: [], False: []})
    _at: dict[int, Chunk] = field(default_factory=dict)

    def allocate(self, size: int) -> Chunk:
        """The block that serves a request.

        Args:
            size: bytes, more than 0.

        Raises:
            ValueError: a size of 0 or less, for which the allocator makes no block.
        """
        if size <= 0:
            raise ValueError(f"a block of {size} bytes was requested, expected at least 1 byte")
        wanted = rounded(size)
        small = wanted <= SMALL_REQUEST
        free = self._free[small]
        place = bisect_left(free, (wanted, -1))
        block = self._at.pop(free.pop(place)[1]) if place < len(free) else self._segment(wanted)
        rest = block.size - wanted
        if rest >= ROUNDING if small else rest > SMALL_REQUEST:
            block.size = wanted
            behind = Chunk(block.address + wanted, rest, small, before=block, after=block.after)
            if behind.after is not None:
                behind.after.before = behind
            block.after = behind
            self._offer(behind)
        block.used = True
        self.allocated_bytes += block.size
        self.peak_bytes = max(self.peak_bytes, self.allocated_bytes)
        return block

    def free(self, block: Chunk) -> None:
        """Free a block.

        Raises:
            ValueError: the block is not in use.
        """
        if not block.used:
            raise ValueError(f"the block at {block.address} is not in use")
        block.used = False
        self.allocated_bytes -= block.size
        before, after = block.before, block.after
        if before is not None and not before.used:
            self._withdraw(before)
            block.address, block.before = before.address, before.before
            block.size += before.size
            if block.before is not None:
                block.before.after = block
        if after is not None and not after.used:
            self._withdraw(after)
            block.size += after.size
            block.after = after.after
            if block.after is not None:
                block.after.before = block
        self._offer(block)

    def _segment(self, wanted: int) -> Chunk:
        """A new segment as one block."""
        small = wanted <= SMALL_REQUEST
        if small:
            size = SMALL_SEGMENT
        elif wanted < LARGE_REQUEST:
            size = LARGE_SEGMENT
        else:
            size = -(-wanted // SEGMENT_ROUNDING) * SEGMENT_ROUNDING
        block = Chunk(self.reserved_bytes, size, small)
        self.reserved_bytes += size
        return block

    def _offer(self, block: Chunk) -> None:
        insort(self._free[block.small], (block.size, block.address))
        self._at[block.address] = block

    def _withdraw(self, block: Chunk) -> None:
        free = self._free[block.small]
        del free[bisect_left(free, (block.size, block.address))]
        del self._at[block.address]
