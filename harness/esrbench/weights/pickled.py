"""What a PyTorch pickle would make, found out from its opcodes without unpickling anything.

``torch.load(weights_only=True)`` never runs what it does not know, but it allocates whatever a
file asks for, and leaves memory as it found it where a file of the old format asks for more than
it brings. So a stack machine first follows the opcodes that torch knows, on text, numbers and
tuples alone, and reports the storages that would be read.
"""

from __future__ import annotations

import io
import pickletools
import struct
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from esrbench.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

MAX_PICKLE_BYTES = 4 * 1024 * 1024
"""A tensor takes some 150 bytes of it, its data lie elsewhere."""
MAX_OPCODES = 500_000
"""A tensor takes some 30."""

ITEM_BYTES = {
    "DoubleStorage": 8,
    "FloatStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "ComplexFloatStorage": 8,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
}
"""Bytes an element of the storages that hold weights."""

CALLED = frozenset(
    {
        "collections.OrderedDict",
        "collections.Counter",
        "__builtin__.set",
        "builtins.set",
        "_codecs.encode",
        "torch.Size",
        "torch.device",
        "torch.serialization._get_layout",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state",
        "torch._utils._rebuild_sparse_tensor",
        "torch._utils._rebuild_meta_tensor_no_storage",
    }
)
"""What a file may call: nothing that allocates by a number alone (``bytearray``, ``Tensor``)."""
NAMED = frozenset(
    f"torch.{name}"
    for name in (
        *ITEM_BYTES,
        *("float64", "float32", "float16", "bfloat16", "complex64"),
        *("int64", "int32", "int16", "int8", "uint8", "bool"),
    )
)
"""What it may mention."""
UNSUPPORTED_TENSORS = {
    "torch._utils._rebuild_qtensor": "quantised tensors",
    "torch._utils._rebuild_tensor_v3": "tensors of a type that is not for weights",
    "torch._utils._rebuild_wrapper_subclass": "tensor subclasses",
    "torch._tensor._rebuild_from_type_v2": "tensor subclasses",
    "torch._utils._rebuild_nested_tensor": "nested tensors",
}

_NO_CHECKPOINT = "truncated, altered, or no PyTorch checkpoint"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_LEGACY_PICKLES = 5
_NO_MAGIC = "no zip archive, and no magic number of the old format"
_DAMAGED = "its pickle is damaged"
_COUNT = struct.Struct("<q")
_NAMES_SHOWN = 60


