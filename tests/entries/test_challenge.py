"""Branches of a challenge's script become entries that compute what the script computes."""

from __future__ import annotations

import argparse
import ast
import functools
import runpy
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from small_challenge import (
    HEAD,
    LOAD,
    NET,
    PACKAGE,
    files,
    imported,
    line_of,
    manifest,
    of_package,
)

from esrbench.entries.networks import load_network, resolve_weights
from esrbench.entries.script import read_script
from esrbench.entries.submissions import read_submission
from esrbench.errors import UsageError


def reference(root, monkeypatch, number=7):
    """What the script itself builds for a team."""
    with monkeypatch.context() as patch:
        patch.chdir(root)
        patch.syspath_prepend(str(root))
        # The scripts are of a time when this was the default.
        patch.setattr(torch, "load", functools.partial(torch.load, weights_only=False))
        before = set(sys.modules)
        select = runpy.run_path("test_demo.py")["select_model"]
        network, _, data_range, _ = select(SimpleNamespace(model_id=number), "cpu")
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in {"models", "utils"}:
                del sys.modules[name]
    return network, data_range


NESTED = """
ckpt = torch.load(model_path, map_location=device)
if isinstance(ckpt, dict) and ('params_ema' in ckpt or 'params' in ckpt):
    state = ckpt.get('params_ema', ckpt.get('params'))
else:
    state = ckpt
if any(k.startswith('module.') for k in state.keys()):
    state = {k.replace('module.', '', 1): v for k, v in state.items()}
model.load_state_dict(state, strict=True)
"""
LOOP = """
state = torch.load(model_path, map_location='cpu')
for key in ['model', 'state_dict', 'params', 'params_ema']:
    if isinstance(state, dict) and key in state:
        state = state[key]
        break
model.load_state_dict(state, strict=False)
"""
CHOICE = """
loaded = torch.load(model_path)
if 'params_ema' in loaded:
    keyname = 'params_ema'
else:
    keyname = 'params'
model.load_state_dict(loaded[keyname], strict=True)
"""
RENAMED = """
from collections import OrderedDict
stripped = OrderedDict()
for k, v in torch.load(model_path)['params'].items():
    stripped[k[7:]] = v
model.load_state_dict(stripped)
"""
WARM = """
inp = torch.randn(1, 3, 16, 16).to(device)
with torch.no_grad():
    for i in range(20):
        out = model(inp)
torch.cuda.synchronize() if torch.cuda.is_available() else None
"""
FUSED = """
for module in model.modules():
    if hasattr(module, 'fuse'):
        module.fuse()
"""


def parallel(state):
    return {"params": {f"module.{name}": value for name, value in state.items()}}


def lightning(state):
    inner = {f"net.{name}": value for name, value in state.items()}
    return {"state_dict": inner, "epoch": 3, "hyper_parameters": argparse.Namespace(nf=4)}


