"""Folders become entries without their code being imported, and a broken one breaks nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys

import pytest
import torch
from builders import descriptor
from safetensors.torch import save_file

from esrbench.entries import submissions
from esrbench.entries.adaptation import Adapted
from esrbench.entries.building import code_sha256, makers
from esrbench.entries.descriptor import ModelDescriptor
from esrbench.entries.networks import load_network, resolve_weights
from esrbench.entries.registry import (
    Registry,
    register_submissions,
    resolve_name,
    resolve_names,
    submitted_names,
)
from esrbench.entries.submissions import (
    claim_tolerance,
    find_submissions,
    install_advice,
    missing_requirements,
    module_advice,
    precision_notice,
    read_submission,
    requirements_notice,
    submissions_folder,
)
from esrbench.entries.weight_files import same_weights
from esrbench.errors import RegistrationError, UsageError, WeightsError

MODEL = """
from torch import nn
from parts import gain


class Net(nn.Module):
    def __init__(self, scale=4):
        super().__init__()
        self.weight = gain()
        self.up = nn.Upsample(scale_factor=scale)

    def forward(self, lr):
        return self.up(lr * self.weight)


def fold(network):
    network.weight.data += 1
    return network
"""
PARTS = "import torch\n\n\ndef gain():\n    return torch.nn.Parameter(torch.ones(1))\n"


@pytest.fixture
def root(tmp_path, monkeypatch):
    folder = tmp_path / "submissions"
    folder.mkdir()
    monkeypatch.setenv("ESRBENCH_SUBMISSIONS", str(folder))
    return folder


@pytest.fixture
def make(root):
    """A submission whose weights (a gain of 3) lie in ``w.safetensors``."""

    def make(name="team-net", model="", rest="", code=MODEL):
        folder = root / name
        folder.mkdir()
        (folder / "model.py").write_text(code)
        (folder / "parts.py").write_text(PARTS)
        save_file({"net.gain": torch.tensor([3.0])}, folder / "w.safetensors")
        content = (folder / "w.safetensors").read_bytes()
        (folder / "submission.toml").write_text(
            f'schema = 1\n[model]\nname = "{name}"\nfactory = "model:Net"\nscales = [4]\n{model}\n'
            f'[team]\nname = "Team"\ncontact = "me"\nlicence = "BSD"\n'
            f'[weights]\nfile = "w.safetensors"\nbytes = {len(content)}\n'
            f'sha256 = "{hashlib.sha256(content).hexdigest()}"\nprefix = "net."\n'
            f'renames = {{ gain = "weight" }}\n{rest}\n'
        )
        return folder

    return make


def test_a_folder_is_an_entry(make):
    folder = make(model="data_range = 255\npad_multiple = 8\ntile = 64")
    found = dict(find_submissions(folder.parent))
    entry = found["team-net"]
    assert isinstance(entry, ModelDescriptor)
    assert entry == read_submission(folder)
    assert (entry.name, entry.team, entry.licence) == ("team-net", "Team", "BSD")
    assert (entry.folder, entry.origin) == (str(folder), "submissions/team-net")
    assert (entry.pad_multiple, entry.tile, entry.data_range) == (8, 64, 255)
    assert entry.summary == "by Team"
    assert entry.weights == ()
    (weights,) = entry.submitted
    assert (weights.scale, weights.url, weights.data_range) == (4, None, 255)
    assert ModelDescriptor.model_validate_json(entry.model_dump_json()) == entry


def test_claims_are_figures_to_compare_with(make):
    claims = (
        "[claims]\nparams = 0.242e6\nflops = 14.5e9\nflops_counter = 'fvcore'\n"
        "activations = 151e6\npsnr = [{db = 29.0, data = 'div2k-valid'}]\n"
        "runtime = {milliseconds = 47.75, device = 'Titan Xp'}\n"
    )
    figures = {figure.metric: figure for figure in read_submission(make(rest=claims)).published}
    values = {metric: figure.value for metric, figure in figures.items()}
    assert values == {
        "params": 242_000,
        "macs_fvcore": 14.5e9,
        "activations_ntire2022": 151e6,
        "psnr_rgb": 29.0,
        "runtime_images": 0.04775,
    }
    assert figures["psnr_rgb"].data == "div2k-valid"
    assert figures["params"].source == "claimed in submission.toml"
    assert figures["runtime_images"].source == "claimed in submission.toml, on Titan Xp"


def test_its_weights_are_read_as_declared(make):
    folder = make(model='prepare = "model:fold"\npad_multiple = 4')
    entry = read_submission(folder)
    resolved = resolve_weights(entry, 4)
    assert resolved.identity.source == "submitted"
    assert resolved.path == folder / "w.safetensors"
    network = load_network(entry, 4, resolved.path, released=resolved.released).network
    assert isinstance(network, Adapted)
    # A gain of 3, and the hook adds 1.
    assert torch.equal(network(torch.ones(1, 3, 3, 5)), torch.full((1, 3, 12, 20), 4.0))


def test_its_weights_under_another_name_are_known(make, tmp_path):
    entry = read_submission(make())
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes((tmp_path / "submissions/team-net/w.safetensors").read_bytes())
    assert resolve_weights(entry, 4, copy).identity.source == "submitted"
    save_file({"weight": torch.tensor([5.0])}, copy)
    assert resolve_weights(entry, 4, copy).identity.source == "file"
    assert resolve_weights(entry, 4, None).identity.source == "random"


def test_weights_are_checked_when_resolved_and_when_read(make):
    folder = make()
    entry = read_submission(folder)
    resolved = resolve_weights(entry, 4)
    content = bytearray((folder / "w.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "w.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=r"w\.safetensors: SHA-256 is"):
        load_network(entry, 4, resolved.path, released=resolved.released)
    with pytest.raises(WeightsError, match=r"w\.safetensors: SHA-256 is") as caught:
        resolve_weights(entry, 4)
    assert "submission.toml" in (caught.value.advice or "")
    assert f"`esrbench validate {entry.name} --fix`" in (caught.value.advice or "")
    (folder / "w.safetensors").write_bytes(content[:-1])
    with pytest.raises(WeightsError, match=f"{len(content) - 1} bytes, expected {len(content)}"):
        resolve_weights(entry, 4)
    (folder / "w.safetensors").unlink()
    with pytest.raises(WeightsError, match="names a missing file"):
        resolve_weights(entry, 4)


def test_weights_may_not_be_linked_from_elsewhere(make, tmp_path):
    folder = make()
    entry = read_submission(folder)
    outside = (folder / "w.safetensors").rename(tmp_path / "outside.safetensors")
    (folder / "w.safetensors").symlink_to(outside)
    with pytest.raises(WeightsError, match="leads out of the submission's folder"):
        resolve_weights(entry, 4)
    inside = outside.rename(folder / "inside.safetensors")
    (folder / "w.safetensors").unlink()
    (folder / "w.safetensors").symlink_to(inside.name)
    assert resolve_weights(entry, 4).identity.source == "submitted"


def test_the_code_is_known_by_its_files_wherever_it_lies(make, tmp_path):
    folder = make()
    (tmp_path / "moved").mkdir()
    moved = tmp_path / "moved" / folder.name

    def code(at):
        entry = read_submission(at)
        return code_sha256(load_network(entry, 4).network, *makers(entry))

    here = code(folder)
    folder.rename(moved)
    assert code(moved) == here is not None


def test_a_linked_folder_counts_by_the_links_name(make, tmp_path):
    folder = make("team-net").rename(tmp_path / "my-work")
    (tmp_path / "submissions" / "team-net").symlink_to(folder)
    entry = read_submission(tmp_path / "submissions" / "team-net")
    assert entry.folder == str(folder)
    with pytest.raises(RegistrationError, match="'team-net' lies in a folder 'my-work'"):
        read_submission(folder)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("model:Net", "modle:Net", "model.factory: modle:Net needs modle.py or a folder modle"),
        (
            "model:Net",
            "model.deep:Net",
            "model.deep:Net needs model/deep.py or a folder model/deep",
        ),
        ("team-net", "team-other", "model.name: 'team-other' lies in a folder 'team-net'"),
        ("scales = [4]", 'scales = [4]\nprepare = "hook:f"', "model.prepare: hook:f needs hook.py"),
        ("scales = [4]", 'scales = [4]\ndeploy = "hook:f"', "model.deploy: hook:f needs hook.py"),
        ("schema = 1", "schema = ", "not valid TOML"),
    ],
)
def test_a_folder_that_is_no_entry_says_why(make, old, new, says):
    folder = make()
    path = folder / "submission.toml"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(RegistrationError, match=r"submission\.toml: ") as caught:
        read_submission(folder)
    assert says in caught.value.message
    assert caught.value.advice


def test_a_manifest_may_not_be_linked_from_elsewhere(make, tmp_path):
    folder = make()
    (folder / "submission.toml").rename(tmp_path / "outside.toml")
    (folder / "submission.toml").symlink_to(tmp_path / "outside.toml")
    with pytest.raises(RegistrationError, match="leads out of the submission's folder"):
        read_submission(folder)


def test_a_pipe_for_a_manifest_does_not_hang(make):
    folder = make()
    (folder / "submission.toml").unlink()
    os.mkfifo(folder / "submission.toml")
    with pytest.raises(RegistrationError, match="there is no such file"):
        read_submission(folder)


def test_a_broken_folder_is_a_notice_and_the_others_are_there(make, root):
    make("team-good")
    broken = make("team-bad") / "submission.toml"
    broken.write_text(broken.read_text().replace("scales", "scals"))
    (root / "team-empty").mkdir()
    (root / ".hidden").mkdir()
    (root / "_drafts").mkdir()
    (root / "README.md").write_text("a file")
    registry = Registry()
    register_submissions(registry)
    assert [entry.name for entry in registry] == ["team-good"]
    assert [notice.code for notice in registry.notices] == ["broken-submission"] * 2
    assert set(registry.broken) == {"team-bad", "team-empty"}
    for _ in range(2):
        with pytest.raises(RegistrationError, match=r"model\.scals: unknown key.*mean scales") as e:
            registry.get("team-bad")
    assert e.value.advice
    with pytest.raises(UsageError, match="no network is registered as 'team-unknown'"):
        registry.get("team-unknown")


def test_a_name_that_is_taken_stays_with_its_holder(make):
    make("team-net")
    registry = Registry()
    registry.add((descriptor("team-net"),), origin="first")
    register_submissions(registry)
    assert registry.get("team-net").origin == "first"
    (notice,) = registry.notices
    assert "already registered by first" in notice.message


def test_a_folder_of_submissions_that_is_missing_is_said_only_if_named(root, monkeypatch):
    root.rmdir()
    ((_, error),) = find_submissions(root)
    assert isinstance(error, RegistrationError)
    assert "there is no such folder" in error.message
    monkeypatch.delenv("ESRBENCH_SUBMISSIONS")
    monkeypatch.chdir(root.parent)
    assert list(find_submissions(submissions_folder())) == []
    root.write_text("a file")
    ((_, error),) = find_submissions(submissions_folder())
    assert isinstance(error, RegistrationError)


def test_listing_imports_neither_torch_nor_a_strangers_code(make, tmp_path):
    marker = tmp_path / "imported"
    make(code=f"open({str(marker)!r}, 'w')\n")
    script = (
        "import sys\n"
        "from esrbench.entries.networks import resolve_weights\n"
        "from esrbench.entries.registry import default_registry\n"
        "from esrbench.entries.sources import source_sha256, view_paths\n"
        "entry = default_registry().get('team-net')\n"
        "resolve_weights(entry, 4), source_sha256(entry), view_paths(entry)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert not marker.exists()


def test_a_folders_name_cannot_steer_a_terminal(root):
    (root / "team-\x1b[2J").mkdir()
    ((name, error),) = find_submissions(root)
    assert isinstance(error, RegistrationError)
    assert (name + error.message).isprintable()


def test_a_module_that_is_missing_is_said_by_the_requirement(make):
    code = "import esrtest_nowhere\n"
    entry = read_submission(make(model="requirements = ['esrtest-nowhere==2']", code=code))
    with pytest.raises(
        RegistrationError, match="team-net: esrtest-nowhere==2 is not installed"
    ) as e:
        load_network(entry, 4)
    assert "esrbench env create team-net --requirements FILE" in (e.value.advice or "")
    assert "pip install esrtest-nowhere==2" in (e.value.advice or "")
    with pytest.raises(ModuleNotFoundError, match="esrtest_nowhere"):
        load_network(entry.model_copy(update={"requirements": ()}), 4)


def test_requirements_are_looked_up_not_imported(make):
    entry = read_submission(
        make(
            model="requirements = ['numpy>=1', 'numpy<1', 'esrtest-nowhere==2',"
            " 'esrtest-old; python_version < \"3\"', 'NumPy']"
        )
    )
    older, absent = missing_requirements(entry)
    assert older.startswith("numpy<1 is not met by the installed ")
    assert absent == "esrtest-nowhere==2 is not installed"
    assert "pip install 'numpy>=1' 'numpy<1' esrtest-nowhere==2 " in install_advice(entry)
    notice = requirements_notice(entry)
    assert notice is not None
    assert notice.code == "missing-requirements"
    assert requirements_notice(entry.model_copy(update={"requirements": ("numpy",)})) is None


def test_requirements_are_looked_up_in_the_environment_of_the_entry(make, tmp_path):
    entry = read_submission(make(model="requirements = ['esrtest-there>=2', 'numpy']"))
    metadata = tmp_path / "packages/esrtest_there-2.1.dist-info/METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: esrtest-there\nVersion: 2.1\n")
    assert missing_requirements(entry) == ("esrtest-there>=2 is not installed",)
    assert missing_requirements(entry, [tmp_path / "packages"]) == ("numpy is not installed",)


def test_another_precision_than_declared_is_said(make):
    entry = read_submission(make(model='precision = "fp16"'))
    notice = precision_notice(entry, "fp32")
    assert notice is not None
    assert notice.message == "team-net is declared for fp16 and ran in fp32"
    assert precision_notice(entry, "fp16") is None
    assert precision_notice(entry.model_copy(update={"folder": None}), "fp32") is None


@pytest.mark.parametrize(
    ("claimed", "tolerance"),
    [(242_000, 1000), (0.242e6, 1000), (242_312, 1), (14.51e9, 1e7), (900_000, 9000), (0, 0)],
)
def test_a_claim_is_as_good_as_its_last_digit_or_one_percent(claimed, tolerance):
    assert claim_tolerance(claimed) == pytest.approx(tolerance)


def test_the_default_folder_is_that_of_the_current_one(monkeypatch):
    monkeypatch.delenv("ESRBENCH_SUBMISSIONS", raising=False)
    assert submissions_folder() == submissions.DEFAULT_SUBMISSIONS


def test_names_and_folders_are_resolved_alike(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("team-a", "team-b", "other-c"):
        make(name)
    broken = make("other-bad")
    (broken / "submission.toml").write_text("schema = 1\n")
    registry = Registry()
    registry.add((descriptor("net"),), origin="tests")
    given = ["net", "submissions/team-a", "submissions/team-b/", "unknown", "submissions/team-a"]
    assert resolve_names(registry, given) == ["net", "team-a", "team-b", "unknown"]
    assert registry.get("team-b").folder == str(tmp_path / "submissions" / "team-b")
    assert resolve_names(registry, ["team-a", str(tmp_path / "submissions")]) == [
        "team-a",
        "other-bad",
        "other-c",
        "team-b",
    ]
    assert submitted_names(registry) == ["team-a", "team-b", "other-c", "other-bad"]
    assert registry.broken["other-bad"].message.startswith("other-bad/submission.toml: ")
    assert resolve_name(registry, "submissions/other-c") == "other-c"
    monkeypatch.chdir(tmp_path / "submissions")
    assert resolve_name(Registry(), "team-a") == "team-a"


def test_a_folder_without_a_manifest_is_an_entry_that_lacks_it(make):
    folder = make()
    (folder / "submission.toml").unlink()
    (folder / "models").mkdir()
    registry = Registry()
    assert resolve_names(registry, [str(folder)]) == ["team-net"]
    with pytest.raises(RegistrationError, match=r"^team-net/submission\.toml: "):
        registry.get("team-net")


def test_what_cannot_be_resolved_says_why(make, root, tmp_path):
    make("team-a")
    registry = Registry()
    with pytest.raises(UsageError, match="nowhere/team-a does not exist"):
        resolve_names(registry, ["nowhere/team-a"])
    (root / "README.md").touch()
    with pytest.raises(UsageError, match=r"README\.md is a file") as caught:
        resolve_names(registry, [str(root / "README.md")])
    assert "submissions/*/" in caught.value.advice
    make("team-b")
    with pytest.raises(UsageError, match="holds 2 submissions, expected one"):
        resolve_name(registry, str(root))
    shutil.copytree(root / "team-a", tmp_path / "elsewhere" / "team-a")
    with pytest.raises(RegistrationError, match="another network is called 'team-a'"):
        resolve_names(registry, [str(root / "team-a"), str(tmp_path / "elsewhere" / "team-a")])
    with pytest.raises(UsageError, match="there are no submissions in"):
        submitted_names(Registry())


@pytest.mark.parametrize(
    ("requirements", "advice"),
    [
        (
            "",
            'that provides it in submission.toml, such as requirements = ["esrtest_no"]',
        ),
        ('requirements = ["esrtest-no>=2"]', "pip install 'esrtest-no>=2'"),
    ],
)
def test_a_missing_module_names_the_line_of_the_manifest(make, requirements, advice):
    assert advice in module_advice(read_submission(make(model=requirements)), "esrtest_no.sub")


def test_a_module_that_left_python_names_the_last_python_that_has_it(make):
    advice = module_advice(read_submission(make()), "distutils.version")
    assert "part of Python up to 3.11" in advice
    assert "requirements" not in advice


def test_submissions_with_the_same_weights_are_named(make):
    make("team-one")
    make("team-two")
    other = make("team-three")
    save_file({"net.gain": torch.tensor([5.0])}, other / "w.safetensors")
    manifest = other / "submission.toml"
    sha256 = hashlib.sha256((other / "w.safetensors").read_bytes()).hexdigest()
    lines = [
        f'sha256 = "{sha256}"' if line.startswith("sha256") else line
        for line in manifest.read_text().splitlines()
    ]
    manifest.write_text("\n".join(lines))
    registry = Registry()
    register_submissions(registry)
    (notice,) = registry.notices
    assert notice.code == "same-weights"
    assert notice.message == "team-one and team-two have the same weights"


def test_variants_of_a_built_in_network_accuse_nobody():
    hashes = {"rfdn": ["a"], "rfdn-e": ["a"], "team-net": ["b", None], "imdn": ["b"]}
    (notice,) = same_weights(hashes, ["team-net"])
    assert notice.message == "team-net and imdn have the same weights"
    assert same_weights({"a": [None], "b": [None]}, ["a"]) == []


def test_other_weights_of_an_entry_may_have_the_same_surplus_keys(make, tmp_path):
    entry = read_submission(make(rest='ignore = ["distill.*"]'))
    other = tmp_path / "other.safetensors"
    surplus = {"distill.a": torch.ones(1)}
    save_file({"weight": torch.tensor([5.0]), **surplus}, other)
    resolved = resolve_weights(entry, 4, other)
    assert resolved.released is None
    loaded = load_network(entry, 4, resolved.path)
    assert loaded.layout is not None
    assert tuple(loaded.layout["ignored"]) == ("distill.a",)