def no_checkpoint(path: Path, found: str) -> WeightsError:
    """A file that is damaged, or something else; ``found`` is what was seen in it."""
    message = f"{path}: {_NO_CHECKPOINT} ({found})"
    return WeightsError(message, advice="Fetch or save it again.")


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of equal elements that a pickle has read from elsewhere.

    Attributes:
        kind: torch's class (``FloatStorage``).
        elements: their number, as the pickle says.
    """

    kind: str
    elements: int

    @property
    def bytes(self) -> int:
        """Size of its data."""
        return self.elements * ITEM_BYTES[self.kind]


@dataclass(frozen=True, slots=True)
class _Global:
    name: str


class _Object:
    """Anything that a pickle makes beyond text, numbers, tuples and lists."""


_Value: TypeAlias = Any
_OBJECT = _Object()


@dataclass(slots=True)
class _Machine:
    path: Path
    stack: list[_Value] = field(default_factory=list)
    below: list[list[_Value]] = field(default_factory=list)
    memo: dict[int, _Value] = field(default_factory=dict)
    storages: dict[str, Storage] = field(default_factory=dict)

    def marked(self) -> list[_Value]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def mark(self, _: _Value) -> None:
        self.below.append(self.stack)
        self.stack = []

    def name(self, name: _Value) -> None:
        full = ".".join(str(name).split(" ", 1))
        if full in UNSUPPORTED_TENSORS:
            message = f"{self.path}: holds {UNSUPPORTED_TENSORS[full]} ({full})"
            advice = "Save dense float tensors."
            raise WeightsError(message, advice=advice)
        if full not in CALLED | NAMED:
            raise self.refused(full)
        self.stack.append(_Global(full))

    def refused(self, what: str) -> WeightsError:
        shown = ascii(what)[1:-1][:_NAMES_SHOWN]
        message = f"{self.path}: holds pickled Python objects ({shown}), not a plain state dict"
        advice = "Save network.state_dict() as .safetensors; objects are not loaded."
        return WeightsError(message, advice=advice)

    def call(self, _: _Value) -> None:
        self.stack.pop()
        called = self.stack.pop()
        if not isinstance(called, _Global) or called.name not in CALLED:
            name = called.name if isinstance(called, _Global) else type(called).__name__
            raise self.refused(f"a call of {name}")
        self.stack.append(_OBJECT)

    def tuple_marked(self, _: _Value) -> None:
        items = tuple(self.marked())
        self.stack.append(items)

    def tuple_of(self, count: int) -> None:
        items = self.stack[-count:]
        if len(items) < count:
            raise IndexError
        self.stack[-count:] = [tuple(items)]

    def extend(self, items: list[_Value]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def append(self, _: _Value) -> None:
        item = self.stack.pop()
        self.extend([item])

    def read_storage(self, _: _Value) -> None:
        """What torch makes of ("storage", class, key, location, elements, view)."""
        match self.stack.pop():
            case ("storage", _Global(name), str(key), str(), int(elements), *_) if elements >= 0:
                kind = name.removeprefix("torch.")
            case _:
                raise self.refused("a persistent id that is no storage")
        if kind not in ITEM_BYTES:
            raise self.refused(f"a storage of class {name}")
        found = Storage(kind, elements)
        if self.storages.setdefault(key, found) != found:
            raise no_checkpoint(self.path, f"storage {key[:_NAMES_SHOWN]!a} has two sizes or types")
        self.stack.append(_OBJECT)


def _drop(count: int) -> Callable[[_Machine, _Value], None]:
    def drop(machine: _Machine, _: _Value) -> None:
        for _unused in range(count):
            machine.stack.pop()

    return drop


def _push(make: Callable[[], _Value]) -> Callable[[_Machine, _Value], None]:
    return lambda machine, _: machine.stack.append(make())


def _push_argument(machine: _Machine, argument: _Value) -> None:
    machine.stack.append(argument)


def _nothing(_machine: _Machine, _argument: _Value) -> None:
    pass


_OPCODES: Mapping[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _nothing,
    "STOP": _nothing,
    "GLOBAL": _Machine.name,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "BUILD": _drop(1),
    "SETITEM": _drop(2),
    "SETITEMS": lambda machine, _: machine.marked().clear(),
    "APPEND": _Machine.append,
    "APPENDS": lambda machine, _: machine.extend(machine.marked()),
    "MARK": _Machine.mark,
    "TUPLE": _Machine.tuple_marked,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "NONE": _push(lambda: None),
    "NEWFALSE": _push(lambda: False),
    "NEWTRUE": _push(lambda: True),
    "EMPTY_TUPLE": _push(tuple),
    "EMPTY_LIST": _push(list),
    "EMPTY_DICT": _push(lambda: _OBJECT),
    "EMPTY_SET": _push(lambda: _OBJECT),
    **dict.fromkeys(
        ("BININT", "BININT1", "BININT2", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING", "LONG1"),
        _push_argument,
    ),
    "BINPERSID": _Machine.read_storage,
    "BINGET": lambda machine, index: machine.stack.append(machine.memo[index]),
    "LONG_BINGET": lambda machine, index: machine.stack.append(machine.memo[index]),
    "BINPUT": lambda machine, index: machine.memo.update({index: machine.stack[-1]}),
    "LONG_BINPUT": lambda machine, index: machine.memo.update({index: machine.stack[-1]}),
}
"""The opcodes that ``torch.load(weights_only=True)`` knows."""


def read_storages(content: bytes, path: Path) -> dict[str, Storage]:
    """The storages that one pickle would read, by key.

    Args:
        content: the pickle, at most ``MAX_PICKLE_BYTES``.
        path: the file it is from, for messages.

    Raises:
        WeightsError: it is damaged, or would make anything but tensors and plain values.
    """
    machine = _Machine(path)
    try:
        _run(io.BytesIO(content), machine, MAX_OPCODES)
    except _PickleEndError as error:
        raise no_checkpoint(path, _DAMAGED) from error
    return machine.storages


def require_legacy(file: BinaryIO, path: Path, size: int) -> None:
    """Check a file as ``torch.save`` wrote it before 1.6, without unpickling it.

    It is five pickles (a magic number, a version, the writer's system, the object, the keys of
    its storages) and then, for each key, a count of elements, int64, and the elements. All
    storages must be there in full, and nothing else.

    Args:
        file: at its start.
        path: its name, for messages.
        size: its length in bytes.

    Raises:
        WeightsError: it is anything else.
    """
    machine = _Machine(path)
    keys, position = _legacy_pickles(file, machine, size)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(machine.storages):
        raise no_checkpoint(path, "the storages that it uses are not those that it brings")
    for key in map(str, keys):
        storage = machine.storages[key]
        file.seek(position)
        count = file.read(_COUNT.size)
        if len(count) < _COUNT.size or _COUNT.unpack(count)[0] != storage.elements:
            raise no_checkpoint(path, f"a storage of {storage.elements} elements is not there")
        position += _COUNT.size + storage.bytes
        if position > size:
            break
    if position != size:
        raise no_checkpoint(path, f"{size} bytes long, its storages end at {position}")


def _legacy_pickles(file: BinaryIO, machine: _Machine, size: int) -> tuple[_Value, int]:
    """The last value of a file's five pickles, and where they end."""
    path = machine.path
    head = io.BytesIO(file.read(MAX_PICKLE_BYTES))
    values: list[_Value] = []
    opcodes = MAX_OPCODES
    try:
        while len(values) < _LEGACY_PICKLES:
            value, count = _run(head, machine, opcodes)
            opcodes -= count
            values.append(value)
            if values[0] != _LEGACY_MAGIC:
                raise no_checkpoint(path, _NO_MAGIC)
    except _PickleEndError as error:
        if not values:
            raise no_checkpoint(path, _NO_MAGIC) from error
        if size > MAX_PICKLE_BYTES and head.tell() == MAX_PICKLE_BYTES:
            raise _oversized(path, f"more than {MAX_PICKLE_BYTES} bytes of pickles") from error
        raise no_checkpoint(path, _DAMAGED) from error
    if values[1] != _LEGACY_PROTOCOL:
        raise no_checkpoint(path, "unknown version of the old format")
    return values[-1], head.tell()