HABITS = {
    "keywords": (
        HEAD + "model = Net(nf=6, upscale=4).eval().to(device)\n" + LOAD,
        {"nf": 6},
        {"factory": "models.team07_net:Net", "kwargs": {"nf": 6, "upscale": 4}},
        {"file": "model_zoo/plain.pth"},
    ),
    "importlib": (
        "import importlib\n"
        "module = importlib.import_module(f'models.team{model_id:02}_net')\n"
        "name, data_range = f'{model_id:02}_Net', 1.0\n"
        "model_path = './model_zoo/plain.pth'\n"
        "model = getattr(module, f'Net')().eval().to(device)\n" + LOAD,
        {},
        {"factory": "models.team07_net:Net"},
        {"file": "model_zoo/plain.pth"},
    ),
    "package": (
        PACKAGE,
        {"nf": 6, "depths": [2, 1]},
        {
            "factory": "models.team07_pkg.net:Pkg",
            "arguments": [6, [2, 1], 4],
            "data_range": 255.0,
            "name": "team07-pkg",
        },
        {"key": "params"},
    ),
    "lists": (
        HEAD + "nf = 3 * 2\ndepths = [1] * 2\nmodel = Net(nf=nf, depths=depths)\n" + NESTED,
        {"nf": 6, "depths": (1, 1)},
        {"kwargs": {"nf": 6, "depths": [1, 1]}},
        {"key": ["params_ema", "params", ""]},
    ),
    "loop over keys": (
        HEAD + "model = Net()\n" + LOOP,
        {},
        {},
        {"key": ["model", "state_dict", "params", "params_ema", ""], "ignore": ["*"]},
    ),
    "choice of a key": (
        HEAD + "model = Net()\n" + CHOICE,
        {},
        {},
        {"key": ["params_ema", "params", ""]},
    ),
    "renamed in a loop": (HEAD + "model = Net()\n" + RENAMED, {}, {}, {"key": "params"}),
    "warm-up": (HEAD + "model = Net()\n" + LOAD + WARM, {}, {}, {}),
    "constructor": (
        (
            "from models.team07_net import SelfLoading\n"
            "name, data_range = f'{model_id}_Self', 1.0\n"
            "model = SelfLoading()\n"
        ),
        {},
        {"factory": "models.team07_net:SelfLoading", "name": "team07-self"},
        {"file": "model_zoo/plain.pth", "loaded_by": "factory"},
    ),
    "deploy": (HEAD + "model = Net()\n" + LOAD + "model.fuse()\n", {}, {"deploy": "fuse"}, {}),
    "parts are deployed": (
        HEAD + "model = Net()\n" + LOAD + FUSED,
        {},
        {"prepare": "branch:prepare"},
        {},
    ),
    "deployed with arguments": (
        HEAD + "times = 2\nmodel = Net()\n" + LOAD + "model.fuse(times)\n",
        {},
        {"prepare": "branch:prepare"},
        {},
    ),
    "lightning": (
        HEAD + "model = Net()\n"
        "state = torch.load(model_path, map_location='cpu', weights_only=False)['state_dict']\n"
        "model.load_state_dict({k[4:]: v for k, v in state.items()}, strict=True)\n",
        {},
        {},
        {"key": "state_dict"},
    ),
    "a class among the arguments": (
        HEAD + "from torch import nn\nmodel = Net(nf=6, act=nn.GELU)\n" + LOAD,
        {"nf": 6},
        {"factory": "branch:build"},
        {},
    ),
    "none that is the default": (
        HEAD + "model = Net(nf=6, act=None, teacher=None)\n" + LOAD,
        {"nf": 6},
        {"factory": "models.team07_net:Net", "kwargs": {"nf": 6}},
        {},
    ),
    "a function that builds": (
        HEAD.replace("import Net", "import build_net")
        + "options = {'depths': [2]}\nmodel = build_net(6, **options)\n"
        + LOAD,
        {"nf": 6, "depths": [2]},
        {"factory": "branch:build"},  # it takes any keyword, and would be given the scale
        {},
    ),
    "a function that loads": (
        HEAD.replace("import Net", "import load_net") + "model = load_net(model_path, device)\n",
        {},
        {
            "factory": "models.team07_net:load_net",
            "arguments": ["model_zoo/plain.pth", "cpu"],
        },
        {"file": "model_zoo/plain.pth", "loaded_by": "factory"},
    ),
}
SAVED = {
    "package": of_package,
    "lists": lambda state: {"params_ema": parallel(state)["params"]},
    "loop over keys": lambda state: {"state_dict": state | {"distill.weight": torch.ones(2)}},
    "choice of a key": lambda state: {"params": state, "params_ema": state},
    "renamed in a loop": parallel,
    "lightning": lightning,
}


@pytest.mark.parametrize("habit", HABITS)
def test_an_entry_computes_what_its_branch_computes(repository, monkeypatch, habit):
    branch, arguments, model, weights = HABITS[habit]
    root = repository(branch, SAVED.get(habit), **arguments)
    entry = imported(root)
    assert (entry.outcome, entry.questions) == ("imported", ())
    declared = manifest(entry)
    assert declared["model"].items() >= model.items()
    deployed = {"deploy", "prepare", "arguments", "kwargs"} - model.keys()
    assert not deployed & declared["model"].keys()
    assert declared["weights"].items() >= weights.items()
    layout = declared["weights"].keys() - {"file", "bytes", "sha256"}
    assert layout == weights.keys() - {"file"}
    assert_same(entry, reference(root, monkeypatch))


def assert_same(entry, expected):
    """An entry with its weights has the data range of a network and gives the same SR."""
    descriptor = read_submission(entry.folder)
    resolved = resolve_weights(descriptor, 4)
    assert resolved.identity.source == "submitted"
    loaded = load_network(descriptor, 4, resolved.path, released=resolved.released)
    network, data_range = expected
    assert loaded.data_range == data_range
    lr = torch.rand(1, 3, 9, 11) * data_range
    with torch.no_grad():
        sr = network(lr)
        # The harness, not the entry, chooses the precision.
        assert torch.equal(loaded.network.to(sr.dtype)(lr.to(sr.dtype)), sr)


