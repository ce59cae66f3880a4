"""Turn a challenge's repository into folders of submissions; none of its code is run.

The official efficient-SR repositories keep a branch for each team in ``test_demo.py``, code in
``models/`` and weights in ``model_zoo/``. An entry consists of the code that its branch imports,
unchanged, its weights, and a manifest that describes the branch. If a manifest cannot express a
part of the branch, that part is copied into a module next to it.
"""

from __future__ import annotations

import ast
import json
import posixpath
import re
import secrets
import shlex
import shutil
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Literal

from esrbench.entries.branch_reader import is_path, read_branch
from esrbench.entries.branches import UNKNOWN, ExtensionBuild
from esrbench.entries.excerpt import EXCERPT_MODULE, excerpt, needed_before, network_name
from esrbench.entries.extensions import SETUP, extensions_of, use_of
from esrbench.entries.factories import SCALE_NAMES
from esrbench.entries.manifest import MANIFEST_NAME, MAX_WEIGHTS_BYTES
from esrbench.entries.reach import imported, module_file, module_name, parsed, running
from esrbench.entries.script import Question
from esrbench.entries.sources import folder_files, require_bounded
from esrbench.entries.submissions import read_submission
from esrbench.errors import EsrbenchError, RegistrationError, UsageError
from esrbench.plaintext import line
from esrbench.weights.checkpoints import file_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path, PurePath

    from esrbench.entries.branches import Branch, Network
    from esrbench.entries.script import Script

Outcome = Literal["imported", "question", "withheld", "kept", "failed"]

MAX_NAME_CHARACTERS: Final = 64
MAX_VALUES: Final = 1000
"""Most numbers and texts in the arguments of a factory; one list may occur in many places."""
DEFAULT_SCALE: Final = 4
WEIGHTS_FOLDER: Final = "model_zoo"
WEIGHTS_SUFFIXES: Final = (".safetensors", ".pth", ".pt", ".ckpt", ".pkl", ".bin", ".pth.tar")

_PROVIDED: Final = frozenset({"numpy", "torch"})
_DISTRIBUTIONS: Final = {"PIL": "Pillow", "cv2": "opencv-python", "skimage": "scikit-image"}
_POINTER: Final = b"version https://git-lfs"
_COMPILING: Final = "torch.utils.cpp_extension"
_NO_NUMBERS: Final = (float("inf"), float("-inf"))


@dataclass(frozen=True, slots=True)
class ImportedEntry:
    """The result of importing a team's branch.

    Attributes:
        number: number of the team.
        entry: name of the entry and of its folder; empty if the branch is empty.
        outcome: ``imported``; ``question`` if it was imported with open questions; ``withheld`` if
            the branch is empty; ``kept`` if the folder exists already; ``failed`` if nothing was
            written.
        line: line of the script where the branch begins.
        folder: the written folder, or None.
        factory: target of the factory that builds the network.
        weights: path of the file in the repository, or None.
        requirements: distributions that its code imports.
        questions: open questions after reading.
    """

    number: int
    entry: str
    outcome: Outcome
    line: int
    folder: Path | None = None
    factory: str | None = None
    weights: str | None = None
    requirements: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()


@dataclass(slots=True)
class _Draft:
    """An entry before it is written."""

    model: dict[str, Any]
    weights: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    code: str = ""
    questions: list[Question] = field(default_factory=list)


def import_team(script: Script, number: int, into: Path, *, force: bool = False) -> ImportedEntry:
    """Write the entry of one branch of a challenge's script.

    Args:
        script: script of the repository.
        number: number of a team in the script.
        into: folder of submissions; nothing is written outside it.
        force: replace an existing entry of the same name.

    Raises:
        UsageError: ``into`` cannot be written.
    """
    branch = read_branch(script, number)
    name = _entry_name(branch)
    if branch.withheld:
        question = Question(branch.line, "the branch is empty: ask the team")
        return ImportedEntry(number, "", "withheld", branch.line, questions=(question,))
    folder = into / name
    if folder.exists() and not force:
        question = Question(branch.line, f"{folder} exists already: --force replaces it")
        return ImportedEntry(number, name, "kept", branch.line, questions=(question,))
    try:
        draft = _draft(script, branch, name)
        _write(draft, folder)
    except OSError as error:
        message = f"{folder}: cannot be written: {error.strerror or error}"
        raise UsageError(message, advice="Choose another folder with --into.") from error
    except (EsrbenchError, RecursionError, ValueError) as error:
        told = error.message if isinstance(error, EsrbenchError) else f"cannot be said: {error}"
        text = told.replace(f"{folder}/", "")
        return ImportedEntry(
            number, name, "failed", branch.line, questions=(Question(branch.line, text),)
        )
    return ImportedEntry(
        number=number,
        entry=name,
        outcome="question" if draft.questions else "imported",
        line=branch.line,
        folder=folder,
        factory=draft.model["factory"],
        weights=draft.weights.get("file"),
        requirements=tuple(draft.model.get("requirements", ())),
        questions=tuple(draft.questions),
    )


