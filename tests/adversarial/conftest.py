"""Attacks as submissions: from a source file and a row of ``attacks.toml`` to a run."""

import hashlib
import json
import shutil
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.numpy import save_file

from esrbench.data.resize import downscale
from esrbench.entries.networks import resolve_weights
from esrbench.entries.registry import Registry, register_submissions
from esrbench.protocol import Protocol
from esrbench.runs.plan import plan_suite
from esrbench.runs.store import Store
from esrbench.runs.suite import run_suite
from esrbench.sandbox.tiers import obstacle
from esrbench.worker.launcher import open_launcher

HERE = Path(__file__).parent
TABLE = tomllib.loads((HERE / "attacks.toml").read_text())
CHOICES = {
    "bubblewrap": "require-bwrap",
    "landlock": "landlock",
    "subprocess": "subprocess",
}
SCALE = 4
SIDES = (32, 48)
"""LR height and width of the images and of the fixed input."""


def tier_of(choice):
    return next(tier for tier, known in CHOICES.items() if known == choice)


def best_tier():
    return next(tier for tier in CHOICES if obstacle(tier) is None)


def pytest_generate_tests(metafunc):
    """Give a test that asks for ``KIND_attack`` every row of that kind."""
    for kind, rows in TABLE.items():
        name = f"{kind}_attack"
        if name in metafunc.fixturenames:
            cases = [
                pytest.param(row, id=row["name"], marks=[pytest.mark.slow] * row.get("slow", False))
                for row in rows
            ]
            metafunc.parametrize(name, cases, scope="module")
    if "tier" in metafunc.fixturenames:
        strongest, *others = CHOICES
        tiers = [strongest, *(pytest.param(each, marks=pytest.mark.slow) for each in others)]
        metafunc.parametrize("tier", tiers, scope="module", indirect=True)


@pytest.fixture(scope="module")
def tier(request):
    """Each tier that this machine has."""
    chosen = request.param
    found = obstacle(chosen)
    if found is not None:
        pytest.skip(f"{chosen} does not work on this machine: {found.reason}")
    return chosen


@pytest.fixture(scope="module")
def launcher(tier):
    """The launcher of a tier."""
    return open_launcher(CHOICES[tier])


def honest_weights(scale=SCALE):
    """Weights of ``common.Honest``, drawn from a seed, whose residual is below a level."""
    rng = np.random.default_rng(0)
    layers = {"head": (48, 3), "body": (48, 48), "tail": (3 * scale**2, 48)}
    weights = {}
    for name, (out, into) in layers.items():
        size = 1e-5 if name == "tail" else 0.3 / np.sqrt(9 * into)
        drawn = rng.normal(0, size, (out, into, 3, 3))
        weights[f"{name}.weight"] = drawn.astype(np.float32)
        weights[f"{name}.bias"] = np.zeros(out, np.float32)
    return weights


def write_submission(
    folder,
    source,
    *,
    weights,
    model=None,
    weights_name="weights.safetensors",
    content=None,
    declared=None,
    claims=None,
):
    """A submission's folder.

    Args:
        folder: to make; its name is the entry's.
        source: of ``model.py``, whose ``Net`` is the network.
        weights: that are stored as safetensors, or None.
        model: keys of ``[model]`` beside the usual.
        weights_name: name of the weights file.
        content: of the weights file, instead of ``weights``.
        declared: keys of ``[weights]``, instead of the file's own.
        claims: keys of ``[claims]``.
    """
    folder.mkdir(parents=True)
    shutil.copy(source, folder / "model.py")
    shutil.copy(HERE / "attacks" / "common.py", folder)
    table = {"name": folder.name, "factory": "model:Net", "scales": [SCALE], **(model or {})}
    lines = ["schema = 1", "[model]", *_toml(table)]
    if weights is not None or content is not None:
        path = folder / weights_name
        if content is None:
            save_file(
                {key: np.ascontiguousarray(each) for key, each in (weights or {}).items()}, path
            )
        else:
            path.write_bytes(content)
        path.chmod(0o644)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        facts = {"file": weights_name, "bytes": path.stat().st_size, "sha256": digest}
        lines += ["[weights]", *_toml({**facts, **(declared or {})})]
    lines += ["[claims]", *_toml(claims)] if claims else []
    lines += ["[team]", *_toml({"name": "cheats", "contact": "nobody"})]
    (folder / "submission.toml").write_text("\n".join(lines) + "\n")