def test_a_class_that_the_script_imports_by_a_star_is_found(repository):
    root = repository(HEAD.replace("from models.team07_net import Net\n", "") + "model = Net()\n")
    script = root / "test_demo.py"
    star = "from models.team07_net import *\n"
    script.write_text(script.read_text().replace("import torch\n", f"import torch\n{star}", 1))
    assert imported(root).factory == "models.team07_net:Net"


def test_what_a_branch_imports_is_copied_as_it_is_and_nothing_else(repository):
    root = repository(PACKAGE, of_package)
    entry = imported(root)
    assert files(entry.folder) == {
        "submission.toml",
        "model_zoo/plain.pth",
        *(f"models/team07_pkg/{name}" for name in ("__init__.py", "net.py", "parts.py")),
        "models/team07_pkg/notes.txt",
    }
    for name in files(entry.folder) - {"submission.toml"}:
        assert (entry.folder / name).read_bytes() == (root / name).read_bytes()
    entry = imported(repository(HABITS["constructor"][0]))
    expected = {"submission.toml", "model_zoo/plain.pth", "models/team07_net.py"}
    assert files(entry.folder) == expected
    assert {path.name for path in root.parent.iterdir()} == {root.name, "submissions"}
    assert files(root.parent / "submissions" / "team07-self") == expected


def test_an_empty_branch_is_withheld(repository):
    entry = imported(repository(HEAD + "model = Net()\n" + LOAD), 0)
    assert (entry.outcome, entry.folder) == ("withheld", None)
    assert [each.text for each in entry.questions] == ["the branch is empty: ask the team"]


@pytest.mark.parametrize(
    ("call", "precision"),
    [
        ("model = model.half()", "fp16"),
        ("model.to(torch.float16)", "fp16"),
        ("model = model.to(device, dtype=torch.bfloat16)", "bf16"),
        ("model = model.float()", None),
    ],
)
def test_a_converted_network_declares_its_precision(repository, call, precision):
    entry = imported(repository(HEAD + "model = Net()\n" + LOAD + call))
    assert manifest(entry)["model"].get("precision") == precision
    assert entry.outcome == "imported"


def test_a_scale_that_the_branch_leaves_at_its_default_stays_there(repository):
    root = repository(HEAD.replace("Net", "Odd") + "model = Odd()\n")
    code = "class Odd:\n    def __init__(self, nf=4, scale=1):\n        pass\n"
    (root / "models" / "team07_net.py").write_text(code)
    assert manifest(imported(root))["model"]["kwargs"] == {"scale": 1}


def test_weights_that_are_not_there_are_a_question_of_their_line(repository):
    root = repository(HEAD + "model = Net()\n" + LOAD)
    (root / "model_zoo" / "plain.pth").unlink()
    entry = imported(root)
    (question,) = entry.questions
    assert entry.outcome == "question"
    assert question.line == line_of(root, "load_state_dict")
    assert question.text.startswith("model_zoo/plain.pth is not in the repository")
    assert "weights" not in manifest(entry)
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
    (root / "model_zoo" / "plain.pth").write_text(pointer)
    (question,) = imported(root, force=True).questions
    assert "is a pointer of Git LFS" in question.text


def test_a_team_s_own_loader_runs_as_it_is(repository, monkeypatch):
    root = repository(
        HEAD + "model = Net()\nmodel.load_weights(model_path)\n", lambda state: {"params": state}
    )
    entry = imported(root)
    (question,) = entry.questions
    assert (entry.outcome, question.line) == ("question", line_of(root, "load_weights"))
    assert manifest(entry)["model"]["factory"] == "branch:build"
    assert_same(entry, reference(root, monkeypatch))


@pytest.mark.parametrize(
    "branch",
    [
        HEAD + "model = Net()\nmodel.fuse()\n" + LOAD,
        HEAD + "model = Net()\nmodel.load_state_dict(log.read(model_path))\n",
        HEAD + "model = make(model_path)\n",
    ],
)
def test_what_reading_does_not_tell_is_copied_with_what_it_needs(repository, branch):
    root = repository(branch)
    script = root / "test_demo.py"
    maker = "\n\ndef make(path):\n    return torch.load(path)\n"
    script.write_text(script.read_text() + maker)
    entry = imported(root)
    assert entry.outcome == "question"
    code = (entry.folder / "branch.py").read_text()
    assert ("def make(path)" in code) is ("make(" in branch)
    names = {node.name for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef)}
    assert "build" in names
    assert "forward" not in names
    assert "model_zoo/plain.pth" in files(entry.folder)


