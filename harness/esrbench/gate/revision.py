"""The networks of an earlier git revision, beside those that are installed."""

from __future__ import annotations

import contextlib
import importlib
import io
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
from esrbench.gate.alias import STUB, forget
from esrbench.gate.sources import code_digest
from esrbench.runs.evaluator import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from esrbench.entries.networks import WeightsChoice

DECLARATION = "pyproject.toml"
"""Where a distribution declares its networks."""
MEASURER = "esrbench"
"""Never aliased: one and the same esrbench measures both revisions."""
SHOWN_ONLY = {"origin", "summary", "published", "paper", "licence", "factory", "prepare", "name"}
"""Fields of a descriptor that do not say what is built, or say it by the name of code."""


@dataclass(frozen=True, slots=True)
class Revision:
    """A revision's networks, importable while its folder exists.

    Attributes:
        ref: as the user wrote it.
        commit: full hash.
        tree: folder of its files.
        packages: path in it of each importable package or module, by name.
        aliases: importable name of each of its packages.
        registry: its networks, by the names they had.
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
        """A network of the revision with its weights: for ``auto`` those of the revision.

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
        """Whether an installed network is built by the very code of this revision.

        Docstrings and comments do not count; where code reaches further code by other means than
        imports, the answer is no.
        """
        if descriptor.name not in self.registry:
            return False
        old = self.registry.get(descriptor.name)
        if old.model_dump(exclude=SHOWN_ONLY) != descriptor.model_dump(exclude=SHOWN_ONLY):
            return False
        targets = [descriptor.factory, *([descriptor.prepare] if descriptor.prepare else [])]
        theirs = [old.factory, *([old.prepare] if old.prepare else [])]
        if [self._rename(target) for target in targets] != theirs:
            return False
        modules = [target.rpartition(":")[0] for target in targets]
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
        """A target as it is reached beside the installed one.

        Raises:
            UsageError: its code is not in the revision.
        """
        location, _, attribute = target.rpartition(":")
        if location.endswith(".py"):
            if not Path(location).is_absolute() and (self.tree / location).is_file():
                return f"{self.tree / location}:{attribute}"
        elif (root := location.partition(".")[0]) in self.aliases:
            return f"{self.aliases[root]}{location.removeprefix(root)}:{attribute}"
        message = f"{self.ref}: {target} is not code of that revision"
        raise UsageError(message, advice="Compare with a baseline file instead.")


@contextlib.contextmanager
def open_revision(ref: str, project: Path) -> Iterator[Revision]:
    """Make a revision's networks importable, under other names, while the block lasts.

    The files come out of ``git archive`` into a temporary folder, so neither the working tree nor
    git's own state is touched. Its declarations of networks are imported into this process.

    Args:
        ref: branch, tag or commit.
        project: folder of the checkout that holds ``pyproject.toml``.

    Raises:
        UsageError: no such revision, or it offers no networks.
    """
    wanted = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^0")
    named = _git(project, *wanted, asked=ref)
    commit = named.decode().strip()
    prefix = _git(project, "rev-parse", "--show-prefix").decode().strip()
    treeish = f"{commit}:{prefix}" if prefix else commit
    with tempfile.TemporaryDirectory(prefix="esrbench-revision-") as temporary:
        # Workers see the folder that a package is imported from, so the files lie within it.
        stubs = Path(temporary).resolve()
        tree = stubs / ".tree"
        top = Path(_git(project, "rev-parse", "--show-toplevel").decode().removesuffix("\n"))
        listed = _git(top, "ls-tree", "-r", "--name-only", "-z", "--full-tree", treeish)
        files = listed.decode(errors="surrogateescape").split("\0")
        found = _packages(files)
        declared = [DECLARATION] if DECLARATION in files else []
        _unpack(top, treeish, [*declared, *found.values()], tree)
        aliases = {name: f"{name}__at_{commit[:10]}" for name in found}
        for name, path in found.items():
            _write_stub(stubs / aliases[name], name, tree / path, ref, aliases)
        revision = Revision(ref, commit, tree, found, aliases, Registry())
        sys.path.insert(0, str(stubs))
        importlib.invalidate_caches()
        try:
            _register(revision)
            yield revision
        finally:
            sys.path.remove(str(stubs))
            forget(aliases.values())


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
                        "factory": revision._rename(each.factory),  # noqa: SLF001
                        "prepare": revision._rename(each.prepare) if each.prepare else None,  # noqa: SLF001
                    }
                )
                for each in batch
            ]
            revision.registry.add(renamed, origin=f"{target} at {revision.title}")
        except EsrbenchError:
            raise
        except Exception as error:
            message = f"{revision.ref}: {target} does not load with this esrbench: {error}"
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
    """Path of every importable package or module among a revision's files, by its name."""
    found: dict[str, str] = {}
    paths = [PurePosixPath(line) for line in files]
    folders = {path.parent for path in paths if path.name == "__init__.py"}
    for folder in sorted(folders, key=lambda each: len(each.parts), reverse=True):
        # A package stands at the top, or in a folder such as ``src`` that is none itself.
        if len(folder.parts) in {1, 2} and folder.parent not in folders:
            found[folder.name] = str(folder)
    for path in paths:
        if path.suffix == ".py" and path.parent.parts in {(), ("src",)}:
            found.setdefault(path.stem, str(path))
    skipped = {MEASURER, "setup", "conftest"}
    return {name: path for name, path in found.items() if name not in skipped}


def _write_stub(
    target: Path, name: str, source: Path, ref: str, aliases: Mapping[str, str]
) -> None:
    package = source.is_dir()
    text = STUB.format(
        package=name,
        revision=ref.replace('"', "'").replace("\\", "/"),
        folder=str(source) if package else None,
        file=str(source / "__init__.py" if package else source),
        aliases=dict(aliases),
    )
    if package:
        target.mkdir()
        target /= "__init__.py"
    else:
        target = target.with_suffix(".py")
    target.write_text(text, encoding="utf-8")


def _unpack(top: Path, treeish: str, paths: list[str], target: Path) -> None:
    target.mkdir()
    if not paths:
        return
    content = _git(top, "archive", "--format=tar", treeish, "--", *paths)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(target, filter="data")


def _git(project: Path, *arguments: str, asked: str | None = None) -> bytes:
    """What git says; ``asked`` is what the user calls that which is asked for."""
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
