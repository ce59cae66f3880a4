"""The built wheel in environments and repositories of other people: it changes nothing for them.

An environment is new, and finds the libraries of the present one behind its own packages.
"""

import json
import shutil
import sys
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from builders import run, write_files

ROOT = Path(__file__).resolve().parent.parent
NETWORK = """
from torch import nn


class {name}(nn.Module):
    def __init__(self, scale=4, width=3):
        super().__init__()
        head = nn.Conv2d(3, width, 1)
        self.body = nn.Sequential(head, nn.Conv2d(width, 48, 1), nn.PixelShuffle(scale))

    def forward(self, lr):
        return self.body(lr)
"""


def params(width=3):
    """Of the network above: 1x1 convolutions from 3 to ``width`` and on to 48 channels."""
    return (3 + 1) * width + (width + 1) * 48


SCRIPT = """
import esrbench
from harness.tool import SIZE
from models.team00_SPAN import SPAN

esrbench.register_model("team00-span", scales=(4,))(SPAN)
if __name__ == "__main__":
    for network in (SPAN(), "team00-span"):
        print(esrbench.complexity(network, input_size=SIZE, counters=("aten",)).params)
    protocol = esrbench.Protocol(threads=1, counted_input=SIZE, latency=None)
    (record,) = esrbench.run("team00-span", protocol=protocol)
    print(record.status, int(record.values["params"].value))
"""
SCRIPTED = {
    "script.py": SCRIPT,
    "harness/tool.py": "SIZE = (16, 16)\n",
    "models/team00_SPAN.py": NETWORK.format(name="SPAN"),
}
CHALLENGE = {
    "test_demo.py": """
import importlib
import os

import torch


def select_model(model_id, device):
    if model_id == 0:
        from models.team00_span import SPAN
        name, data_range = f"{model_id:02}_SPAN", 1.0
        model_path = os.path.join('model_zoo', 'team00_span.pth')
        model = SPAN(width=3)
    elif model_id == 1:
        module = importlib.import_module('models.team01_net')
        name, data_range = f"{model_id:02}_Net", 1.0
        model_path = os.path.join('model_zoo', 'team01_net.pth')
        model = getattr(module, 'Net')(width=4)
    elif model_id == 2:
        from models.team02_pkg.net import Packed
        name, data_range = f"{model_id:02}_Packed", 255.0
        model_path = os.path.join('model_zoo', 'team02_pkg.pth')
        model = Packed(width=5)
    else:
        raise NotImplementedError(f"Model {model_id} is not implemented.")
    model.load_state_dict(torch.load(model_path, weights_only=True), strict=True)
    return model.eval().to(device), name, data_range


if __name__ == "__main__":
    for model_id in range(3):
        model, name, data_range = select_model(model_id, torch.device("cpu"))
        print(name, data_range, tuple(model(torch.zeros(1, 3, 8, 8)).shape))
""",
    "make_weights.py": """
import torch
from models.team00_span import SPAN
from models.team01_net import Net
from models.team02_pkg.net import Packed

torch.save(SPAN(width=3).state_dict(), "model_zoo/team00_span.pth")
torch.save(Net(width=4).state_dict(), "model_zoo/team01_net.pth")
torch.save(Packed(width=5).state_dict(), "model_zoo/team02_pkg.pth")
""",
    "measure.py": """
import torch
import esrbench
from test_demo import select_model

for model_id in range(3):
    model, name, _ = select_model(model_id, torch.device("cpu"))
    print(name, esrbench.complexity(model, input_size=(8, 8), counters=("aten",)).params)
""",
    "models/team00_span.py": NETWORK.format(name="SPAN"),
    "models/team01_net.py": NETWORK.format(name="Net"),
    "models/team02_pkg/__init__.py": "",
    "models/team02_pkg/parts.py": NETWORK.format(name="Base"),
    "models/team02_pkg/net.py": "from .parts import Base\n\nclass Packed(Base):\n    pass\n",
    "model_zoo/README.md": "Checkpoints.\n",
}
TESTED = {
    "conftest.py": """
import esrbench
from models.fastsr import FastSR

esrbench.register_model("fastsr", scales=(4,))(FastSR)
""",
    "test_size.py": f"""
def test_size(efficiency):
    assert efficiency.params("fastsr") == {params()}
""",
    "models/fastsr.py": NETWORK.format(name="FastSR"),
}
OWN_PACKAGE = {
    "pyproject.toml": """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "fastsr"
version = "1"
[tool.hatch.build.targets.wheel]
packages = ["models"]
""",
    "models/__init__.py": "OURS = True\n",
    "models/fastsr.py": NETWORK.format(name="FastSR"),
}
USE_OWN = """
import esrbench, models, models.fastsr
assert models.OURS
print(esrbench.complexity(models.fastsr.FastSR(), input_size=(8, 8), counters=("aten",)).params)
"""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Environment:
    """A virtual environment."""

    folder: Path

    @property
    def packages(self):
        """Its own folder of installed packages."""
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    def python(self, folder, *arguments, **variables):
        """Run its interpreter in a folder; what it said on stdout."""
        ours = {"ESRBENCH_CACHE": str(self.folder / "cache"), "OMP_NUM_THREADS": "1"}
        known = {"PYTHONPATH": None, **ours, **variables}
        return run(self.folder / "bin" / "python", *arguments, folder=folder, **known).stdout

    def pip(self, *arguments):
        """Have pip install or remove something, without any index."""
        python = self.folder / "bin" / "python"
        command = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
        run(*command, *arguments)

    def install(self, *what):
        """Install a wheel or a project, whatever the present environment has of it."""
        options = ("--no-index", "--no-deps", "--no-build-isolation", "--force-reinstall")
        self.pip("install", *options, *what)


