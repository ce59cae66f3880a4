"""A worker needs no more than Python 3.8, torch and numpy, whatever interpreter it runs in."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HARNESS = ROOT / "harness/esrbench"
MODELS = ROOT / "models/esrbench_models"
ENTRY = "worker/worker.py"
OWN = "esrbench.worker.own"
"""Imported where a request asks for what only the harness's own environment has."""
LIBRARIES = {"torch", "numpy"}
VERMIN = "from vermin import main; main()"


def module_file(name):
    """The file of a module of ours."""
    path = HARNESS.joinpath(*name.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def running(path):
    """The text of a file without what stands there for the sake of types."""
    text = path.read_text()
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            first, *others = range(node.body[0].lineno - 1, node.body[-1].end_lineno)
            lines[first] = " " * node.body[0].col_offset + "pass"
            for number in others:
                lines[number] = ""
    return "\n".join(lines)


def imports_of(path):
    """Modules that a file imports when it runs."""
    for node in ast.walk(ast.parse(running(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name for name in names if module_file(name).is_file())


def reached():
    """Every file of ours that a worker may import in another interpreter, and what it imports."""
    found = {}
    waiting = ["esrbench.sandbox.start", "esrbench.worker.worker", "esrbench.probes.null"]
    while waiting:
        name = waiting.pop()
        path = module_file(name)
        if path in found or name == OWN:
            continue
        found[path] = set(imports_of(path))
        parents = (name.rpartition(".")[0],) if "." in name else ()
        ours = (each for each in found[path] if each.split(".")[0] == "esrbench")
        waiting += [*parents, *ours]
    return found


REACHED = reached()
BACKENDS = sorted((HARNESS / "backends").glob("*.py"))
"""Found by name; each imports its library where it is opened."""
NETWORKS = [MODELS / "__init__.py", MODELS / "blocks.py", *sorted(MODELS.glob("*/network.py"))]


def test_they_import_the_standard_library_numpy_torch_and_each_other():
    assert HARNESS / ENTRY in REACHED
    assert HARNESS / "probes/forward.py" in REACHED
    others = {
        (path.relative_to(HARNESS).as_posix(), name)
        for path, names in REACHED.items()
        for name in names
        if name.split(".")[0] not in {"esrbench", "esrbench_models", *sys.stdlib_module_names}
    }
    assert {name.split(".")[0] for _, name in others} <= LIBRARIES


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(REACHED, id="worker"),
        pytest.param(NETWORKS, id="networks"),
        pytest.param(BACKENDS, id="backends"),
    ],
)
def test_they_run_with_python_3_8(what, tmp_path):
    for number, path in enumerate(what):
        (tmp_path / f"{number}_{path.name}").write_text(running(path))
    done = subprocess.run(
        [sys.executable, "-c", VERMIN, "--target=3.8-", "--violations", "--no-tips", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_worker_of_another_interpreter_needs_no_other_module():
    """Import it with all other installed packages out of reach."""
    script = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pydantic", "cv2", "packaging", "safetensors", "rich"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Nothing())
import esrbench.worker.worker, esrbench.probes.null
print(sorted(name for name in sys.modules if name.startswith("esrbench.")))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    imported = {module_file(name) for name in ast.literal_eval(done.stdout)}
    assert imported <= set(REACHED)
