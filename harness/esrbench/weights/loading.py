"""Loading a weights file into a network, strictly, as PyTorch itself does it."""

from __future__ import annotations

import contextlib
import copy
import json
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from esrbench.errors import WeightsError
from esrbench.plaintext import line, plural
from esrbench.weights.state_dicts import common_prefix, is_finite, some

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor, nn

_MOST_PATTERNS = 8
_SIZE_MISMATCH = re.compile(
    r"size mismatch for ([^:\n]+): copying a param with shape (.+?) from checkpoint, "
    r"the shape in current model is (.+?)\.(?:\n|$)"
)
"""PyTorch's message about a different shape."""
_LAX_ADVICE = (
    "A script with strict=False leaves the missing ones random. If the network computes them in "
    "its first forward, let a factory of the entry load the file and make one forward, and "
    'declare loaded_by = "factory" in [weights].'
)


def load_into(
    network: nn.Module, state: Mapping[str, Any], *, source: str, ignore: Sequence[str] = ()
) -> list[str]:
    """Load a state dict as the network's own ``load_state_dict(strict=True)`` does.

    PyTorch decides what fits, with hooks, renames by modules, extra state and lazy modules. A name
    may also be missing if its elements were loaded under another name (tied weights, of which
    safetensors' ``save_model`` writes one).

    Args:
        network: the network to fill.
        state: state dict of ``read_weights``; tensors are cast to the network's dtype.
        source: name of the file, for messages.
        ignore: patterns, as for ``fnmatch``, of surplus names that are permitted.

    Returns:
        Surplus names that these patterns match.

    Raises:
        WeightsError: keys are missing, unexpected or of another shape, PyTorch refuses the state
            for another reason, or a parameter is NaN or infinite. The network is unchanged then.
    """
    import torch

    own = state_of(network) if ignore else {}
    surplus = [
        name
        for name in state
        if name not in own and any(fnmatchcase(name, pattern) for pattern in ignore)
    ]
    kept: Any = state
    if surplus:
        kept = copy.copy(state)  # with the versions of modules, which hooks read
        for name in surplus:
            del kept[name]
    before = [(tensor, tensor.detach().clone()) for tensor in _tensors(network).values()]
    try:
        _load_strictly(network, kept, source, lax="*" in ignore)
        _require_finite(network, source)
    except WeightsError:
        with torch.no_grad(), contextlib.suppress(RuntimeError):
            for tensor, value in before:
                tensor.copy_(value)
        raise
    return surplus


def _load_strictly(network: nn.Module, state: Mapping[str, Any], source: str, *, lax: bool) -> None:
    """Load a state dict; ``lax`` if its authors' script does so with ``strict=False``."""
    import torch

    missing: list[str] = []
    unexpected: list[str] = []

    def look(_: nn.Module, keys: Any) -> None:
        found = _loaded_elsewhere(network, keys.missing_keys)
        keys.missing_keys[:] = [name for name in keys.missing_keys if name not in found]
        missing[:], unexpected[:] = keys.missing_keys, keys.unexpected_keys

    handle = None
    # Scripted modules accept no hooks. PyTorch's own message then says what does not fit.
    if not isinstance(network, torch.jit.ScriptModule):
        handle = network.register_load_state_dict_post_hook(look)  # type: ignore[no-untyped-call]
    try:
        # A copy keeps the versions of modules, which hooks read.
        network.load_state_dict(copy.copy(state), strict=True)
    except MemoryError:
        raise
    except Exception as error:  # a network's own hooks may raise anything
        keys = missing, unexpected
        raise _misfit(network, state, source, keys, str(error), lax=lax) from error
    finally:
        if handle is not None:
            handle.remove()


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by every name that they have, without uninitialised ones."""
    from torch.nn.parameter import is_lazy

    return {
        f"{path}.{name}" if path else name: tensor
        for path, module in network.named_modules(remove_duplicate=False)
        for group in (module._parameters, module._buffers)  # noqa: SLF001 - by every name
        for name, tensor in group.items()
        if tensor is not None and not is_lazy(tensor)
    }


def _loaded_elsewhere(network: nn.Module, missing: Iterable[str]) -> set[str]:
    """The missing names whose elements all lie in a tensor that is not missing."""
    tensors = _tensors(network)
    absent = set(missing)
    places = {name: _place(tensor) for name, tensor in tensors.items() if _is_plain(tensor)}
    whole = {
        address
        for name, (address, size) in places.items()
        if name not in absent and 0 < tensors[name].numel() * tensors[name].element_size() == size
    }
    return {name for name in absent & set(places) if places[name][0] in whole}


def _place(tensor: Tensor) -> tuple[int, int]:
    """Address and bytes of a tensor's storage, also where torch is older than 2.0."""
    storage: Any = tensor
    storage = getattr(storage, "untyped_storage", storage.storage)()  # the first since 2.0
    return storage.data_ptr(), storage.nbytes()


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor has storage of its own, unlike sparse tensors and those on ``meta``."""
    import torch

    return tensor.layout is torch.strided and not tensor.is_meta


def _misfit(
    network: nn.Module,
    state: Mapping[str, Any],
    source: str,
    keys: tuple[Sequence[str], Sequence[str]],
    told: str,
    *,
    lax: bool,
) -> WeightsError:
    """The problems in PyTorch's error text: missing and unexpected keys, and shapes."""
    tensors, title = _tensors(network), type(network).__name__
    shapes = [
        f"{name} is {_describe(state[name])}, expected {_describe(tensors[name])}"
        if name in state and name in tensors
        else f"{name} is {found}, expected {expected}"
        for name, found, expected in _SIZE_MISMATCH.findall(told)
    ]
    problems = [
        f"{len(names)} {kind} ({some(names)})"
        for kind, names in zip(("missing", "unexpected", "of the wrong shape"), (*keys, shapes))
        if names
    ]
    if not problems:
        message = f"{source}: {title} did not accept its weights: {line(told, 300)}"
        return WeightsError(message, advice="Check that the file belongs to this network.")
    expected = state_of(network)
    message = f"{source} does not fit {title}, which has {len(expected)} keys: "
    advice = _fit_advice(expected, state)
    if keys[1] and not keys[0] and not shapes:
        advice = _ignore_advice(expected, keys[1])
    elif lax and keys[0] and not shapes:
        advice = _LAX_ADVICE
    return WeightsError(message + "; ".join(problems), advice=advice)