class _PickleEndError(Exception):
    """A pickle ends before its STOP, or makes no sense."""


def _run(file: BinaryIO, machine: _Machine, most: int) -> tuple[_Value, int]:
    """Follow one pickle; returns its value and the number of its opcodes."""
    machine.stack, machine.below, machine.memo = [], [], {}
    count = 0
    try:
        with warnings.catch_warnings():
            # A name may hold what looks like a bad escape; torch's own reader resolves none.
            warnings.simplefilter("ignore")
            for opcode, argument, _ in pickletools.genops(file):
                count += 1
                if count > most:
                    raise _oversized(machine.path, f"pickles of more than {MAX_OPCODES} opcodes")
                follow = _OPCODES.get(opcode.name)
                if follow is None:
                    raise machine.refused(_maker(opcode.name, machine.stack))
                follow(machine, argument)
        value = machine.stack.pop()
    except (ValueError, IndexError, KeyError) as error:
        raise _PickleEndError from error
    return value, count


def _maker(opcode: str, stack: list[_Value]) -> str:
    """What an opcode that torch does not know would make."""
    if opcode == "STACK_GLOBAL" and all(isinstance(item, str) for item in stack[-2:]):
        return ".".join(stack[-2:])
    return f"opcode {opcode}"


def _oversized(path: Path, what: str) -> WeightsError:
    message = f"{path}: {what}, far more than a state dict needs"
    return WeightsError(message, advice="Save network.state_dict() as .safetensors.")
