"""Read the branches of a challenge's ``select_model`` without running them.

The reader follows the function statement by statement for one team's number. It finds literals,
imported names, and the file of the weights; all other values are ``UNKNOWN``. If it does not
understand a statement that may change the network, it keeps the statement, to be run as it is.
"""

from __future__ import annotations

import ast
import contextlib
import math
import operator
import posixpath
import re
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from esrbench.entries.branches import UNKNOWN, Branch, ExtensionBuild, Imported, Network, Stored
from esrbench.entries.reach import module_file, parsed
from esrbench.entries.script import Question, selects, special_uses, targets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from esrbench.entries.script import Script

MAX_STEPS: Final = 200_000
"""Most nodes of code that are read for one branch."""
MAX_ITEMS: Final = 1000
MAX_INTEGER: Final = 2**63 - 1
MAX_PATH_CHARACTERS: Final = 250

_OUTSIDE: Final = frozenset({*sys.stdlib_module_names, "builtins", "cv2", "numpy", "torch"})
"""Top-level modules that do not build a team's network."""
_PASSIVE: Final = frozenset(
    (
        *("bfloat16", "cpu", "cuda", "eval", "float", "half", "requires_grad_", "to"),
        *("train", "type", "zero_grad"),
    )
)
"""Methods that return the same network."""
_QUERIES: Final = frozenset(
    (
        *("buffers", "children", "modules", "named_buffers", "named_children"),
        *("named_modules", "named_parameters", "parameters", "state_dict"),
    )
)
_IDLE: Final = frozenset(
    (
        *("debug", "empty", "empty_cache", "enumerate", "format", "inference_mode", "info"),
        *("len", "no_grad", "numel", "ones", "perf_counter", "print", "rand", "randn"),
        *("range", "sum", "synchronize", "time", "warning", "zeros"),
    )
).union(_PASSIVE, _QUERIES)
"""Functions and methods that do not change the networks in their arguments."""
_PRECISIONS: Final = {"half": "fp16", "float16": "fp16", "bfloat16": "bf16"}
_FORMAT: Final = re.compile(r"(?:0?\d{0,2}|0?\.\d)[dsf]?", re.ASCII)
_BINARY: Final[Mapping[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}
_PATHS: Final[Mapping[str, Callable[..., str]]] = {
    "os.getcwd": lambda: "",
    "os.path.abspath": posixpath.normpath,
    "os.path.dirname": posixpath.dirname,
    "os.path.join": posixpath.join,
    "os.path.realpath": posixpath.normpath,
    "pathlib.Path": posixpath.join,
}
_CONSTANTS: Final = {
    "builtins.print": None,
    "torch.cuda.is_available": False,
    "torch.device": "cpu",
}
_WEIGHTS_READERS: Final = frozenset({"torch.load", "safetensors.torch.load_file"})
_COMMANDS: Final = frozenset(
    (
        *("os.system", "subprocess.call", "subprocess.check_call"),
        *("subprocess.check_output", "subprocess.run"),
    )
)


def read_branch(script: Script, number: int) -> Branch:
    """Follow the script for one of its numbers."""
    reader = _Reader(script, number)
    returned: Any = ()
    try:
        returned = reader.follow()
    except (_TooLongError, RecursionError):
        reader.ask("is too long or nested too deeply to be read")
    values = returned if isinstance(returned, tuple | list) else [returned]
    numbers = [each for each in values if isinstance(each, int | float)]
    if not numbers and not reader.withheld:
        reader.ask("the data range cannot be read from the code; 1.0 is assumed")
    return Branch(
        number=number,
        line=reader.line,
        name=next((each for each in values if isinstance(each, str)), None),
        data_range=float(numbers[0]) if numbers else None,
        tile=int(numbers[1]) if len(numbers) > 1 else None,
        network=next((each for each in values if isinstance(each, Network)), None),
        withheld=reader.withheld,
        statements=tuple(reader.followed),
        modules=tuple(reader.modules),
        files=tuple(reader.files),
        build=reader.build,
        questions=(*reader.questions, *special_uses(script, number)),
    )


class _TooLongError(Exception):
    """The branch takes too many steps to follow."""


class _ReturnedError(Exception):
    """A ``return`` or ``raise``."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


class _Call(NamedTuple):
    """A call with the values of its arguments."""

    node: ast.Call
    arguments: Sequence[Any]
    keywords: Mapping[str, Any]

    @property
    def given(self) -> list[Any]:
        return [*self.arguments, *self.keywords.values(), UNKNOWN]


class _Reader(ast.NodeVisitor):
    """Follows code; ``visit`` of an expression returns its value."""

    def __init__(self, script: Script, number: int) -> None:
        self.script = script
        self.number = number
        self.line = script.function.lineno
        self.withheld = False
        self.followed: list[ast.stmt] = []
        self.modules: list[str] = []
        self.files: dict[str, None] = {}
        self.questions: list[Question] = []
        self.build: ExtensionBuild | None = None
        self._names: dict[str, Any] = {"__name__": script.path.stem, "__file__": script.path.name}
        self._statement: ast.stmt = script.function
        self._keys: dict[str, list[str]] = {}
        self._steps = MAX_STEPS

    def ask(self, text: str, node: ast.expr | None = None) -> None:
        """Note a question; it belongs to the branch's first line if no node is given."""
        self.questions.append(Question(node.lineno if node else self.line, text))

    def follow(self) -> Any:
        """The return value of the function for the team's number."""
        with contextlib.suppress(_ReturnedError):
            self._block(self.script.tree.body)
        for found in (self.questions, self.modules, self.files):
            found.clear()
        for argument in self.script.function.args.args:
            selector = argument.arg in self.script.sources
            known = "cpu" if argument.arg == "device" else UNKNOWN
            self._names[argument.arg] = self.number if selector else known
        try:
            self._follow(self.script.function.body)
        except _ReturnedError as returned:
            return returned.value
        return tuple(self._names.get(name) for name in ("model", "name", "data_range"))

    def _follow(self, statements: Sequence[ast.stmt]) -> None:
        """Follow statements of the function itself; those that select a team are not noted."""
        for statement in statements:
            self._statement = statement
            if isinstance(statement, ast.If) and selects(statement.test, self.script):
                taken = self.visit(statement.test) is True
                body = statement.body if taken else statement.orelse
                if taken:
                    self.line = statement.lineno
                    self.withheld = all(map(_does_nothing, body))
                self._follow(body)
            else:
                if not isinstance(statement, ast.Return):
                    self.followed.append(statement)
                self.visit(statement)

    def visit(self, node: ast.AST) -> Any:
        """Follow a statement, or find the value of an expression."""
        self._steps -= 1
        if self._steps < 0:
            raise _TooLongError
        value = super().visit(node)
        if isinstance(value, str) and "." in value and is_path(value):
            path = posixpath.normpath(value)
            is_below = not path.startswith(("/", "..")) and not path.endswith(".py")
            if is_below and (self.script.root / path).is_file():
                self.files[path] = None
        return value

    def generic_visit(self, node: ast.AST) -> Any:
        """Visit any other node: it may change networks, and its value comes from its weights."""
        names = [each for each in ast.walk(node) if isinstance(each, ast.Name)]
        values = [self._names.get(each.id) for each in names]
        loops = [each for each in ast.walk(node) if isinstance(each, ast.For | ast.comprehension)]
        values += [self.visit(each.iter) for each in loops]
        stored = next((each for each in values if isinstance(each, Stored)), None)
        if isinstance(node, ast.stmt):
            self._touch(values)
            for each in ast.walk(node):
                self._look_for_keys(each, stored)
                for target in targets_of(each):
                    if not isinstance(self._names.get(target), Network):
                        self._names[target] = stored or UNKNOWN
        return stored or UNKNOWN

    def _look_for_keys(self, node: ast.AST, stored: Stored | None) -> None:
        """Note the keys that a node looks for in a weights file."""
        match node:
            case ast.Compare(ast.Constant(str(key)), [ast.In()]):
                keys = [key]
            case ast.For(iter=ast.List(elements) | ast.Tuple(elements)):
                keys = [str(each.value) for each in elements if isinstance(each, ast.Constant)]
            case ast.Call(ast.Attribute(attr="get"), [ast.Constant(str(key)), *_]):
                keys = [key]
            case ast.Assign([ast.Name()], ast.Constant(str(key))):
                keys = [key]
            case _:
                return
        if stored is not None:
            known = self._keys.setdefault(stored.file, [])
            known += [key for key in keys if key not in known]

    def _touch(self, values: Iterable[Any]) -> Network | None:
        """Note that the current statement may change the networks among these values.

        Returns:
            The first of these networks.
        """
        networks = [each for each in values if isinstance(each, Network)]
        for network in networks:
            if self._statement not in network.steps and not self._is_idle(self._statement):
                network.steps.append(self._statement)
        return networks[0] if networks else None

    def _is_idle(self, statement: ast.stmt) -> bool:
        """Whether a statement only runs networks, prints, or sets ``requires_grad``."""
        for node in ast.walk(statement):
            match node:
                case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                    if name not in _IDLE and not isinstance(self._names.get(name), Network):
                        return False
                case ast.Call() | ast.Subscript(ctx=ast.Store() | ast.Del()):
                    return False
                case ast.Attribute(attr=name, ctx=ast.Store()) if name != "requires_grad":
                    return False
                case ast.Name(id=name, ctx=ast.Store()):
                    if isinstance(self._names.get(name), Network):
                        return False
        return True

    # Statements.

    def _block(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            self._statement = statement
            self.visit(statement)

    def visit_Expr(self, node: ast.Expr) -> None:
        self.visit(node.value)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            top = alias.name.partition(".")[0]
            self._names[alias.asname or top] = Imported(alias.name if alias.asname else top)
            self.modules.append(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        for alias in node.names:
            self._names[alias.asname or alias.name] = Imported(f"{module}.{alias.name}")
            self.modules.append(f"{module}.{alias.name}".removesuffix(".*"))
        file = module_file(self.script.root, module) if node.names[0].name == "*" else None
        tree = parsed(file) if file else None
        for each in tree.body if tree else ():
            if isinstance(each, ast.ClassDef | ast.FunctionDef):
                self._names[each.name] = Imported(f"{module}.{each.name}")

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._names[node.name] = UNKNOWN

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._names[node.name] = UNKNOWN

    def visit_Assign(self, node: ast.Assign) -> None:
        value = self.visit(node.value)
        for target in node.targets:
            self._bind(target, value)

    def _bind(self, target: ast.expr, value: Any) -> None:
        match target:
            case ast.Name(id=name):
                self._names[name] = value
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                fits = isinstance(value, tuple | list) and len(value) == len(targets)
                for each, part in zip(targets, value if fits else targets, strict=True):
                    self._bind(each, part if fits else UNKNOWN)
            case ast.Attribute(value=inner) | ast.Subscript(value=inner):
                self._touch([self.visit(inner)])
                for name in targets_of(target):
                    if not isinstance(self._names.get(name), Network | Stored):
                        self._names[name] = UNKNOWN

    def visit_If(self, node: ast.If) -> None:
        test = _truth(self.visit(node.test))
        if test is UNKNOWN:
            self.generic_visit(node)
        else:
            self._block(node.body if test else node.orelse)

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            if item.optional_vars is not None:
                self._bind(item.optional_vars, UNKNOWN)
        self._block(node.body)

    def visit_Try(self, node: ast.Try) -> None:
        for handler in node.handlers:  # a handler may build an extension after its import failed
            for each in ast.walk(handler):
                if isinstance(each, ast.Call) and "setup.py" in ast.unparse(each):
                    self.visit(each)
        self._block([*node.body, *node.orelse, *node.finalbody])

    def visit_Return(self, node: ast.Return) -> NoReturn:
        raise _ReturnedError(self.visit(node.value) if node.value else None)

    def visit_Raise(self, _: ast.Raise) -> NoReturn:
        raise _ReturnedError(())

    # Expressions.

    def visit_Constant(self, node: ast.Constant) -> Any:
        known = isinstance(node.value, str | int | float | None)
        return node.value if known else UNKNOWN

    def visit_Name(self, node: ast.Name) -> Any:
        if node.id in self.script.sources:
            return self.number
        return self._names.get(node.id, Imported(f"builtins.{node.id}"))

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        if ast.unparse(node) in self.script.sources:
            return self.number
        owner = self.visit(node.value)
        if isinstance(owner, Imported):
            return Imported(f"{owner.name}.{node.attr}")
        return owner if isinstance(owner, Network | Stored) else UNKNOWN

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        value, key = self.visit(node.value), self.visit(node.slice)
        if isinstance(value, Stored) and isinstance(key, str):
            return Stored(value.file, f"{value.key}.{key}".lstrip("."), value.line)
        if isinstance(value, Network | Stored):
            return value
        try:
            known = isinstance(value, list | tuple | dict) and isinstance(key, int | str)
            return value[key] if known else UNKNOWN
        except (LookupError, TypeError):
            return UNKNOWN

    def visit_List(self, node: ast.List) -> Any:
        return list(map(self.visit, node.elts))

    def visit_Tuple(self, node: ast.Tuple) -> Any:
        return tuple(map(self.visit, node.elts))

    def visit_Dict(self, node: ast.Dict) -> Any:
        keys = [self.visit(key) if key else UNKNOWN for key in node.keys]
        known = all(isinstance(key, str) for key in keys)
        return dict(zip(keys, map(self.visit, node.values), strict=True)) if known else UNKNOWN

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        left, right = self.visit(node.left), self.visit(node.right)
        if isinstance(node.op, ast.Div) and isinstance(left, str) and isinstance(right, str):
            return posixpath.join(left, right)  # pathlib's operator
        function = _BINARY.get(type(node.op))
        if function is None or not _is_small(left) or not _is_small(right):
            return UNKNOWN
        sizes = [len(each) for each in (left, right) if isinstance(each, str | list | tuple)]
        if sizes and isinstance(node.op, ast.Mult):
            sizes += [each for each in (left, right) if isinstance(each, int)]
            if math.prod(sizes) > MAX_ITEMS:
                return UNKNOWN
        try:
            value = function(left, right)
        except (TypeError, ArithmeticError):
            return UNKNOWN
        return value if _is_small(value) else UNKNOWN

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        value = self.visit(node.operand)
        match node.op:
            case ast.Not():
                truth = _truth(value)
                return truth if truth is UNKNOWN else not truth
            case ast.USub() if isinstance(value, int | float):
                return -value
        return UNKNOWN

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        truths = [_truth(self.visit(each)) for each in node.values]
        decides = isinstance(node.op, ast.Or)
        if decides in truths[: [*truths, UNKNOWN].index(UNKNOWN)]:
            return decides
        return UNKNOWN if UNKNOWN in truths else not decides

    def visit_Compare(self, node: ast.Compare) -> Any:
        left, right = self.visit(node.left), self.visit(node.comparators[0])
        self._look_for_keys(node, right if isinstance(right, Stored) else None)
        known = all(each is None or isinstance(each, str | int | float) for each in (left, right))
        match node.ops:
            case [ast.Eq() | ast.Is()] if known:
                return left == right
            case [ast.NotEq() | ast.IsNot()] if known:
                return left != right
            case [ast.Gt()] if isinstance(left, int) and isinstance(right, int):
                return left > right
            case [ast.In()] if isinstance(right, list | tuple) and isinstance(left, int | str):
                return left in right
        return UNKNOWN

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        test = _truth(self.visit(node.test))
        if test is UNKNOWN:
            return self.generic_visit(node)
        return self.visit(node.body if test else node.orelse)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> Any:
        parts = [self.visit(each) for each in node.values]
        return "".join(parts) if all(isinstance(each, str) for each in parts) else UNKNOWN

    def visit_FormattedValue(self, node: ast.FormattedValue) -> Any:
        value = self.visit(node.value)
        written = self.visit(node.format_spec) if node.format_spec else ""
        known = isinstance(value, str | int | float) and isinstance(written, str)
        if not known or not _FORMAT.fullmatch(written):
            return UNKNOWN
        try:
            return format(value, written)
        except ValueError:
            return UNKNOWN

    # Calls.

    def visit_Call(self, node: ast.Call) -> Any:
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        owner = self.visit(node.func.value if isinstance(node.func, ast.Attribute) else node.func)
        self._look_for_keys(node, owner if isinstance(owner, Stored) else None)
        keywords: dict[str, Any] = {}
        for each in node.keywords:
            value = self.visit(each.value)
            named = {"**": UNKNOWN} if not isinstance(value, dict) else value
            keywords |= named if each.arg is None else {each.arg: value}
        call = _Call(node, [self.visit(each) for each in node.args], keywords)
        if isinstance(owner, Imported):
            return self._call_imported(f"{owner.name}.{method}".removesuffix("."), call)
        return self._method(owner, method, call) if method else self._not_understood(call, owner)

    def _not_understood(self, call: _Call, owner: Any) -> Any:
        """Value of an unknown call: the network or the state dict in its arguments, or UNKNOWN."""
        if isinstance(owner, Network) and not isinstance(call.node.func, ast.Attribute):
            return UNKNOWN  # a forward
        touched = self._touch([owner, *call.given])
        return touched or next((e for e in [owner, *call.given] if isinstance(e, Stored)), UNKNOWN)

    def _call_imported(self, name: str, call: _Call) -> Any:
        match name, call.arguments:
            case "importlib.import_module" | "builtins.__import__", [str(module), *_]:
                self.modules.append(module)
                return Imported(module)
            case "builtins.getattr", [Imported(owner), str(attribute), *_]:
                return Imported(f"{owner}.{attribute}")
        texts = all(isinstance(each, str) for each in call.arguments)
        if name in _CONSTANTS:
            value: Any = _CONSTANTS[name]
        elif name in _WEIGHTS_READERS and is_path(call.given[0]):
            value = Stored(posixpath.normpath(call.given[0]), line=call.node.lineno)
        elif name in _PATHS and texts:
            value = UNKNOWN
            with contextlib.suppress(TypeError):  # the number of arguments is wrong
                value = _PATHS[name](*call.arguments)
        elif name in _COMMANDS:
            value = self._run_command(call)
        elif name.partition(".")[0] in _OUTSIDE or any(
            isinstance(each, Network | Stored) for each in call.given
        ):
            value = self._not_understood(call, None)
        else:
            value = Network(name, call.arguments, call.keywords, self._statement)
        return value

    def _method(self, owner: Any, name: str, call: _Call) -> Any:
        match owner:
            case Network() if name == "load_state_dict":
                state = call.keywords.get("state_dict", call.given[0])
                strict = call.keywords.get("strict", [*call.arguments, True, True][1])
                owner.early |= bool(owner.steps)
                owner.loaded, owner.strict = True, strict is not False
                owner.weights = state if isinstance(state, Stored) else None
                if owner.weights is not None:
                    looked_for = self._keys.get(owner.weights.file, [])
                    owner.keys = tuple([state.key] if state.key else looked_for)
                return UNKNOWN
            case Network() if name in _QUERIES:
                return UNKNOWN
            case Network() if name in _PASSIVE:
                types = [each.name for each in call.given if isinstance(each, Imported)]
                for each in (name, *types):
                    owner.precision = _PRECISIONS.get(each.rpartition(".")[2], owner.precision)
                return owner
        return self._not_understood(call, owner)

    def _run_command(self, call: _Call) -> Any:
        """Note the extension that a command builds."""
        given = call.given[0]
        if isinstance(given, str):
            given = given.split()
        texts = (
            [each for each in given if isinstance(each, str)]
            if isinstance(given, list | tuple)
            else []
        )
        at = next((at for at, each in enumerate(texts) if each.endswith("setup.py")), None)
        folder = call.keywords.get("cwd", texts[1] if texts[:1] == ["cd"] else "")
        if at is None or not isinstance(folder, str):
            self.ask(f"runs a command: {ast.unparse(call.node)}", call.node)
        else:
            within = posixpath.normpath(posixpath.join(folder, posixpath.dirname(texts[at])))
            self.build = ExtensionBuild(within, " ".join(["setup.py", *texts[at + 1 :]]))
        return UNKNOWN


def _does_nothing(statement: ast.stmt) -> bool:
    match statement:
        case ast.Pass() | ast.Raise() | ast.Expr(ast.Constant()):
            return True
    return False


def is_path(value: Any) -> bool:
    """Whether a value can be a path in the repository."""
    return isinstance(value, str) and value.isprintable() and len(value) <= MAX_PATH_CHARACTERS


def _truth(value: Any) -> Any:
    """Whether a value counts as true, or ``UNKNOWN``."""
    if value is UNKNOWN or isinstance(value, Stored):
        return UNKNOWN
    return True if isinstance(value, Network | Imported) else bool(value)


def _is_small(value: Any) -> bool:
    """Whether operations on a value are allowed: a product of lists or texts can be long."""
    if isinstance(value, int | float):
        return abs(value) <= MAX_INTEGER
    return isinstance(value, str | list | tuple) and len(value) <= MAX_ITEMS