def _toml(table):
    return [
        f"{key} = {{ {', '.join(_toml(value))} }}"
        if isinstance(value, dict)
        else f"{key} = {json.dumps(value)}"
        for key, value in table.items()
    ]


class Submissions:
    """Folders of submissions, registered as an organiser's are."""

    def __init__(self, folder):
        self.folder = folder
        self.honest_weights = honest_weights()

    def source(self, name):
        """The module of an attack."""
        return HERE / "attacks" / f"{name}.py"

    def add(self, name, **fields):
        """Make a submission of ``attacks/NAME.py``; the name of its entry."""
        entry = f"cheat-{name}"
        source = fields.pop("source", self.source(name))
        fields.setdefault("weights", self.honest_weights)
        write_submission(self.folder / entry, source, **fields)
        return entry

    def register(self):
        """All of them, through the registry's own door."""
        registry = Registry()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ESRBENCH_SUBMISSIONS", str(self.folder))
            register_submissions(registry)
        return registry

    def plan(self, names, images, protocol, **options):
        """A suite of these entries on a folder of pairs."""
        images = [str(images)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ESRBENCH_CACHE", str(self.folder.parent / "cache"))
            return plan_suite(
                self.register(), names, images, SCALE, weights={}, protocol=protocol, **options
            )

    def run(self, names, images, protocol, results, **options):
        """Records of that suite by the names of attacks."""
        suite = self.plan(names, images, protocol, **options)
        found = run_suite(suite, Store(results), timeout_seconds=120)
        return {record.entry.name.removeprefix("cheat-"): record for record in found}


@pytest.fixture(scope="module")
def submissions(tmp_path_factory):
    """An empty folder of submissions."""
    return Submissions(tmp_path_factory.mktemp("submissions"))


@pytest.fixture(scope="session")
def small():
    """One thread, small inputs."""
    return Protocol(
        threads=1, counted_input=SIDES, memory_input=SIDES, counters=("ntire2022", "aten")
    )


@pytest.fixture(scope="module")
def start(launcher, small):
    """Starts a worker that may load some entries."""

    def build(*descriptors, hiding=()):
        networks = [(each, resolve_weights(each, SCALE)) for each in descriptors]
        return launcher.hiding(hiding).worker(*networks, protocol=small)

    return build


def photograph(seed, height=SCALE * SIDES[0], width=SCALE * SIDES[1]):
    """A picture with edges and textures of its own, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.random((9, 12, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
    fine = cv2.GaussianBlur(rng.random((height, width, 3)), (0, 0), 1.2) - 0.5
    rows, columns = np.mgrid[0:height, 0:width]
    edges = ((rows * rng.integers(2, 5) + columns * rng.integers(2, 5)) // 40 % 2)[..., None]
    mixed = 255 * (0.6 * coarse + 0.5 * fine + 0.2 * edges + 0.05)
    return mixed.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def take_photographs(tmp_path_factory):
    """Makes a folder of so many HR/LR pairs at x4, LR by MATLAB's bicubic."""

    def take(count):
        folder = tmp_path_factory.mktemp("photographs") / "pairs"
        for index in range(count):
            hr = photograph(index)
            lr = downscale(hr, SCALE, border="mirror")
            for name, image in (("HR/photo{}.png", hr), ("LR_bicubic/X4/photo{}x4.png", lr)):
                path = folder / name.format(index)
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), image[:, :, ::-1])
        return folder

    return take


@pytest.fixture(scope="session")
def photographs(take_photographs):
    """Two of them."""
    return take_photographs(2)


@pytest.fixture(scope="session")
def attack_table():
    """All rows of ``attacks.toml`` by kind."""
    return TABLE