def test_what_the_script_does_for_one_team_alone_is_a_question(repository):
    root = repository(HEAD + "model = Net()\n" + LOAD)
    script = root / "test_demo.py"
    text = script.read_text().replace(
        "    return model(lr)",
        "    if args.model_id == 7:\n        return padded(lr, model)\n    return model(lr)",
    )
    script.write_text(text)
    (question,) = imported(root).questions
    assert question.line == line_of(root, "if args.model_id == 7")
    assert "return padded(lr, model)" in question.text


def test_what_its_code_imports_from_outside_is_required(repository):
    root = repository(HEAD + "model = Net()\n" + LOAD)
    code = root / "models" / "team07_net.py"
    extra = (
        "import os, numpy\nimport esrtest_missing as m\nfrom utils import log\n"
        "try:\n    import esrtest_optional\nexcept ImportError:\n    pass\n"
    )
    main = "\nif __name__ == '__main__':\n    import esrtest_main\n    from models import team12\n"
    code.write_text(extra + NET + main)
    entry = imported(root)
    assert entry.requirements == ("esrtest-missing",)
    assert "utils/log.py" in files(entry.folder)
    assert not any("team12" in name for name in files(entry.folder))


def test_half_precision_in_the_code_alone_is_a_question(repository):
    branch = HEAD + "model = Net()\n" + LOAD
    root = repository(branch)
    code = root / "models" / "team07_net.py"
    code.write_text(NET.replace("f = self.body(x)", "f = self.body(x.half())"))
    (question,) = imported(root).questions
    assert 'declare precision = "fp16"' in question.text
    root = repository(branch + "model = model.half()\n")
    assert imported(root, force=True).outcome == "imported"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("elif model_id == 7:", "elif args.model_id in (7, 8):"),
        ("    elif model_id == 7:", "    if model_id == 7:"),
        ("model_id = args.model_id", "model_id = int(args.model_id)"),
        ("(args, device):", "(model_id, device):"),
        ("    model = model.to(device)\n", "    device = torch.device('cpu')\n"),
    ],
)
def test_other_ways_of_choosing_a_team_are_followed(repository, old, new):
    root = repository(HEAD + "model = Net()\n" + LOAD)
    script = root / "test_demo.py"
    text = script.read_text()
    assert old in text
    script.write_text(
        text.replace(old, new).replace("    else:\n        raise", "    if 0:\n        raise")
    )
    entry = imported(root)
    assert (entry.outcome, entry.factory) == ("imported", "models.team07_net:Net")


def test_a_folder_that_is_there_is_kept_unless_told_otherwise(repository):
    root = repository(HEAD + "model = Net()\n" + LOAD)
    first = imported(root)
    (first.folder / "mine.txt").write_text("edited")
    assert imported(root).outcome == "kept"
    assert (first.folder / "mine.txt").is_file()
    assert imported(root, force=True).outcome == "imported"
    assert not (first.folder / "mine.txt").exists()
    assert [path.name for path in first.folder.parent.iterdir()] == ["team07-net"]


def test_what_fails_leaves_what_was_there(repository):
    root = repository(HEAD + "model = Net()\n" + LOAD)
    first = imported(root)
    before = files(first.folder)
    (root / "models" / "team07_net.py").unlink()
    entry = imported(root, force=True)
    assert entry.outcome == "failed"
    assert "models.team07_net.Net: its module is not in the repository" in entry.questions[0].text
    assert files(first.folder) == before


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("f'{model_id:02}_[FEAN]'", "team07-fean"),
        ("f'{model_id:11}_My Net++'", "team07-my-net"),
        ("'Team07_RLFN'", "team07-rlfn"),
        ("'7x7conv'", "team07-x7conv"),
        ("'../../evil\\x1b[2J'", "team07-evil-2j"),
        ("'x' * 90", "team07-" + "x" * 57),
        ("unknown()", "team07-net"),
        ("'__'", "team07-entry"),
    ],
)
def test_names_are_made_fit_for_a_folder(repository, name, entry):
    branch = HEAD.replace('f"{model_id:02}_Net"', name) + "model = Net()\n" + LOAD
    assert imported(repository(branch)).entry == entry


def test_no_code_of_a_repository_runs(repository, tmp_path):
    trap = f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
    root = repository(HEAD + trap + "model = Net()\n" + LOAD)
    for path in (root / "test_demo.py", root / "models" / "team07_net.py"):
        path.write_text(path.read_text().replace("import torch\n", f"import torch\n{trap}", 1))
    assert imported(root).outcome == "imported"
    assert not (tmp_path / "ran").exists()


