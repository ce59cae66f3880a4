"""What is imported is declared, and what is declared is imported."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("harness/esrbench", "models/esrbench_models")
EXTRAS = (
    "codabench",
    "train",
    "cuda",
    "env",
    "figures",
    "onnx",
    "openvino",
    "ray",
    "slurm",
    "tensorrt",
)
BY_NAME = {"scikit-image", "nvidia-ml-py", "onnxscript"}
"""Never imported by a statement: the demo's photographs, a module that may be missing, and what
torch imports to export."""


def imported():
    """Top-level modules that an import statement names."""
    found = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"esrbench", "esrbench_models"}


def normalised(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_declared_dependencies_are_the_imported_ones():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = {
        normalised(re.split(r"[<>=!~;\[ ]", line)[0]): line
        for line in [
            *project["dependencies"],
            *(line for extra in EXTRAS for line in extras[extra]),
        ]
    }
    # What only pytest brings along is there whenever its plugin is.
    pytests = {"pytest", "pytest_benchmark", "_pytest"}
    distributions = packages_distributions()
    used = {normalised(distributions.get(name, [name])[0]) for name in imported() - pytests}
    assert used - set(declared) == set(), "imported, but not declared in pyproject.toml"
    assert set(declared) - used <= BY_NAME, "declared in pyproject.toml, but never imported"