def _entry_name(branch: Branch) -> str:
    """``teamNN-name``, with the name in the branch."""
    team = f"team{branch.number:02}"
    given = branch.name or (branch.network.target.rpartition(".")[2] if branch.network else "")
    bare = re.sub(rf"^\s*(?:team)?0*{branch.number}(?!\d)[\s_-]*", "", given, flags=re.IGNORECASE)
    name = re.sub(r"[^a-z0-9._]+", "-", bare.lower()).strip("-._")
    return f"{team}-{name or 'entry'}"[:MAX_NAME_CHARACTERS].rstrip("-._")


def _draft(script: Script, branch: Branch, name: str) -> _Draft:
    """Collect all files and fields of an entry.

    Raises:
        RegistrationError: the branch builds no network from code of the repository.
    """
    network = branch.network
    team = f"{branch.name or name} of {script.root.resolve().name}".strip()
    model: dict[str, Any] = {
        "name": name,
        "summary": line(f"{team}, {script.path.name} line {branch.line}", 200),
        "factory": f"{EXCERPT_MODULE}:build",
        "scales": [_scale(script)],
        "data_range": branch.data_range or 1.0,
    }
    if branch.tile:
        model["tile"] = branch.tile
    if network is not None and network.precision != "fp32":
        model["precision"] = network.precision
    draft = _Draft(model, questions=list(branch.questions))
    modules = [*branch.modules]
    if network is None or _is_whole(network):
        at = network.steps[0].lineno if network and network.steps else branch.line
        text = (
            f"the branch builds and loads its network itself; its lines are in {EXCERPT_MODULE}.py"
        )
        draft.questions.append(Question(at, text))
        draft.code = excerpt(script, branch.number, build=branch.statements, prepare=())
    else:
        _describe(draft, script, branch, network)
        modules = [network.target, *(modules if draft.code else ())]
    _add_code(draft, script, modules, branch)
    for path in branch.files:
        _add_file(draft, script, script.root / path, path)
    if network is None or not network.loaded:
        # The entry's own code loads them. We declare them, so they are checked and the entry counts
        # as trained.
        named = [path for path in draft.files if path.endswith(WEIGHTS_SUFFIXES)]
        if len(named) == 1:
            _add_weights(draft, script, named[0], branch.line, loaded_by="factory")
    return draft


def _describe(draft: _Draft, script: Script, branch: Branch, network: Network) -> None:
    """Declare how a network is built, loaded and deployed, or copy the lines that do it.

    Raises:
        RegistrationError: the module of the network is not in the repository.
    """
    model = draft.model
    target = _target(script, network)
    given = _arguments(script, network)
    build: Sequence[ast.stmt] = ()
    prepare: Sequence[ast.stmt] = ()
    if given is None:
        made = [each for each in branch.statements if network.statement in ast.walk(each)]
        build = [*needed_before(branch.statements, made), *made]
    else:
        model |= {"factory": target} | given
    method = _deploy_method(network)
    if method is not None:
        model["deploy"] = method
    elif network.steps:
        known = [network_name(script)]
        prepare = [*needed_before(branch.statements, network.steps, known), *network.steps]
        model["prepare"] = f"{EXCERPT_MODULE}:prepare"
    if build or prepare:
        draft.code = excerpt(script, branch.number, build=build, prepare=prepare)
    if (stored := network.weights) is not None:
        keys = [*network.keys, ""] if network.keys else None
        ignore = [] if network.strict else ["*"]
        key = stored.key or keys
        _add_weights(draft, script, stored.file, stored.line, key=key, ignore=ignore)


def _scale(script: Script) -> int:
    """Upscaling factor of the challenge, which the scripts call ``sf`` or ``scale``."""
    for node in ast.walk(script.tree):
        match node:
            case ast.Assign([ast.Name("sf" | "scale")], ast.Constant(int(scale))) if scale > 1:
                return scale
    return DEFAULT_SCALE


