"""Where tensors come from: the network's input, or constants however they are kept.

Tensors are followed by their storage. What an operator makes from input-derived data derives
from the input; everything else is a constant, be it a parameter, a buffer, an attribute, an
array, a list or random numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from harness.probes.counters.operators import out_of_place

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence


def _aten(names: str) -> frozenset[str]:
    return frozenset(f"aten::{name}" for name in names.split())


_RANDOM: Final = _aten(
    "rand randn randint randperm rand_like randn_like randint_like normal uniform random "
    "bernoulli exponential cauchy geometric log_normal"
)

_FACTORIES: Final = _aten(
    "empty empty_like empty_strided empty_permuted new_empty new_empty_strided zeros zeros_like "
    "new_zeros ones ones_like new_ones full full_like new_full arange linspace logspace eye "
    "scalar_tensor tril_indices triu_indices rand randn randint randperm rand_like randn_like "
    "randint_like"
)
"""What these make holds no data of their arguments, whose shape and type it may take."""

_COPIES: Final = _aten("clone _to_copy contiguous")

_BATCH_NORMS: Final = _aten(
    "native_batch_norm _native_batch_norm_legit_no_training _batch_norm_no_update "
    "cudnn_batch_norm miopen_batch_norm"
)


@dataclass(eq=False, slots=True)
class Constant:
    """Numbers that do not derive from the input.

    Attributes:
        elements: of its storage, but not more than those it was computed from.
        itemsize: bytes of one.
    """

    elements: int
    itemsize: int


class Provenance:
    """Follows the operators of one forward.

    Attributes:
        met: constants that met input-derived data in an operator. What an operator computes
            from constants is a constant of its own, the same one if it is computed again; it
            holds no more numbers than its sources and the call together. A copy is the constant
            it was copied from.
    """

    def __init__(self, lr: Tensor) -> None:
        """Start with the network's input."""
        self.met: set[Constant] = set()
        # None stands for what derives from the input.
        self._storages: WeakKeyDictionary[Any, Constant | None] = WeakKeyDictionary()
        self._tensors: Any = WeakIdKeyDictionary()
        self._computed: dict[Hashable, Constant] = {}
        self._set(lr, None)

    def derived(self, tensor: Tensor) -> bool:
        """Whether a tensor derives from the input by the operators that were followed."""
        return self._get(tensor) is None

    def follow(self, called: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        """Account for one operator that ran.

        Args:
            called: its name (``aten::add_``).
            args: positional arguments.
            kwargs: keyword arguments.
            result: what it returned.
        """
        name = out_of_place(called)
        in_place = called.endswith("_") or "out" in kwargs
        constants, derives = self._sources(name, args, kwargs)
        if derives:
            self.met.update(constants)
        written = tensors_in((result,))
        if in_place and not written:
            written = tensors_in(args[:1])
        for tensor in written:
            if derives:
                if name in _RANDOM:
                    self.met.add(_stored(tensor))
                self._set(tensor, None)
            elif in_place or not self._known(tensor):
                self._set(tensor, self._made(name, args, kwargs, constants, tensor))

    def _sources(
        self, name: str, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> tuple[list[Constant], bool]:
        """Constants among the arguments, and whether another one derives from the input."""
        if name in _FACTORIES:
            return [], False
        if name in _BATCH_NORMS and args[1] is not None and args[2] is not None:
            # Scale and shift can hold the running statistics, which follow them.
            args = [*args[:3], *args[5:]]
        constants: dict[Constant, None] = {}
        derives = False
        for tensor in tensors_in((args, kwargs)):
            source = self._get(tensor)
            if source is None:
                derives = True
            else:
                constants[source] = None
        return list(constants), derives

    def _made(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        sources: list[Constant],
        tensor: Tensor,
    ) -> Constant:
        """The constant that an operator made of constants, or of nothing."""
        if name in _RANDOM:
            return _stored(tensor)
        if name in _COPIES and len(sources) == 1:
            return sources[0]
        whole = _stored(tensor)
        numbers = sum(isinstance(arg, int | float | complex) for arg in args)
        numbers += sum(source.elements for source in sources)
        made = Constant(min(whole.elements, numbers), whole.itemsize)
        try:
            key = (name, self._token(args), self._token(kwargs), tuple(tensor.shape))
            return self._computed.setdefault(key, made)
        except TypeError:  # an argument without hash
            return made

    def _token(self, value: Any) -> Hashable:
        """What makes an argument the same in another call."""
        if isinstance(value, Tensor):
            geometry = (value.storage_offset(), value.shape, value.stride(), value.dtype)
            return (self._get(value), geometry)
        if isinstance(value, list | tuple):
            return tuple(self._token(item) for item in value)
        if isinstance(value, dict):
            return tuple((key, self._token(item)) for key, item in value.items())
        return (type(value), value)

    def _get(self, tensor: Tensor) -> Constant | None:
        table, key = self._place(tensor)
        try:
            origin: Constant | None = table[key]
        except KeyError:
            origin = table[key] = _stored(tensor)
        return origin

    def _set(self, tensor: Tensor, origin: Constant | None) -> None:
        table, key = self._place(tensor)
        table[key] = origin

    def _known(self, tensor: Tensor) -> bool:
        table, key = self._place(tensor)
        return key in table

    def _place(self, tensor: Tensor) -> tuple[Any, Any]:
        try:
            return self._storages, tensor.untyped_storage()
        except NotImplementedError:  # sparse tensors have none
            return self._tensors, tensor


def _stored(tensor: Tensor) -> Constant:
    itemsize = tensor.element_size()
    try:
        elements = tensor.untyped_storage().nbytes() // itemsize
    except NotImplementedError:
        elements = tensor.numel()
    return Constant(elements, itemsize)


def tensors_in(values: Iterable[Any]) -> list[Tensor]:
    """All tensors among values and in the lists, tuples and dicts among them."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += tensors_in(value)
        elif isinstance(value, dict):
            found += tensors_in(value.values())
    return found