def state_of(network: nn.Module) -> Mapping[str, Any]:
    """The network's own state dict, or its tensors if ``state_dict`` fails."""
    try:
        return network.state_dict()
    except Exception:  # noqa: BLE001 - a network's own method may raise anything
        return _tensors(network)


def _ignore_advice(expected: Iterable[str], surplus: Iterable[str]) -> str:
    """The line of a manifest that permits the surplus names but no name of the network."""
    starts = {name[: place.start()] for name in expected for place in re.finditer(r"\.|$", name)}
    patterns = list(dict.fromkeys(_pattern(name, starts) for name in surplus))
    listed = json.dumps(patterns[:_MOST_PATTERNS])
    more = len(patterns) - _MOST_PATTERNS
    rest = f" and {more} more patterns" if more > 0 else ""
    return f"If they are not part of the network, add to [weights]: ignore = {listed}{rest}."


def _pattern(name: str, starts: set[str]) -> str:
    """The widest pattern of a name's first parts that no name of the network has.

    Args:
        name: a surplus name.
        starts: first parts of all names of the network, joined by dots.
    """
    places = [place.start() for place in re.finditer(r"\.", name)]
    end = next((place for place in places if name[:place] not in starts), None)
    start = name if end is None else name[:end]
    numbered = re.sub(r"(?<=\.)\d+(?=\.)", "*", start)
    others = any(fnmatchcase(each, numbered) for each in starts)
    return (start if others else numbered) + ("" if end is None else ".*")


def _require_finite(network: nn.Module, source: str) -> None:
    """Refuse NaN and infinity in parameters. Buffers may hold attention masks of -infinity."""
    from torch.nn.parameter import is_lazy

    wild = [
        name
        for name, tensor in network.named_parameters()
        if not is_lazy(tensor) and not is_finite(tensor.detach())
    ]
    if wild:
        message = f"{source}: NaN or infinity in {plural(len(wild), 'parameter')}: {some(wild)}"
        raise WeightsError(message, advice="The file is damaged or its training diverged.")


def _fit_advice(expected: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    common = common_prefix(state)
    if common and not any(name.startswith(common) for name in expected):
        return f"All its keys start with {common!r}: declare prefix={common!r}."
    if set(expected) == set(state):
        return "Check the scale and the options of the network."
    return "Check that the file belongs to this network, its scale and options, or declare renames."


def _describe(tensor: Tensor) -> str:
    return f"{'x'.join(map(str, tensor.shape)) or 'scalar'} {str(tensor.dtype).rpartition('.')[2]}"