def _is_whole(network: Network) -> bool:
    """Whether the lines of the branch must build and load the network."""
    if network.loaded:
        return network.early or network.weights is None
    return bool(network.steps) and _deploy_method(network) is None


def _deploy_method(network: Network | None) -> str | None:
    """The method that deploys a network, if it is the only step and needs no arguments."""
    match network.steps if network else []:
        case [ast.Expr(ast.Call(ast.Attribute(ast.Name(), method), [], []))]:
            return str(method)
    return None


def _target(script: Script, network: Network) -> str:
    """The target that the branch calls, as ``module:attribute``."""
    parts = network.target.split(".")
    for end in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:end])
        if module_file(script.root, module) is not None:
            return f"{module}:{'.'.join(parts[end:])}"
    message = f"{network.target}: its module is not in the repository"
    raise RegistrationError(message)


def _arguments(script: Script, network: Network) -> dict[str, Any] | None:
    """``arguments`` and ``kwargs`` of a manifest, or None if it cannot express them."""
    defaults = _defaults(script, network)
    keywords = {
        name: value
        for name, value in network.keywords.items()
        if value is not None or defaults.get(name, UNKNOWN) is not None
    }
    by_position = list(network.arguments)
    free = [*defaults][len(by_position) :]
    scales = [name for name in free if name in SCALE_NAMES and name not in keywords]
    default = defaults[scales[0]] if len(scales) == 1 else UNKNOWN
    if isinstance(default, int) and default != _scale(script):
        keywords[scales[0]] = default  # the branch uses the default
    takes_any = "**" in defaults and {*defaults, *keywords}.isdisjoint(SCALE_NAMES)
    if takes_any or not _is_toml([by_position, keywords]):
        return None
    given = {"arguments": by_position, "kwargs": keywords}
    return {name: value for name, value in given.items() if value}


def _defaults(script: Script, network: Network) -> dict[str, Any]:
    """Parameters of a class or function, in order, with those defaults that are literals."""
    module, _, attribute = _target(script, network).partition(":")
    file = module_file(script.root, module)
    tree = parsed(file) if file else None
    for node in tree.body if tree else ():
        match node:
            case ast.ClassDef(name=name, body=body) if name == attribute:
                for each in body:
                    if isinstance(each, ast.FunctionDef) and each.name == "__init__":
                        return _literals(each.args, skipped=1)
            case ast.FunctionDef(name=name, args=given) if name == attribute:
                return _literals(given)
    return {}