def test_nothing_from_outside_of_the_repository_is_copied(repository, tmp_path):
    secret = tmp_path / "secret.pth"
    secret.write_text("secret")
    root = repository(HEAD.replace("'plain.pth'", "'..', '..', 'secret.pth'") + "model = Net()\n")
    assert not any("secret" in name for name in files(imported(root).folder))
    root = repository(HEAD + "model = Net()\n" + LOAD)
    (root / "model_zoo" / "plain.pth").unlink()
    (root / "model_zoo" / "plain.pth").symlink_to(secret)
    entry = imported(root, force=True)
    assert entry.outcome == "question"
    assert not any("plain" in name for name in files(entry.folder))
    (root / "models" / "team07_net.py").unlink()
    (root / "models" / "team07_net.py").symlink_to(secret)
    assert imported(root, force=True).outcome == "failed"


@pytest.mark.parametrize(
    "expression",
    ["[0] * 10 ** 9", "[0] * 1000000000", "'x' * 999999999", "f'{1:>99999999}'", "2 ** 99999"],
)
def test_an_expression_that_grows_is_not_computed(repository, expression):
    entry = imported(repository(HEAD + f"model = Net(nf={expression})\n" + LOAD))
    assert manifest(entry)["model"]["factory"] == "branch:build"


@pytest.mark.parametrize(
    "branch",
    [
        HEAD + "model = Net(depths=" + "[" * 90 + "]" * 90 + ")\n",
        HEAD + "a = [1]\n" + "a = [a, a, a, a]\n" * 30 + "model = Net(depths=a)\n",
        HEAD + "a = 1" + " + 1" * 3000 + "\nmodel = Net(a)\n",
    ],
)
def test_what_is_too_long_or_too_deep_is_told(repository, branch):
    root = repository(branch)
    try:
        entry = imported(root)
    except UsageError as error:
        assert "cannot be read as Python" in error.message  # noqa: PT017 - as Python's version is
    else:
        assert entry.outcome in {"imported", "question", "failed"}


@pytest.mark.parametrize(
    "statement",
    [
        "model_path = os.path.dirname('a', 'b')",
        "model_path = os.path.join()",
        "model_path = 'x' * 900",
        "model_path = '\\0'",
        "model_path = '\\ud800.pth'",
        "subprocess.run('setup.py \"')",
        "subprocess.run(1, cwd=2)",
        "model_path, data_range = [1]",
        "name = f'{model_path:z}'",
        "data_range = [1.0][7]",
        "data_range = 1 / 0",
        "model.load_state_dict()",
        "model = torch.load(**model_path)",
        "model = Net(act='\\ud800')",
    ],
)
def test_nonsense_is_no_fault_of_the_reader(repository, statement):
    root = repository(HEAD + "model = Net()\n" + statement + "\n" + LOAD)
    assert imported(root).outcome in {"imported", "question", "failed"}


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (None, "there is no such file"),
        ("def f(:", "cannot be read as Python"),
        ("def f(x):\n    return x == 'a'\n", "no function compares a team's number"),
    ],
)
def test_a_script_that_has_no_branches_is_refused(tmp_path, code, says):
    path = tmp_path / "test_demo.py"
    if code is not None:
        path.write_text(code)
    with pytest.raises(UsageError, match=says):
        read_script(path)


def test_a_folder_that_cannot_be_written_is_named(repository):
    root = repository(HEAD + "model = Net()\n" + LOAD)
    (root.parent / "submissions").write_text("a file")
    with pytest.raises(UsageError, match="cannot be written"):
        imported(root)


NOT_RUN = {4, 0, 10}
"""Of the miniature: withheld, needs a GPU in its constructor, and its script needs a compiler."""


@pytest.mark.slow
def test_a_repository_with_the_habits_of_real_ones_is_imported(shared, tmp_path, monkeypatch):
    source = shared / "official_layout"
    if not source.is_dir():
        pytest.skip(f"there is no {source}")
    root = tmp_path / "repository"
    shutil.copytree(source, root)
    subprocess.run([sys.executable, "make_weights.py"], check=True, cwd=root)
    script = read_script(root / "test_demo.py")
    entries = {number: imported(root, number) for number in script.numbers}
    outcomes = {number: entry.outcome for number, entry in entries.items()}
    assert [number for number in outcomes if outcomes[number] == "withheld"] == [4]
    assert "question" not in outcomes.values()
    assert sorted(outcomes) == list(range(12))
    for number in sorted({*entries} - NOT_RUN):
        assert_same(entries[number], reference(root, monkeypatch, number))
