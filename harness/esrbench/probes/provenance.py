"""Track whether tensors come from the network's input or from constants.

Tensors are followed by their storage. The result of an operator derives from the input if one of
its arguments does. Everything else is a constant: a parameter, a buffer, an attribute, an array, a
list or random numbers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from esrbench.probes.counters.operators import (
    FACTORIES,
    SELECTIONS,
    TAKING_NUMBERS,
    out_of_place,
)
from esrbench.probes.numbers import Numbers, numbers_needed
from esrbench.records.counts import aten_names

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence


_RANDOM: Final = aten_names(
    "rand randn randint randperm rand_like randn_like randint_like normal uniform random "
    "bernoulli exponential cauchy geometric log_normal"
)

_COPIES: Final = aten_names("clone _to_copy contiguous")

_BATCH_NORMS: Final = aten_names(
    "native_batch_norm _native_batch_norm_legit_no_training _batch_norm_no_update "
    "cudnn_batch_norm miopen_batch_norm"
)


_FILLS: Final = aten_names("fill zero")
"""Their results do not depend on the tensor that they write into."""

FORMULA_NUMBERS: Final = 256
"""A tensor that is computed from more numbers of the code contains weights. The formulas of masks,
coordinates and interpolations use few numbers."""

SMALL_PIECE: Final = 64
"""Constants up to this size count like numbers. The choice and order of a few levels can represent
many weights."""

_INTEGERS: Final = frozenset((torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8))

UNSEEN: Final = "written unseen"
FOREIGN: Final = "memory from outside torch"


@dataclass(eq=False, slots=True)
class Constant:
    """Numbers that do not derive from the input.

    Attributes:
        elements: number of elements in its storage, but not more than those it was computed from. A
            complex number is two. A number that was read as several smaller ones counts as that
            many.
        itemsize: bytes of one number.
        indices: constants that only selected elements of other constants.
        split: number of parts in which each original number was read.
        stored: whether it is, or was computed from, stored numbers; false if an operator made it
            from the numbers of its own call.
        needed: number of values that describe all of its elements, if they follow a pattern; None
            if these are not fewer than the elements.
    """

    elements: int
    itemsize: int
    indices: frozenset[Constant] = frozenset()
    split: int = 1
    stored: bool = True
    needed: int | None = None

    @property
    def regular(self) -> int:
        """Number of elements minus the number of values that describe all of them."""
        return 0 if self.needed is None else max(self.elements - self.needed * self.split, 0)

    def read_in(self, parts: int) -> None:
        """Note that each original number was read in this many parts."""
        if parts > self.split:
            self.elements = self.elements // self.split * parts
            self.itemsize = self.itemsize * self.split // parts
            self.split = parts


@dataclass(eq=False, slots=True)
class _Memory:
    """Known facts about a storage.

    Attributes:
        origin: the constant in it; None if its content derives from the input.
        itemsize: bytes of a number as it was first seen.
        writes: highest version counter of its tensors that the seen operators explain.
        exported: how its bytes left torch.
    """

    origin: Constant | None
    itemsize: int
    writes: int
    exported: str | None = None


class Provenance:
    """Follows the operators of one forward, or of several in sequence.

    An operator may write to a tensor where no dispatch mode sees it, for example in another
    thread. Then the version counter of the tensor is ahead of the operators seen. ``Tensor.data``
    has a separate counter, so writes through it are not found.

    Attributes:
        met: constants that met input-derived data in an operator. The result of an operator on
            constants is a new constant, and the same one if it is computed again. It contains at
            most the numbers of its sources and of the call. A copy is the constant it was copied
            from.
        met_as_indices: integer constants that only selected elements of the data they met.
        numbers: numbers of the code (not tensors) that met such data in any operator, and equally
            small pieces of constants.
        opaque: how input-derived data left or entered torch unseen, with the number of times.
    """

    def __init__(
        self,
        lr: Tensor,
        alike: Iterable[Sequence[Tensor]] = (),
        *,
        parameters: Iterable[Tensor] = (),
        patterns: Iterable[tuple[Tensor, int]] = (),
    ) -> None:
        """Start with the network's input.

        Args:
            lr: the input.
            alike: groups of constants with the same values, which count as one constant.
            parameters: their values are learned, so they always count in full.
            patterns: constants, with the number of values that describe all of their elements. For
                other constants, this number is computed from their values if there are any.
        """
        self.met: set[Constant] = set()
        self.met_as_indices: set[Constant] = set()
        self.numbers = Numbers()
        self.opaque: Counter[str] = Counter()
        self._storages: WeakKeyDictionary[Any, _Memory] = WeakKeyDictionary()
        self._tensors: Any = WeakIdKeyDictionary()
        self._computed: dict[Hashable, Constant] = {}
        for same in alike:
            constant = _stored(same[0])
            for tensor in same:
                self._remember(tensor, constant)
        for tensor in parameters:
            self._remember(tensor, _stored(tensor))
        for tensor, needed in patterns:
            memory = self._memory(tensor)
            if memory.origin is not None:
                memory.origin.needed = needed if needed < memory.origin.elements else None
        self._set(lr, None)

    def restart(self, lr: Tensor) -> None:
        """Follow another forward; tensors that the network kept are still known."""
        self.met, self.met_as_indices, self.opaque = set(), set(), Counter()
        self.numbers = Numbers()
        self._set(lr, None)

    def derived(self, tensor: Tensor) -> bool:
        """Whether a tensor derives from the input by the operators that were followed."""
        return self._read(tensor) is None

    def weighs(self, tensor: Tensor) -> bool:
        """Whether a tensor derives from the input, from stored or drawn numbers, or from many."""
        origin = self._memory(tensor).origin
        return origin is None or origin.stored or origin.elements > FORMULA_NUMBERS

    def leave(self, way: str, tensor: Tensor) -> None:
        """Note that code outside torch can reach a tensor's bytes from now on."""
        memory = self._memory(tensor)
        memory.exported = way
        if memory.origin is None:
            self.opaque[way] += 1

    def follow(self, called: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> bool:
        """Account for one operator that ran.

        Args:
            called: its name (``aten::add_``).
            args: positional arguments.
            kwargs: keyword arguments.
            result: what it returned.

        Returns:
            Whether an argument derives from the input.
        """
        name = out_of_place(called)
        in_place = called.endswith("_") or "out" in kwargs
        constants, indices, derives = self._sources(name, args, kwargs, in_place=in_place)
        if derives:
            self._meet(constants, indices)
            self._take_numbers(name, args, kwargs, result)
        written = [result] if isinstance(result, Tensor) else tensors_in((result,))
        if in_place and not written:
            written = tensors_in(args[:1])
        for tensor in written:
            if derives:
                if name in _RANDOM:
                    self.met.add(_stored(tensor))
                self._set(tensor, None, in_place=in_place)
            elif in_place or not self._known(tensor):
                made = self._made(name, args, kwargs, (constants, indices), tensor)
                self._set(tensor, made, in_place=in_place)
        return derives

    def _meet(self, constants: Iterable[Constant], indices: Iterable[Constant]) -> None:
        self.met.update(constants)
        self.met_as_indices.update(indices)
        for constant in constants:
            self.met_as_indices |= constant.indices

    def _take_numbers(
        self, name: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any
    ) -> None:
        """Note numbers among the arguments, and pieces of constants that represent some.

        Positions count as numbers if they select a few elements, because elements that are
        selected from a ramp can represent weights.
        """
        places = isinstance(result, Tensor) and result.numel() <= SMALL_PIECE
        alone = places or name in TAKING_NUMBERS
        for number in numbers_in(args, integers=alone, listed=places):
            self.numbers.add(number)
        for number in numbers_in(kwargs.values(), integers=True):
            self.numbers.add(number)
        for tensor in tensors_in(args):
            if tensor.numel() > SMALL_PIECE or not _is_strided(tensor):
                continue
            origin = self._memory(tensor).origin
            if origin is not None and not (origin.stored and tensor.numel() >= origin.elements):
                self.numbers.add(self._token(tensor))

    def _sources(
        self, name: str, args: Sequence[Any], kwargs: dict[str, Any], *, in_place: bool
    ) -> tuple[list[Constant], list[Constant], bool]:
        """Constants and indices among the arguments, and whether another derives from the input."""
        if name in FACTORIES:
            return [], [], False
        if name in _FILLS and args and (not in_place or _is_whole(args[0])):
            args = args[1:]
        if name in _BATCH_NORMS and args[1] is not None and args[2] is not None:
            # The running statistics are added to scale and shift, which can contain them.
            args = [*args[:3], *args[5:]]
        constants: dict[Constant, None] = {}
        indices: dict[Constant, None] = {}
        derives = False
        for place, tensor in enumerate(tensors_in((args, kwargs))):
            source = self._read(tensor)
            if source is None:
                derives = True
            elif place and name in SELECTIONS and tensor.dtype in _INTEGERS:
                indices[source] = None
            else:
                constants[source] = None
        return list(constants), list(indices), derives

    def _made(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        sources: tuple[list[Constant], list[Constant]],
        tensor: Tensor,
    ) -> Constant:
        """The constant that an operator made from constants, or without any tensor."""
        constants, indices = sources
        if name in _RANDOM:
            return _stored(tensor)
        if name in _COPIES and len(constants) == 1:
            return constants[0]
        whole = _stored(tensor)
        given = sum(isinstance(arg, int | float | complex) for arg in args)
        given += sum(1 for _ in numbers_in(kwargs.values(), integers=True))
        given += sum(self._choices(arg) for arg in args if isinstance(arg, list | tuple))
        numbers = given + sum(source.elements for source in constants)
        selected = frozenset(indices).union(*(source.indices for source in constants))
        if whole.elements <= numbers:
            # It contains everything that was selected.
            selected = frozenset()
        stored = any(source.stored for source in constants)
        made = Constant(min(whole.elements, numbers), whole.itemsize, selected, stored=stored)
        if any(source.needed is not None for source in constants):
            made.needed = given + sum(source.elements - source.regular for source in constants)
        try:
            key = (name, self._token(args), self._token(kwargs), tuple(tensor.shape))
            return self._computed.setdefault(key, made)
        except TypeError:  # argument without hash
            return made

    def _choices(self, pieces: Sequence[Any]) -> int:
        """Count the numbers in a list, and the tensors that it contains again in a new order."""
        tensors = Counter(self._token(each) for each in pieces if _is_strided(each))
        again = tensors.total() - len(tensors) if len(tensors) > 1 else 0
        return again + sum(1 for _ in numbers_in(pieces))

    def _token(self, value: Any) -> Hashable:
        """A key for an argument that is equal in other calls with the same argument."""
        if isinstance(value, Tensor):
            geometry = (value.storage_offset(), value.shape, value.stride(), value.dtype)
            return (self._memory(value).origin, geometry)
        if isinstance(value, list | tuple):
            return tuple(self._token(item) for item in value)
        if isinstance(value, dict):
            return tuple((key, self._token(item)) for key, item in value.items())
        return (type(value), value)

    def _read(self, tensor: Tensor) -> Constant | None:
        """Where an argument comes from, after checking its bytes for writes that were not seen."""
        memory = self._memory(tensor)
        version = _version(tensor)
        if version > memory.writes:
            self.opaque[UNSEEN] += 1
            memory.writes = version
        if memory.origin is not None:
            memory.origin.read_in(memory.itemsize // min(memory.itemsize, _itemsize(tensor)))
        return memory.origin

    def _set(self, tensor: Tensor, origin: Constant | None, *, in_place: bool = False) -> None:
        if not self._known(tensor):
            self._remember(tensor, origin)
        memory = self._memory(tensor)
        arrives = origin is None and memory.origin is not None
        memory.origin = origin
        # The counter rises only after the operator was reported.
        memory.writes = max(memory.writes, _version(tensor)) + in_place
        if arrives:
            if memory.exported is not None:
                self.opaque[memory.exported] += 1
            elif in_place and not tensor.is_sparse and not tensor.untyped_storage().resizable():
                self.opaque[FOREIGN] += 1

    def _memory(self, tensor: Tensor) -> _Memory:
        table, key = self._place(tensor)
        memory: _Memory | None = table.get(key)
        if memory is None:
            constant = _stored(tensor)
            # Data that enters after pixels left torch may be computed from them.
            if table is self._storages and not self.opaque:
                needed = numbers_needed(tensor)
                constant.needed = needed if needed < constant.elements else None
            memory = self._remember(tensor, constant)
        return memory

    def _remember(self, tensor: Tensor, origin: Constant | None) -> _Memory:
        table, key = self._place(tensor)
        memory = table[key] = _Memory(origin, _itemsize(tensor), _version(tensor))
        return memory

    def _known(self, tensor: Tensor) -> bool:
        table, key = self._place(tensor)
        return key in table

    def _place(self, tensor: Tensor) -> tuple[Any, Any]:
        try:
            return self._storages, tensor.untyped_storage()
        except NotImplementedError:  # sparse tensors have none
            return self._tensors, tensor


def _version(tensor: Tensor) -> int:
    # Tensors of inference mode have no counter.
    return 0 if tensor.is_inference() else int(tensor._version)  # noqa: SLF001 - torch's own


def _itemsize(tensor: Tensor) -> int:
    """Bytes of a real number."""
    return tensor.element_size() // (2 if tensor.is_complex() else 1)


def _stored(tensor: Tensor) -> Constant:
    itemsize = _itemsize(tensor)
    try:
        elements = tensor.untyped_storage().nbytes() // itemsize
    except NotImplementedError:
        elements = tensor.numel()
    return Constant(elements, itemsize)


def _is_strided(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided


def _is_whole(tensor: Tensor) -> bool:
    """Whether a tensor's elements are the whole content of its storage."""
    if not _is_strided(tensor):
        return False
    return bool(tensor.numel() * tensor.element_size() >= tensor.untyped_storage().nbytes())


def numbers_in(
    values: Iterable[Any], *, integers: bool = False, listed: bool = False
) -> Iterator[complex]:
    """Numbers of the code among values, and floating-point numbers in the lists among them.

    Args:
        values: arguments of an operator.
        integers: also take integers outside lists.
        listed: also take integers in lists, which are usually sizes and places.
    """
    for value in values:
        if isinstance(value, float | complex) or (
            integers and isinstance(value, int) and not isinstance(value, bool)
        ):
            yield value
        elif isinstance(value, list | tuple):
            yield from numbers_in(value, integers=listed)


def tensors_in(values: Iterable[Any]) -> list[Tensor]:
    """All tensors among values, and in the lists, tuples and dicts among them."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += tensors_in(value)
        elif isinstance(value, dict):
            found += tensors_in(value.values())
    return found