def _literals(given: ast.arguments, *, skipped: int = 0) -> dict[str, Any]:
    """Parameters without the skipped first ones; values are literal defaults or ``UNKNOWN``.

    ``**`` stands for keywords of any name.
    """
    names = [each.arg for each in (*given.posonlyargs, *given.args)][skipped:]
    values = [*[None] * (len(names) - len(given.defaults)), *given.defaults][-len(names) :]
    pairs = [*zip(names, values, strict=False)]
    pairs += [(a.arg, value) for a, value in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    pairs += [("**", None)] if given.kwarg else []
    return {
        name: value.value if isinstance(value, ast.Constant) else UNKNOWN for name, value in pairs
    }


def _is_toml(value: Any) -> bool:
    """Whether TOML can express a value, and its text is not too long."""
    room = MAX_VALUES
    waiting = [value]
    while waiting:
        each = waiting.pop()
        room -= 1
        if isinstance(each, list | tuple):
            waiting += each
        elif isinstance(each, dict):
            waiting += each.values()
        elif (
            not isinstance(each, str | int | float)
            or each in _NO_NUMBERS
            or (isinstance(each, str) and not each.isprintable())
        ):
            return False
        if room < 0:
            return False
    return True


def _add_weights(draft: _Draft, script: Script, file: str, at: int, **layout: Any) -> None:
    """Declare a weights file, or note a question if it cannot be used.

    Args:
        draft: the entry.
        script: script of the repository.
        file: path in the repository.
        at: line of the script that reads the file.
        layout: other fields of ``[weights]``; empty ones are left out.
    """
    path = script.root / file
    problem = None
    if not _is_within(path, script.root) or not path.is_file():
        problem = "is not in the repository"
    elif path.stat().st_size > MAX_WEIGHTS_BYTES:
        problem = f"has more than {MAX_WEIGHTS_BYTES:,} bytes"
    else:
        with path.open("rb") as opened:
            if opened.read(len(_POINTER)) == _POINTER:
                problem = "is a pointer of Git LFS"
    if problem is not None:
        text = f"{file} {problem}: put the weights there and import again"
        draft.questions.append(Question(at, text))
        return
    draft.files[file] = path
    draft.weights = {"file": file, "bytes": path.stat().st_size, "sha256": file_sha256(path)}
    draft.weights |= {name: value for name, value in layout.items() if value}


def _add_code(draft: _Draft, script: Script, modules: Sequence[str], branch: Branch) -> None:
    """Add the files of modules and of all their imports, and note those that are missing.

    Raises:
        RegistrationError: the package of a team is too large.
    """
    code, at = ast.parse(draft.code), branch.line
    reached = _reached(script, [*modules, *_imports(code, (EXCERPT_MODULE,))])
    for file, tree in reached.items():
        relative = file.relative_to(script.root)
        files = [file]
        if len(relative.parts) > 2:  # noqa: PLR2004 - a team's own package below models/
            package = script.root.joinpath(*relative.parts[:2])
            require_bounded(package)
            files += folder_files(package)
        if tree is None:
            text = f"{relative} cannot be read as Python, so its imports are unknown"
            draft.questions.append(Question(at, text))
        else:
            files += _named_files(script, tree, relative.parent)
            draft.questions += [Question(at, f"{relative} {text}") for text in _asked(draft, tree)]
        for each in files:
            _add_file(draft, script, each, each.relative_to(script.root).as_posix())
    trees = {file: tree for file, tree in reached.items() if tree is not None}
    built = _add_build(draft, script, branch, trees)
    required = {
        name for tree in (code, *trees.values()) for name in _requirements(script, tree, built)
    }
    if required:
        draft.model["requirements"] = sorted(required)


def _asked(draft: _Draft, tree: ast.Module) -> list[str]:
    """Actions of code that the sandbox or the declared precision may not allow."""
    asked = []
    if any(name.startswith(_COMPILING) for name in _imports(tree, ())):
        asked.append("compiles an extension while it runs, which the sandbox forbids")
    halved = any(isinstance(each, ast.Attribute) and each.attr == "half" for each in running(tree))
    if halved and "precision" not in draft.model:
        asked.append(
            'calls half(): declare precision = "fp16" if its weights are in half precision'
        )
    return asked


def _reached(script: Script, modules: Sequence[str]) -> dict[Path, ast.Module | None]:
    """The files of modules and of all their imports, with their parsed code."""
    reached: dict[Path, ast.Module | None] = {}
    waiting = [*modules]
    while waiting:
        parts = waiting.pop().split(".")
        for end in range(1, len(parts) + 1):
            file = module_file(script.root, ".".join(parts[:end]))
            if file is None or file in reached:
                continue
            tree = reached[file] = parsed(file)
            if tree is not None:
                is_package = file.name == "__init__.py"
                waiting += _imports(tree, tuple(parts[:end]), is_package=is_package)
    return reached


def _imports(tree: ast.Module, place: tuple[str, ...], *, is_package: bool = False) -> list[str]:
    return [".".join(each) for each in imported(tree, place, is_package=is_package)]


def _named_files(script: Script, tree: ast.Module, folder: PurePath) -> list[Path]:
    """Files of the repository whose paths occur as texts in code, such as weights that it opens."""
    texts = {
        node.value
        for node in running(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    paths = {
        posixpath.normpath(posixpath.join(base, text))
        for text in texts
        if "." in text and is_path(text) and not text.endswith(".py")
        for base in ("", WEIGHTS_FOLDER, folder.as_posix())
    }
    inside = [script.root / path for path in paths if not path.startswith(("/", ".."))]
    return sorted(path for path in inside if path.is_file())


def _requirements(script: Script, tree: ast.Module, built: str | None) -> list[str]:
    """Distributions that the import of a module needs, without the compiled extension."""
    names: list[str] = []
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            names += [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom) and not statement.level:
            names.append(statement.module or "")
    tops = {name.partition(".")[0] for name in names} - _PROVIDED - sys.stdlib_module_names
    outside = [
        top
        for top in tops - {built}
        if not (script.root / top).is_dir() and module_file(script.root, top) is None
    ]
    installed = metadata.packages_distributions() if outside else {}
    return [
        installed.get(top, [_DISTRIBUTIONS.get(top, top.replace("_", "-"))])[0] for top in outside
    ]


def _add_build(
    draft: _Draft, script: Script, branch: Branch, code: Mapping[Path, ast.Module]
) -> str | None:
    """Declare how to compile an extension that an entry imports, and add its sources.

    If the code also runs without the extension, it is measured with it and counted without it. If
    such an extension needs CUDA to compile, its sources are left out, so that the entry runs on a
    CPU.

    Args:
        draft: the entry.
        script: script of the repository.
        branch: branch of the team, which may build the extension.
        code: code of the entry, by file.

    Returns:
        The top-level name of the extension's import; None if there is no extension.
    """
    modules = (
        (module_name(file.relative_to(script.root)), file.name == "__init__.py", tree)
        for file, tree in code.items()
    )
    use, build = use_of(extensions_of(script.root), modules), branch.build
    if use is None:
        if build is not None:
            _add_sources(draft, script, build.folder, beside=True)
            text = "the name of the extension that it builds cannot be read from the code: if it "
            text += f'needs this extension, declare build = "{build.command}"'
            draft.questions.append(Question(branch.line, text))
        return None
    extension = use.extension
    folder = "/".join(extension.folder) or "."
    if build is None or build.folder != folder or "--inplace" not in build.command:
        build = ExtensionBuild(folder, f"{SETUP} build_ext --inplace")
    _add_sources(draft, script, folder, beside=not use.in_place)
    script_path = posixpath.join(*extension.folder, SETUP) if use.in_place else SETUP
    declared = {"build": f"{shlex.quote(script_path)}{build.command.removeprefix(SETUP)}"}
    if use.optional:
        declared["pure_torch"] = draft.model["factory"]
    if use.optional and extension.needs_cuda:
        lines = " and ".join(f'{name} = "{value}"' for name, value in declared.items())
        text = (
            f"runs without {extension.name}, which needs CUDA to compile: for a GPU declare {lines}"
        )
        draft.questions.append(Question(branch.line, text))
    else:
        draft.model |= declared
    if not use.optional:
        text = f"needs the compiled {extension.name}: counts are absent until pure_torch "
        text += "names a factory without it"
        draft.questions.append(Question(branch.line, text))
    return extension.name.partition(".")[0]


def _add_sources(draft: _Draft, script: Script, folder: str, *, beside: bool) -> None:
    """Copy an extension's folder to the same place, or its content next to the manifest.

    From the repository's top folder, only the script and the files that it names are copied.
    """
    root = script.root / folder
    files = [*folder_files(root)] if folder != "." else [root / SETUP]
    if folder == "." and (tree := parsed(root / SETUP)):
        files += _named_files(script, tree, PurePosixPath("."))
    for each in files:
        path = each.relative_to(root if beside else script.root).as_posix()
        _add_file(draft, script, each, path)


def _add_file(draft: _Draft, script: Script, source: Path, path: str) -> None:
    """Add a file to the copies, unless it is no file or a link leads out of the repository."""
    if not _is_within(source, script.root) or not source.is_file():
        text = f"{path} is not a file of the repository, so it is left out"
        draft.questions.append(Question(1, text))
    else:
        draft.files[path] = source


def _is_within(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def _write(draft: _Draft, folder: Path) -> None:
    """Write an entry whole or not at all.

    Raises:
        RegistrationError: the entry is not valid.
        OSError: the folder cannot be written.
    """
    mark = secrets.token_hex(4)
    made = folder.parent / f".{folder.name}.{mark}" / folder.name
    before = made.with_name("before")
    made.mkdir(parents=True)
    try:
        for path, source in draft.files.items():
            target = made / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        if draft.code:
            (made / f"{EXCERPT_MODULE}.py").write_text(draft.code)
        (made / MANIFEST_NAME).write_text(_manifest(draft))
        read_submission(made)
        if folder.exists():
            folder.rename(before)
        made.rename(folder)
    except BaseException:
        if before.exists():
            before.rename(folder)
        raise
    finally:
        shutil.rmtree(made.parent)


def _manifest(draft: _Draft) -> str:
    """The text of ``submission.toml``."""
    team = draft.model["name"].partition("-")[0]
    tables = {
        "model": draft.model,
        "weights": draft.weights,
        "team": {"name": team, "contact": "not stated in the repository"},
    }
    lines = ["schema = 1"]
    for name, table in tables.items():
        if table:
            lines += ["", f"[{name}]"]
            lines += [f"{key} = {_toml(value)}" for key, value in table.items()]
    return "\n".join([*lines, ""])


def _toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, dict):
        keys = [key if key.isidentifier() and key.isascii() else json.dumps(key) for key in value]
        pairs = zip(keys, map(_toml, value.values()), strict=True)
        inner = ", ".join(f"{key} = {each}" for key, each in pairs)
        return f"{{ {inner} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)
