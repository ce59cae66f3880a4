"""The networks of an earlier git revision, next to the installed ones.

A paired comparison needs both in one process, where ``zoo.net`` can be only one module. So the
older package is imported from a copy named ``zoo__at_1a2b3c4``. In the copy, every absolute import
of the revision's own packages is rewritten to name their copies. Imports by ``importlib`` from a
string are not rewritten.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from esrbench.entries.descriptor import ModelDescriptor
from esrbench.entries.networks import resolve_weights
from esrbench.entries.registry import ENTRY_POINT_GROUP, Registry
from esrbench.errors import EsrbenchError, RegistrationError, UsageError
from esrbench.runs.evaluator import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from esrbench.entries.networks import WeightsChoice

DECLARATION = "pyproject.toml"
"""Group of entry points in which a distribution declares its networks."""
MEASURER = "esrbench"
"""These packages are never copied, because the same esrbench measures both revisions."""
SHOWN_ONLY = {"origin", "summary", "published", "paper", "licence", "name", "display_name"}
"""Fields of a descriptor that do not affect what is built."""
DYNAMIC = frozenset({"import_module", "__import__", "exec", "eval", "find_spec", "open"})
"""Names by which a module may load code, or data that shapes it, without an import statement."""


@dataclass(frozen=True, slots=True)
class Revision:
    """A revision's networks, importable while its folder exists.

    Attributes:
        ref: text from the user.
        commit: full hash.
        tree: folder of its files.
        packages: path in that folder of each importable package or module, by name.
        aliases: name of the copy of each of its packages.
        registry: its networks, by their names in the revision.
    """

    ref: str
    commit: str
    tree: Path
    packages: Mapping[str, str]
    aliases: Mapping[str, str]
    registry: Registry

    @property
    def title(self) -> str:
        """Name in sentences."""
        short = self.commit[:10]
        return short if self.commit.startswith(self.ref) else f"{self.ref} ({short})"

    def entry(self, name: str, scale: int, weights: WeightsChoice = "auto") -> Entry:
        """A network of the revision with its weights; ``auto`` means the weights of the revision.

        Raises:
            UsageError: the revision has no such network or scale.
            WeightsError: a weights file that is missing or altered.
        """
        descriptor = self.registry.get(name)
        resolved = resolve_weights(descriptor, scale, weights)
        if weights == "auto" and resolved.path is None:
            shipped = sorted(self.tree.glob(f"**/{name}_x{scale}.safetensors"))
            if shipped:
                resolved = resolve_weights(descriptor, scale, shipped[0])
        return Entry(
            descriptor.model_copy(update={"name": f"{name}-at-{self.commit[:7]}"}), scale, resolved
        )

    def same_code(self, descriptor: ModelDescriptor) -> bool:
        """Whether an installed network is built by exactly the code of this revision.

        Docstrings and comments do not count. If the code loads other code without imports, the
        answer is no.
        """
        if descriptor.name not in self.registry:
            return False
        old = self.registry.get(descriptor.name)
        fields = SHOWN_ONLY | set(descriptor.targets)
        if old.model_dump(exclude=fields) != descriptor.model_dump(exclude=fields):
            return False
        targets = {field: self._rename(each) for field, each in descriptor.targets.items()}
        if targets != old.targets:
            return False
        modules = [target.rpartition(":")[0] for target in descriptor.targets.values()]
        if any(module.endswith(".py") for module in modules):
            return False
        now = code_digest(modules, _installed_source, self.aliases)
        return now is not None and now == code_digest(modules, self._source, self.aliases)

    def _source(self, module: str) -> Path | None:
        first, *parts = module.split(".")
        place = self.packages.get(first)
        if place is None:
            return None
        stem = self.tree.joinpath(place.removesuffix(".py"), *parts)
        found = (stem / "__init__.py", stem.with_suffix(".py"))
        return next((path for path in found if path.is_file()), None)

    def _rename(self, target: str) -> str:
        """The target in the copy, for a target of the revision.

        Raises:
            UsageError: the code of the target is not in the revision.
        """
        location, _, attribute = target.rpartition(":")
        if location.endswith(".py"):
            if not Path(location).is_absolute() and (self.tree / location).is_file():
                return f"{self.tree / location}:{attribute}"
        elif (root := location.partition(".")[0]) in self.aliases:
            return f"{self.aliases[root]}{location.removeprefix(root)}:{attribute}"
        message = f"{self.ref}: the code of {target} is not in that revision"
        raise UsageError(message, advice="Compare with a baseline file instead.")


@contextlib.contextmanager
def open_revision(ref: str, project: Path) -> Iterator[Revision]:
    """Make a revision's networks importable under other names within the block.

    ``git archive`` writes the files to a temporary folder, so neither the working tree nor git's
    own state changes. The revision's declarations of networks are imported into this process.

    Args:
        ref: branch, tag or commit.
        project: folder of the checkout, which contains ``pyproject.toml``.

    Raises:
        UsageError: there is no such revision, or it declares no networks.
    """
    wanted = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^0")
    named = _git(project, *wanted, asked=ref)
    commit = named.decode().strip()
    prefix = _git(project, "rev-parse", "--show-prefix").decode().strip()
    treeish = f"{commit}:{prefix}" if prefix else commit
    with tempfile.TemporaryDirectory(prefix="esrbench-revision-") as temporary:
        # Workers see the folder from which a package is imported, so its files must be within it.
        copies = Path(temporary).resolve()
        tree = copies / ".tree"
        top = Path(_git(project, "rev-parse", "--show-toplevel").decode().removesuffix("\n"))
        listed = _git(top, "ls-tree", "-r", "--name-only", "-z", "--full-tree", treeish)
        files = listed.decode(errors="surrogateescape").split("\0")
        found = _packages(files)
        declared = [DECLARATION] if DECLARATION in files else []
        _unpack(top, treeish, [*declared, *found.values()], tree)
        aliases = {name: f"{name}__at_{commit[:10]}" for name in found}
        for name, path in found.items():
            _copy_as(tree / path, copies / aliases[name], aliases)
        revision = Revision(ref, commit, tree, found, aliases, Registry())
        sys.path.insert(0, str(copies))
        importlib.invalidate_caches()
        try:
            _register(revision)
            yield revision
        finally:
            sys.path.remove(str(copies))
            for name in [
                each for each in sys.modules if each.partition(".")[0] in aliases.values()
            ]:
                del sys.modules[name]


def _register(revision: Revision) -> None:
    """Fill the registry from the entry points that the revision declares."""
    path = revision.tree / DECLARATION
    document = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    points = document.get("project", {}).get("entry-points", {}).get(ENTRY_POINT_GROUP, {})
    if not points:
        message = f"{revision.ref}: its pyproject.toml declares no entry points {ENTRY_POINT_GROUP}"
        raise UsageError(message, advice="Compare with a baseline file instead.")
    for target in points.values():
        try:
            offered = _attribute(revision._rename(target))  # noqa: SLF001 - its own module
            batch = (offered,) if isinstance(offered, ModelDescriptor) else tuple(offered)
            renamed = [
                each.model_copy(
                    update={
                        field: revision._rename(found)  # noqa: SLF001
                        for field, found in each.targets.items()
                    }
                )
                for each in batch
            ]
            revision.registry.add(renamed, origin=f"{target} at {revision.title}")
        except EsrbenchError:
            raise
        except Exception as error:
            message = f"{revision.ref}: {target} cannot be loaded with this esrbench: {error}"
            raise RegistrationError(
                message, advice="Compare with a baseline file instead."
            ) from error


def _attribute(target: str) -> Any:
    location, _, attribute = target.rpartition(":")
    value: Any = importlib.import_module(location)
    for part in attribute.split("."):
        value = getattr(value, part)
    return value


def _packages(files: list[str]) -> dict[str, str]:
    """Paths of all importable packages and modules in a revision, by name."""
    found: dict[str, str] = {}
    paths = [PurePosixPath(line) for line in files]
    folders = {path.parent for path in paths if path.name == "__init__.py"}
    for folder in sorted(folders, key=lambda each: len(each.parts), reverse=True):
        # A package is at the top, or in a folder such as ``src`` that is not a package itself.
        if len(folder.parts) in {1, 2} and folder.parent not in folders:
            found[folder.name] = str(folder)
    for path in paths:
        if path.suffix == ".py" and path.parent.parts in {(), ("src",)}:
            found.setdefault(path.stem, str(path))
    skipped = {MEASURER, "setup", "conftest"}
    return {name: path for name, path in found.items() if name not in skipped}


def _copy_as(source: Path, target: Path, aliases: Mapping[str, str]) -> None:
    """Copy a package or module under another name; its imports name the copies."""
    if source.is_dir():
        shutil.copytree(source, target, ignore_dangling_symlinks=True)
        files = list(target.rglob("*.py"))
    else:
        files = [Path(shutil.copy(source, target.with_suffix(".py")))]
    for file in files:
        with contextlib.suppress(SyntaxError, ValueError):  # the import reports what is wrong
            tree = _Renaming(aliases).visit(ast.parse(file.read_bytes()))
            file.write_text(ast.unparse(tree), encoding="utf-8")


class _Renaming(ast.NodeTransformer):
    """Redirects absolute imports of packages to their copies, under the original names."""

    def __init__(self, aliases: Mapping[str, str]) -> None:
        self._aliases = aliases

    def visit_Import(self, node: ast.Import) -> ast.Import:
        names = []
        for each in node.names:
            root, dot, rest = each.name.partition(".")
            if root not in self._aliases:
                names.append(each)
                continue
            copy = self._aliases[root]
            names.append(ast.alias(f"{copy}{dot}{rest}", each.asname or (None if dot else root)))
            if dot and not each.asname:
                names.append(ast.alias(copy, root))  # ``import a.b`` binds ``a``
        return ast.Import(names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        root, dot, rest = (node.module or "").partition(".")
        if node.level == 0 and root in self._aliases:
            return ast.ImportFrom(f"{self._aliases[root]}{dot}{rest}", node.names, 0)
        return node


def _unpack(top: Path, treeish: str, paths: list[str], target: Path) -> None:
    target.mkdir()
    if not paths:
        return
    content = _git(top, "archive", "--format=tar", treeish, "--", *paths)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(target, filter="data")


def _git(project: Path, *arguments: str, asked: str | None = None) -> bytes:
    """Output of a git command; errors name ``asked``, the user's text, if given."""
    command = ["git", "-C", str(project), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=True)  # noqa: S603 - no shell
    except FileNotFoundError:
        raise UsageError("git is not installed", advice="Give a baseline file.") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        reason = said[-1] if said else "there is no such file, folder or revision"
        what = asked or f"git {arguments[0]} {arguments[-1]}"
        message = f"{what}: {reason.removeprefix('fatal: ')}"
        advice = "Give a baseline file, a folder of results, or a revision of this checkout."
        raise UsageError(message, advice=advice) from None
    return done.stdout


