"""Descriptors that another process can import, whatever imported them here.

pytest imports ``conftest.py`` and test modules under names that mean nothing, or another file, to a
process that starts anew. Such a module is named by its file instead.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.entries.registry import Registry, default_registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.entries.descriptor import ModelDescriptor


def importable(descriptor: ModelDescriptor) -> ModelDescriptor:
    """The descriptor with targets that a worker process can import.

    A module that an import by name would find stays as it is; any other becomes its file, where
    relative imports do not work. A submission is imported from its own folder, here as there.
    """
    if descriptor.folder is not None:
        return descriptor
    targets = {"factory": descriptor.factory, "prepare": descriptor.prepare}
    found = {field: _target(target) for field, target in targets.items() if target is not None}
    return descriptor.model_copy(update=found)


def importable_registry() -> Registry:
    """The default registry as workers can import it."""
    registry = Registry()
    for descriptor in default_registry():
        registry.add((importable(descriptor),), origin=descriptor.origin)
    return registry


def _target(target: str) -> str:
    module, _, attribute = target.rpartition(":")
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or _found_file(module) == Path(file).resolve():
        return target
    return f"{Path(file).resolve()}:{attribute}"


def _found_file(name: str) -> Path | None:
    """The file that an import of this name finds where nothing is imported yet."""
    path: Sequence[str] | None = None
    spec = None
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        whole = ".".join(parts[:end])
        finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
        found = (find(whole, path) for find in finders if find is not None)
        spec = next((each for each in found if each is not None), None)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).resolve()
