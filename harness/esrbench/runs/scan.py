"""What a reviewer should look at in a submission's code, found by reading it, never running it.

Neither the sandbox nor the clock depends on this: whoever wants to hide something can. It points at
code whose honest uses are rare in a network, says why each matters, and only ever warns.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from esrbench.protocol import Frozen
from esrbench.runs.reach import is_main, modules_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MAX_SOURCE_BYTES: Final = 2**20
MAX_SOURCES_BYTES: Final = 8 * 2**20
"""Of all Python of a submission that is looked through, which takes seconds."""
MAX_FINDINGS: Final = 50
COMPILED_SUFFIXES: Final = frozenset({".so", ".pyd", ".dll", ".dylib", ".cu", ".cpp", ".cc", ".c"})

REACHES_IN: Final = "it can change the process that measures"
ELSEWHERE: Final = "work may go on beside the forward that is timed"
OUTSIDE: Final = "a network has no business outside its process, and the sandbox refuses it"
DISPATCH: Final = "it can change what operators do, and what the audit sees of them"
UNCOUNTED: Final = "what it computes is opaque to the counters, which then count 0"
FLAGS: Final = "the harness sets such flags for everyone, and stops a network that changes them"
PICKLES: Final = "weights are declared in the manifest, and pickles are programs"
CLOCKS: Final = "the evaluator's clock decides, so replacing functions gains nothing"
CACHES: Final = "outputs that are kept are found out by inputs that are fresh"

SUSPECT: Final = {
    "ctypes": REACHES_IN,
    "cffi": REACHES_IN,
    "gc": REACHES_IN,
    "mmap": REACHES_IN,
    "importlib": REACHES_IN,
    "sys._getframe": REACHES_IN,
    "sys._current_frames": REACHES_IN,
    "sys.settrace": REACHES_IN,
    "sys.setprofile": REACHES_IN,
    "sys.modules": REACHES_IN,
    "sys.meta_path": REACHES_IN,
    "torch.utils._python_dispatch": DISPATCH,
    "torch.overrides": DISPATCH,
    "torch.Tensor._make_subclass": DISPATCH,
    "torch.Tensor._make_wrapper_subclass": DISPATCH,
    "builtins.eval": REACHES_IN,
    "builtins.exec": REACHES_IN,
    "builtins.compile": REACHES_IN,
    "builtins.__import__": REACHES_IN,
    "threading": ELSEWHERE,
    "_thread": ELSEWHERE,
    "multiprocessing": ELSEWHERE,
    "concurrent": ELSEWHERE,
    "asyncio": ELSEWHERE,
    "signal": ELSEWHERE,
    "atexit": ELSEWHERE,
    "os.fork": ELSEWHERE,
    "torch.multiprocessing": ELSEWHERE,
    "torch.jit.fork": ELSEWHERE,
    "torch.cuda.Stream": ELSEWHERE,
    "torch.cuda.ExternalStream": ELSEWHERE,
    "torch.cuda.stream": ELSEWHERE,
    "torch.cuda.set_stream": ELSEWHERE,
    "subprocess": OUTSIDE,
    "pty": OUTSIDE,
    "os.system": OUTSIDE,
    "os.popen": OUTSIDE,
    "os.kill": OUTSIDE,
    "os.environ": OUTSIDE,
    "socket": OUTSIDE,
    "ssl": OUTSIDE,
    "http": OUTSIDE,
    "urllib": OUTSIDE,
    "requests": OUTSIDE,
    "builtins.open": OUTSIDE,
    "torch.hub": OUTSIDE,
    "torch.distributed": OUTSIDE,
    "torch.library": UNCOUNTED,
    "torch.ops": UNCOUNTED,
    "torch.classes": UNCOUNTED,
    "torch.utils.cpp_extension": UNCOUNTED,
    "triton": UNCOUNTED,
    "cupy": UNCOUNTED,
    "numba": UNCOUNTED,
    "torch.autocast": "part of it then runs in another precision than the class it is ranked in",
    "torch.amp": "part of it then runs in another precision than the class it is ranked in",
    "torch.cuda.amp": "part of it then runs in another precision than the class it is ranked in",
    "torch.set_num_threads": FLAGS,
    "torch.set_num_interop_threads": FLAGS,
    "torch.set_default_dtype": FLAGS,
    "torch.set_default_device": FLAGS,
    "torch.set_float32_matmul_precision": FLAGS,
    "torch.set_grad_enabled": FLAGS,
    "torch.use_deterministic_algorithms": FLAGS,
    "torch.manual_seed": FLAGS,
    "torch.load": PICKLES,
    "torch.jit.load": PICKLES,
    "pickle": PICKLES,
    "marshal": PICKLES,
    "dill": PICKLES,
    "joblib": PICKLES,
    "functools.lru_cache": CACHES,
    "functools.cache": CACHES,
    "hashlib": CACHES,
}
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
    """Findings in a submission's files, each name once a file, at most ``MAX_FINDINGS``.

    What runs only as a script is not looked at: blocks under ``if __name__ == "__main__"``, and
    modules that the targets do not import.

    Args:
        folder: of the submission.
        files: in that folder; those that are neither Python nor compiled are not looked at.
        targets: ``module:attr`` of what the harness imports; without any, and where they import
            by names that reading does not tell, all modules are looked at.
    """
    findings: list[CodeRemark] = []
    readable, too_long = _within_bounds(folder, files)
    modules = modules_of(folder, readable, targets)
    for path in files:
        place = path.relative_to(folder).as_posix()
        if path.is_symlink():
            why = "what it leads to is not part of the folder, and the sandbox does not show it"
            if not path.resolve().is_relative_to(folder.resolve()):
                findings.append(
                    CodeRemark(place=place, what=f"links to {path.readlink()}", why=why)
                )
        elif path.suffix in COMPILED_SUFFIXES:
            findings.append(CodeRemark(place=place, what="compiled code", why=UNCOUNTED))
        elif path.suffix == ".py" and path.is_file() and path in modules:
            findings.extend(_scan(path, place))
    findings.extend(too_long)
    return tuple(_plain(finding) for finding in findings[:MAX_FINDINGS])


def _within_bounds(folder: Path, files: Iterable[Path]) -> tuple[list[Path], list[CodeRemark]]:
    """Files of at most ``MAX_SOURCES_BYTES`` of Python, and a finding where there is more."""
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


def _plain(finding: CodeRemark) -> CodeRemark:
    """The same without characters that a stranger could steer a terminal with."""
    texts = {"place": finding.place, "what": finding.what}
    shown = {key: text if text.isprintable() else ascii(text) for key, text in texts.items()}
    return finding.model_copy(update=shown)


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
