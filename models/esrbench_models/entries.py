"""The networks of this distribution, found by listing its folders; no torch.

``<name>/__init__.py`` declares ``ENTRIES``, the descriptors; ``<name>/network.py`` is the code that
runs, and weights that ship lie beside it. The entry point ``esrbench.models`` offers ``ENTRIES``.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

import esrbench_models

if TYPE_CHECKING:
    from esrbench.entries.descriptor import ModelDescriptor

_FIRST = (
    *("aidn", "aidn-challenge", "rfdn", "imdn", "imdn-challenge", "srresnet"),
    *("rfdn-paper", "rfdn-5", "rfdn-e", "aidn-a0", "aidn-a1", "aidn-a2"),
    *("rlfn", "bsrn", "span", "safmn", "carn", "carn-multi", "rdn", "rcan", "san"),
)
"""Networks that stand first in lists; the others follow by name."""


def _position(descriptor: ModelDescriptor) -> tuple[bool, int, str]:
    name = descriptor.name
    rank = _FIRST.index(name) if name in _FIRST else len(_FIRST)
    return descriptor.role == "floor", rank, name


def _found() -> tuple[ModelDescriptor, ...]:
    folders = [each.name for each in iter_modules(esrbench_models.__path__) if each.ispkg]
    # Use this package's own name, because a check of an earlier revision imports it under another.
    modules = [import_module(f"{esrbench_models.__name__}.{name}") for name in folders]
    return tuple(sorted((each for module in modules for each in module.ENTRIES), key=_position))


ENTRIES = _found()
"""Every network of this distribution, in the order of lists: interpolation comes last."""