def _installed_source(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    origin = None if spec is None else spec.origin
    return Path(origin) if origin is not None and origin.endswith(".py") else None


def code_digest(
    modules: Iterable[str], find: Callable[[str], Path | None], roots: Collection[str]
) -> str | None:
    """SHA-256 (hex) of the syntax of modules and of everything that they import of their packages.

    Args:
        modules: dotted names to begin with.
        find: the source file of a module, or None if there is no such module.
        roots: top-level packages that are followed; other packages are not covered.

    Returns:
        None if a module has no source, its source is not Python, or it loads other code without
            imports.
    """
    queue = [name for module in modules for name in _with_parents(module)]
    seen: dict[str, str] = {}
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        path = find(name)
        if path is None:
            return None
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            # Its error is reported when it runs.
            return None
        if any(_reaches_further(node) for node in ast.walk(tree)):
            return None
        seen[name] = ast.dump(_without_docstrings(tree))
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for imported, certain in _imports(tree, package):
            if imported.partition(".")[0] in roots and (certain or find(imported) is not None):
                queue += _with_parents(imported)
    digest = hashlib.sha256()
    for name in sorted(seen):
        digest.update(f"{name}\0{seen[name]}\0".encode())
    return digest.hexdigest()


def _imports(tree: ast.AST, package: str) -> Iterator[tuple[str, bool]]:
    """Dotted names that a module imports, and whether each must be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, True) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            yield base, True
            yield from ((f"{base}.{alias.name}", False) for alias in node.names)


def _with_parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _reaches_further(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return node.id in DYNAMIC
    return isinstance(node, ast.Attribute) and node.attr in DYNAMIC - {"eval"}


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return tree
