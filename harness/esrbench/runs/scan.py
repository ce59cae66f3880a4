"""Finds code of a submission that a reviewer should look at; it reads the code, never runs it.

The sandbox and the clock do not depend on this, because code can be hidden from it. It points at
code whose honest uses are rare in a network, says why each matters, and only ever warns.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from esrbench.entries.reach import is_main, modules_of
from esrbench.protocol import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MAX_SOURCE_BYTES: Final = 2**20
MAX_SOURCES_BYTES: Final = 8 * 2**20
"""Most bytes of Python that are read of a submission; this takes seconds."""
MAX_REMARKS: Final = 50
COMPILED_SUFFIXES: Final = frozenset({".so", ".pyd", ".dll", ".dylib", ".cu", ".cpp", ".cc", ".c"})

DISPATCH: Final = "it can change what operators do, and what the audit sees of them"
UNCOUNTED: Final = "what it computes is opaque to the counters, which then count 0"
FLAGS: Final = "the harness sets such flags for everyone, and stops a network that changes them"
CLOCKS: Final = "the evaluator's clock decides, so replacing functions gains nothing"

_NAMES: Final = {
    "it can change the process that measures": "ctypes cffi gc mmap importlib sys._getframe "
    "sys._current_frames sys.settrace sys.setprofile sys.modules sys.meta_path builtins.eval "
    "builtins.exec builtins.compile builtins.__import__",
    DISPATCH: "torch.utils._python_dispatch torch.overrides torch.Tensor._make_subclass "
    "torch.Tensor._make_wrapper_subclass",
    "work may go on beside the forward that is timed": "threading _thread multiprocessing "
    "concurrent asyncio signal atexit os.fork torch.multiprocessing torch.jit.fork "
    "torch.cuda.Stream torch.cuda.ExternalStream torch.cuda.stream torch.cuda.set_stream",
    "a network has no business outside its process, and the sandbox refuses it": "subprocess pty "
    "os.system os.popen os.kill os.environ socket ssl http urllib requests builtins.open "
    "torch.hub torch.distributed",
    UNCOUNTED: "torch.library torch.ops torch.classes torch.utils.cpp_extension triton cupy numba",
    "part of it then runs in another precision than the class it is ranked in": "torch.autocast "
    "torch.amp torch.cuda.amp",
    FLAGS: "torch.set_num_threads torch.set_num_interop_threads torch.set_default_dtype "
    "torch.set_default_device torch.set_float32_matmul_precision torch.set_grad_enabled "
    "torch.use_deterministic_algorithms torch.manual_seed",
    "weights are declared in the manifest, and pickles are programs": "torch.load torch.jit.load "
    "pickle marshal dill joblib",
    "outputs that are kept are found out by inputs that are fresh": "functools.lru_cache "
    "functools.cache hashlib",
}
SUSPECT: Final = {name: why for why, names in _NAMES.items() for name in names.split()}
"""Dotted names of modules and what is in them, and why each matters."""

_FLAG_FAMILY: Final = "torch.backends"


class CodeRemark(Frozen):
    """One place in a submission's code.

    Attributes:
        place: path in the folder, with the line.
        what: what stands there.
        why: why it matters.
    """

    place: str
    what: str
    why: str


def scan_folder(
    folder: Path, files: list[Path], targets: Iterable[str] = ()
) -> tuple[CodeRemark, ...]:
    """Remarks on a submission's files, each name once a file, at most ``MAX_REMARKS``.

    Code that runs only as a script is ignored: blocks under ``if __name__ == "__main__"``, and
    modules that the targets do not import.

    Args:
        folder: of the submission.
        files: in that folder; files that are neither Python nor compiled are ignored.
        targets: ``module:attr`` of what the harness imports; without any, and where they import
            by names that reading does not tell, all modules are looked at.
    """
    remarks: list[CodeRemark] = []
    readable, too_long = _within_bounds(folder, files)
    modules = modules_of(folder, readable, targets)
    for path in files:
        place = path.relative_to(folder).as_posix()
        if path.is_symlink():
            why = "what it leads to is not part of the folder, and the sandbox does not show it"
            if not path.resolve().is_relative_to(folder.resolve()):
                remarks.append(CodeRemark(place=place, what=f"links to {path.readlink()}", why=why))
        elif path.suffix in COMPILED_SUFFIXES:
            remarks.append(CodeRemark(place=place, what="compiled code", why=UNCOUNTED))
        elif path.suffix == ".py" and path.is_file() and path in modules:
            remarks.extend(_scan(path, place))
    remarks.extend(too_long)
    return tuple(_plain(remark) for remark in remarks[:MAX_REMARKS])


def _within_bounds(folder: Path, files: Iterable[Path]) -> tuple[list[Path], list[CodeRemark]]:
    """Files of at most ``MAX_SOURCES_BYTES`` of Python, and a remark where there is more."""
    room = MAX_SOURCES_BYTES
    kept: list[Path] = []
    for path in files:
        if path.suffix == ".py" and path.is_file() and not path.is_symlink():
            room -= path.stat().st_size
            if room < 0:
                what = f"more than {MAX_SOURCES_BYTES:,} bytes of Python in all"
                why = "too long to be looked through from here on"
                place = path.relative_to(folder).as_posix()
                return kept, [CodeRemark(place=place, what=what, why=why)]
        kept.append(path)
    return kept, []


def _plain(remark: CodeRemark) -> CodeRemark:
    """The same without characters that a stranger could steer a terminal with."""
    place, what = (
        text if text.isprintable() else ascii(text) for text in (remark.place, remark.what)
    )
    return CodeRemark(place=place, what=what, why=remark.why)


def _scan(path: Path, place: str) -> Iterator[CodeRemark]:
    try:
        if path.stat().st_size > MAX_SOURCE_BYTES:
            what = f"more than {MAX_SOURCE_BYTES:,} bytes of Python"
            yield CodeRemark(place=place, what=what, why="too long to be looked through")
            return
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        what = f"cannot be read as Python: {error}"
        yield CodeRemark(place=place, what=what, why="it will not load")
        return
    visitor = _Visitor(tree)
    try:
        visitor.visit(tree)
    except RecursionError:
        visitor.note(tree, "an expression that is nested too deeply", "it cannot be looked through")
    seen: set[str] = set()
    for line, what, why in sorted(visitor.found):
        if what not in seen:
            seen.add(what)
            yield CodeRemark(place=f"{place}:{line}", what=what, why=why)


class _Visitor(ast.NodeVisitor):
    """Follows what names stand for, as far as import statements say it."""

    def __init__(self, tree: ast.Module) -> None:
        self.found: list[tuple[int, str, str]] = []
        self._tree = tree
        self._names: dict[str, str] = {}
        self._initialising = 0

    def note(self, node: ast.AST, what: str, why: str) -> None:
        """Remember a place."""
        self.found.append((getattr(node, "lineno", 1), what, why))

    def visit_If(self, node: ast.If) -> None:
        """Leave out what runs only where the file is run itself."""
        if not is_main(node, self._tree):
            self.generic_visit(node)
            return
        for each in node.orelse:
            self.visit(each)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            top = alias.name.partition(".")[0]
            self._names[alias.asname or top] = alias.name if alias.asname else top
            self._judge(node, alias.name, "imports")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or node.module is None:
            return
        for alias in node.names:
            name = f"{node.module}.{alias.name}"
            self._names[alias.asname or alias.name] = name
            self._judge(node, name, "imports")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if name := self._dotted(node):
            self._judge(node, name, "uses")
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id not in self._names:
            self._judge(node, f"builtins.{node.id}", "uses")

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._assigned(target)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._assigned(node.target)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name in {"__torch_function__", "__torch_dispatch__"}:
            self.note(node, f"defines {node.name}", DISPATCH)
        self._initialising += node.name == "__init__"
        self.generic_visit(node)
        self._initialising -= node.name == "__init__"

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func
        if isinstance(called, ast.Attribute) and called.attr == "forward":
            called = called.value
        if self._initialising and isinstance(called, ast.Name) and called.id == "self":
            why = "the harness warms every network up in the same way, so it gains nothing"
            self.note(node, "runs itself in __init__", why)
        if isinstance(node.func, ast.Name) and node.func.id in {"setattr", "delattr"} and node.args:
            owner = self._dotted(node.args[0])
            if owner is not None:
                self.note(node, f"changes attributes of {owner}", CLOCKS)
        self.generic_visit(node)

    def _assigned(self, target: ast.expr) -> None:
        """Note an assignment to an attribute of what was imported."""
        if isinstance(target, ast.Tuple | ast.List):
            for each in target.elts:
                self._assigned(each)
        elif isinstance(target, ast.Attribute) and (name := self._dotted(target)):
            why = FLAGS if name.startswith(_FLAG_FAMILY) else CLOCKS
            self.note(target, f"replaces {name}", why)

    def _dotted(self, node: ast.expr) -> str | None:
        """The full name of an attribute or name that an import statement brought in."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self._names:
            return None
        return ".".join([self._names[node.id], *reversed(parts)])

    def _judge(self, node: ast.AST, name: str, verb: str) -> None:
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            prefix = ".".join(parts[:length])
            if prefix in SUSPECT:
                shown = prefix.removeprefix("builtins.")
                self.note(node, f"{verb} {shown}", SUSPECT[prefix])
                return
