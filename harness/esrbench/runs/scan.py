"""Find code of a submission that a reviewer should look at; the code is read and never run.

The sandbox and the clock do not depend on this, because code can be hidden from it. It reports code
that an honest network rarely needs, with the reason, and only as a warning.
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
"""Most bytes of Python that are read in one submission; this takes seconds."""
MAX_REMARKS: Final = 50
COMPILED_SUFFIXES: Final = frozenset({".so", ".pyd", ".dll", ".dylib", ".cu", ".cpp", ".cc", ".c"})

DISPATCH: Final = "it can change what operators do, and what the audit sees"
UNCOUNTED: Final = "counters cannot see what it computes, so they count 0"
FLAGS: Final = (
    "the harness sets these flags for all networks, and stops a network that changes them"
)
CLOCKS: Final = "the evaluator's clock decides, so replacing functions gains nothing"

_NAMES: Final = {
    "it can change the process that measures": "ctypes cffi gc mmap importlib sys._getframe "
    "sys._current_frames sys.settrace sys.setprofile sys.modules sys.meta_path builtins.eval "
    "builtins.exec builtins.compile builtins.__import__",
    DISPATCH: "torch.utils._python_dispatch torch.overrides torch.Tensor._make_subclass "
    "torch.Tensor._make_wrapper_subclass",
    "work may go on outside the timed forward": "threading _thread multiprocessing "
    "concurrent asyncio signal atexit os.fork torch.multiprocessing torch.jit.fork "
    "torch.cuda.Stream torch.cuda.ExternalStream torch.cuda.stream torch.cuda.set_stream",
    "a network needs nothing outside its process, and the sandbox blocks it": "subprocess pty "
    "os.system os.popen os.kill os.environ socket ssl http urllib requests builtins.open "
    "torch.hub torch.distributed",
    UNCOUNTED: "torch.library torch.ops torch.classes torch.utils.cpp_extension triton cupy numba",
    "part of the network may run in another precision than its class": "torch.autocast "
    "torch.amp torch.cuda.amp",
    FLAGS: "torch.set_num_threads torch.set_num_interop_threads torch.set_default_dtype "
    "torch.set_default_device torch.set_float32_matmul_precision torch.set_grad_enabled "
    "torch.use_deterministic_algorithms torch.manual_seed",
    "weights must be declared in the manifest, and a pickle may contain a program": "torch.load "
    "torch.jit.load pickle marshal dill joblib",
    "outputs may be kept between calls; timed rounds show new inputs": "functools.lru_cache "
    "functools.cache hashlib",
}
SUSPECT: Final = {name: why for why, names in _NAMES.items() for name in names.split()}
"""Why a reviewer should look at a module, function or class, by dotted names."""

_FLAG_FAMILY: Final = "torch.backends"


class CodeRemark(Frozen):
    """One place in a submission's code.

    Attributes:
        place: path in the folder, with the line.
        what: the code that was found.
        why: why it matters.
    """

    place: str
    what: str
    why: str


def scan_folder(
    folder: Path, files: list[Path], targets: Iterable[str] = ()
) -> tuple[CodeRemark, ...]:
    """Remarks on a submission's files: each name once per file, ``MAX_REMARKS`` at most.

    Code that runs only as a script is ignored: blocks under ``if __name__ == "__main__"``, and
    modules that the targets do not import.

    Args:
        folder: folder of the submission.
        files: files in that folder; those that are neither Python nor compiled are ignored.
        targets: each ``module:attr`` that the harness imports. All modules are scanned if there are
            none, or if these modules import names that are computed at run time.
    """
    remarks: list[CodeRemark] = []
    readable, too_long = _within_bounds(folder, files)
    modules = modules_of(folder, readable, targets)
    for path in files:
        place = path.relative_to(folder).as_posix()
        if path.is_symlink():
            why = "its target is outside the folder, and a worker cannot see it"
            if not path.resolve().is_relative_to(folder.resolve()):
                remarks.append(CodeRemark(place=place, what=f"links to {path.readlink()}", why=why))
        elif path.suffix in COMPILED_SUFFIXES:
            remarks.append(CodeRemark(place=place, what="compiled code", why=UNCOUNTED))
        elif path.suffix == ".py" and path.is_file() and path in modules:
            remarks.extend(_scan(path, place))
    remarks.extend(too_long)
    return tuple(_plain(remark) for remark in remarks[:MAX_REMARKS])


def _within_bounds(folder: Path, files: Iterable[Path]) -> tuple[list[Path], list[CodeRemark]]:
    """The first files, up to ``MAX_SOURCES_BYTES`` of Python, and a remark if there is more."""
    room = MAX_SOURCES_BYTES
    kept: list[Path] = []
    for path in files:
        if path.suffix == ".py" and path.is_file() and not path.is_symlink():
            room -= path.stat().st_size
            if room < 0:
                what = f"more than {MAX_SOURCES_BYTES:,} bytes of Python in all"
                why = "the code is too long, so the scan stops here"
                place = path.relative_to(folder).as_posix()
                return kept, [CodeRemark(place=place, what=what, why=why)]
        kept.append(path)
    return kept, []


def _plain(remark: CodeRemark) -> CodeRemark:
    """The same remark without control characters, which could change the terminal."""
    place, what = (
        text if text.isprintable() else ascii(text) for text in (remark.place, remark.what)
    )
    return CodeRemark(place=place, what=what, why=remark.why)


def _scan(path: Path, place: str) -> Iterator[CodeRemark]:
    try:
        if path.stat().st_size > MAX_SOURCE_BYTES:
            what = f"more than {MAX_SOURCE_BYTES:,} bytes of Python"
            yield CodeRemark(place=place, what=what, why="the file is too long to be scanned")
            return
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        what = f"cannot be read as Python: {error}"
        yield CodeRemark(place=place, what=what, why="it cannot be imported")
        return
    visitor = _Visitor(tree)
    try:
        visitor.visit(tree)
    except RecursionError:
        visitor.note(tree, "an expression that is nested too deeply", "it cannot be scanned")
    seen: set[str] = set()
    for line, what, why in sorted(visitor.found):
        if what not in seen:
            seen.add(what)
            yield CodeRemark(place=f"{place}:{line}", what=what, why=why)


class _Visitor(ast.NodeVisitor):
    """Resolves names to modules and their members, as far as import statements show it."""

    def __init__(self, tree: ast.Module) -> None:
        self.found: list[tuple[int, str, str]] = []
        self._tree = tree
        self._names: dict[str, str] = {}
        self._initialising = 0

    def note(self, node: ast.AST, what: str, why: str) -> None:
        """Note a place with suspect code."""
        self.found.append((getattr(node, "lineno", 1), what, why))

    def visit_If(self, node: ast.If) -> None:
        """Leave out code that runs only if the file is run as a script."""
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
            why = "the harness warms up every network in the same way, so this gains nothing"
            self.note(node, "runs itself in __init__", why)
        if isinstance(node.func, ast.Name) and node.func.id in {"setattr", "delattr"} and node.args:
            owner = self._dotted(node.args[0])
            if owner is not None:
                self.note(node, f"changes attributes of {owner}", CLOCKS)
        self.generic_visit(node)

    def _assigned(self, target: ast.expr) -> None:
        """Note an assignment to an attribute of an imported module or class."""
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