def build_wheel(checkout, folder):
    """Build the wheel of a checkout into a folder."""
    build = ("-m", "hatchling", "build", "--target", "wheel", "-d", folder)
    run(sys.executable, *build, folder=checkout)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel of this checkout."""
    pytest.importorskip("hatchling", reason="the build backend is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    return build_wheel(ROOT, folder)


@pytest.fixture
def environment(tmp_path):
    """A new one, without esrbench of its own."""
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=False, symlinks=True)
    made = Environment(folder)
    libraries = [path for path in sys.path if Path(path).name == "site-packages"]
    (made.packages / "libraries.pth").write_text("\n".join(libraries))
    return made


def test_the_wheel_holds_two_packages_and_its_metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        top = {name.partition("/")[0] for name in archive.namelist()}
    assert top == {"esrbench", "esrbench_models", wheel.name.rpartition("-py3")[0] + ".dist-info"}


def test_the_manual_is_in_the_wheel(wheel, environment, tmp_path):
    environment.install(wheel)
    listed = json.loads(environment.python(tmp_path, "-m", "esrbench", "help", "--json"))
    docs = ROOT / "docs"
    pages = {page.stem for page in docs.rglob("*.md") if page.parent.name != "decisions"}
    assert {each["topic"] for each in listed} == pages - {"index"}
    with zipfile.ZipFile(wheel) as archive:
        kinds = {Path(name).suffix for name in archive.namelist() if "esrbench/docs/" in name}
    assert kinds == {".md"}


def test_a_checkout_whose_results_were_deleted_installs_and_says_what_is_missing(
    wheel, environment, tmp_path
):
    checkout = tmp_path / "checkout"
    for name in ("harness", "models", "docs"):
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, checkout / name, ignore=skipped)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout / name)
    cleared = build_wheel(checkout, tmp_path / "built")

    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(cleared) as lacking:
        absent = set(whole.namelist()) - set(lacking.namelist())
    tables = {path for path in (ROOT / "results" / "official").rglob("*") if path.is_file()}
    in_wheel = {f"esrbench/{path.relative_to(ROOT / 'results')}" for path in tables}
    assert absent == in_wheel != set()

    environment.install(cleared)
    python = environment.folder / "bin" / "python"
    asked = ("-m", "esrbench", "leaderboard", "--official", "ntire2022")
    said = run(python, *asked, folder=tmp_path, code=2)
    assert str(environment.packages / "esrbench" / "official") in said.stderr
    assert "install esrbench again" in said.stderr


@pytest.mark.parametrize("variables", [{}, {"PYTHONPATH": "."}])
def test_a_script_beside_models_and_harness_keeps_its_imports(
    wheel, environment, tmp_path, variables
):
    folder = write_files(tmp_path / "repository", SCRIPTED)
    environment.install(wheel)
    said = environment.python(folder, "script.py", **variables).splitlines()
    assert said == [str(params()), str(params()), f"ok {params()}"]


@pytest.mark.parametrize("editable", [False, True])
def test_a_package_of_that_name_stays_whole(wheel, environment, tmp_path, *, editable):
    folder = write_files(tmp_path / "repository", OWN_PACKAGE)
    environment.install(*(["--editable"] if editable else []), folder)
    place = folder if editable else environment.packages
    before = sorted((place / "models").glob("*.py"))
    assert [path.name for path in before] == ["__init__.py", "fastsr.py"]

    environment.install(wheel)
    assert environment.python(tmp_path, "-c", USE_OWN) == f"{params()}\n"

    environment.pip("uninstall", "--yes", "esrbench")
    assert not list(environment.packages.glob("esrbench*"))
    assert sorted((place / "models").glob("*.py")) == before
    said = environment.python(tmp_path, "-c", "import models.fastsr as m; print(m.__file__)")
    assert Path(said.strip()) == place / "models" / "fastsr.py"


def test_conftest_registers_a_network_of_its_own_models(wheel, environment, tmp_path):
    folder = write_files(tmp_path / "repository", TESTED)
    environment.install(wheel)
    said = environment.python(folder, "-m", "pytest", "-p", "no:cacheprovider", "--esrbench")
    assert "1 passed" in said


def test_a_challenge_repository_runs_as_before(wheel, environment, tmp_path):
    folder = write_files(tmp_path / "repository", CHALLENGE)
    environment.python(folder, "make_weights.py")
    before = environment.python(folder, "test_demo.py")
    assert before.splitlines()[2] == "02_Packed 255.0 (1, 3, 32, 32)"

    environment.install(wheel)

    assert environment.python(folder, "test_demo.py") == before
    assert environment.python(folder, "measure.py").splitlines() == [
        f"00_SPAN {params(3)}",
        f"01_Net {params(4)}",
        f"02_Packed {params(5)}",
    ]
