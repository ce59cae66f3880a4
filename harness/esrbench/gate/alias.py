"""Two versions of one package in one process: the older one under another name.

A race needs both in one process, where ``esrbench_models.rfdn`` can be one module only. So the
older package is imported as ``esrbench_models__at_1a2b3c4`` from its unaltered files, and every
absolute import that these files make of their own packages, at their top or within a function, is
led to the alias as well. What is imported by ``importlib`` from a string is not; see ``sources``.
"""

from __future__ import annotations

import builtins
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from types import ModuleType

STUB = '''"""{package} as of {revision}, beside the one that is installed."""

from esrbench.gate.alias import adopt

adopt(__name__, {folder!r}, {file!r}, {aliases!r})
'''
"""What stands where an alias is imported from; a worker needs nothing but the stub's folder on
its path."""


def adopt(name: str, folder: str | None, file: str, aliases: Mapping[str, str]) -> None:
    """Make the module that calls this, a stub, the older package.

    Args:
        name: of the stub.
        folder: that holds the older package's modules, or None for a module of one file.
        file: its source.
        aliases: new name of every package of the older revision, by its own name.
    """
    module = sys.modules[name]
    module.__file__ = file
    if folder is not None:
        module.__path__ = [folder]
        sys.meta_path.insert(0, _Finder(name, aliases))
    _lead_imports(module, aliases)
    code = compile(Path(file).read_bytes(), file, "exec", dont_inherit=True)
    exec(code, module.__dict__)  # noqa: S102 - the trusted source of an earlier revision


def forget(aliases: Collection[str]) -> None:
    """Undo ``adopt`` of some aliases in this process."""
    sys.meta_path[:] = [
        finder
        for finder in sys.meta_path
        if not (isinstance(finder, _Finder) and finder.alias in aliases)
    ]
    for name in [name for name in sys.modules if name.partition(".")[0] in aliases]:
        del sys.modules[name]


class _Finder(MetaPathFinder):
    """Finds the modules below an alias in the older package's folder."""

    def __init__(self, alias: str, aliases: Mapping[str, str]) -> None:
        self.alias = alias
        self._aliases = aliases

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's spec, with a loader that leads its imports."""
        if not fullname.startswith(f"{self.alias}."):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path, self._aliases)
        return spec


class _Loader(SourceFileLoader):
    """Loads a source file whose imports are led to aliases."""

    def __init__(self, fullname: str, path: str, aliases: Mapping[str, str]) -> None:
        super().__init__(fullname, path)
        self._aliases = aliases

    def exec_module(self, module: ModuleType) -> None:
        """Run the file with an import statement of its own."""
        _lead_imports(module, self._aliases)
        super().exec_module(module)


def _lead_imports(module: ModuleType, aliases: Mapping[str, str]) -> None:
    """Give a module builtins of its own, which its functions will use too."""

    def lead(
        name: str,
        globals_: Mapping[str, object] | None = None,
        locals_: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        root, dot, rest = name.partition(".")
        if level == 0 and root in aliases:
            name = f"{aliases[root]}{dot}{rest}"
        return builtins.__import__(name, globals_, locals_, fromlist or (), level)

    module.__dict__["__builtins__"] = {**vars(builtins), "__import__": lead}
