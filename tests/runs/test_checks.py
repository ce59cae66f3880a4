"""``validate`` on folders of submissions: each broken promise is named, with the mend."""

import pytest
import torch
from builders import edit

from esrbench.entries.networks import load_network, resolve_weights
from esrbench.entries.scaffold import scaffold
from esrbench.entries.submissions import read_submission
from esrbench.records import Absent, Complexity, CounterResult
from esrbench.runs.checks import claim_checks, folder_checks
from esrbench.runs.validation import unreadable, validate_entry

pytestmark = pytest.mark.usefixtures("lasting_workers")


@pytest.fixture
def folder(tmp_path):
    return scaffold("team-net", tmp_path / "submissions", scale=4)


def validate(folder):
    return validate_entry(read_submission(folder), 4, weights="auto", timeout_seconds=120)


def named(checks, name):
    return next(check for check in checks if check.name == name)


def test_a_new_entry_passes_every_check(folder):
    report = validate(folder)
    assert {check.outcome for check in report.checks} == {"passed"}
    names = [check.name for check in report.checks]
    assert names[:3] == ["manifest", "weights file", "code"]
    assert "claimed Params" in names
    assert not (folder / "__pycache__").exists()


def test_an_entry_without_weights_is_told_that_its_network_has_random_ones(folder):
    manifest = folder / "submission.toml"
    text = manifest.read_text()
    start = text.index("[weights]")
    manifest.write_text(text[:start] + text[text.index("\n[", start) :])
    loads = named(validate(folder).checks, "builds and loads strictly")
    assert loads.outcome == "warning"
    assert "submission.toml declares no [weights]" in loads.detail


def test_all_that_is_wrong_is_found_at_once(folder):
    manifest = folder / "submission.toml"
    edit(manifest, "requirements = []", 'requirements = ["esrtest-nowhere>=1"]')
    edit(manifest, "params = ", "params = 9")
    edit(manifest, "pad_multiple = 1", "pad_multiple = 4\ntile = 128\ntile_overlap = 8")
    edit(manifest, 'sha256 = "', 'sha256 = "' + "0" * 64 + '" # ')
    edit(folder / "model.py", "import torch\n", "import torch\nimport gc\n")
    report = validate(folder)
    assert not report.passed
    wrong = {check.name: check for check in report.checks if check.outcome != "passed"}
    assert set(wrong) == {"requirements", "weights file", "code", "claimed Params"}
    assert "pip install 'esrtest-nowhere>=1'" in wrong["requirements"].fix
    assert "write into [weights]: bytes = " in wrong["weights file"].fix
    assert str(folder) not in wrong["weights file"].detail, "its team has it elsewhere"
    assert wrong["code"].outcome == "warning"
    assert "imports gc: it can change the process that measures" in wrong["code"].detail
    assert "measured" in wrong["claimed Params"].detail
    sizes = [check.name for check in report.checks if check.name.startswith("upscales")]
    # Beside the usual ones: no multiple of 4 in either direction, and more than a tile.
    assert sizes[-2:] == ["upscales 49x51", "upscales 129x48"]
    # The table prints the mend behind the detail, so each is a sentence of its own.
    failed = [check for check in report.checks if check.outcome == "failed"]
    assert all(check.detail.endswith(".") for check in failed)
    assert not any(check.detail.endswith("..") for check in failed)
    assert named(report.checks, "builds and loads strictly").detail == "weights: random."


def test_what_to_declare_is_ready_to_be_pasted(folder):
    manifest = folder / "submission.toml"
    right = named((*folder_checks(read_submission(folder), 4),), "weights file")
    assert right.outcome == "passed"
    size = next(line for line in manifest.read_text().splitlines() if line.startswith("bytes"))
    sha = next(line for line in manifest.read_text().splitlines() if line.startswith("sha256"))
    edit(manifest, size, "bytes = 1")
    wrong = named((*folder_checks(read_submission(folder), 4),), "weights file")
    assert wrong.outcome == "failed"
    assert f"{size}, {sha}" in wrong.fix


def test_a_pickle_is_a_warning_with_the_way_out(folder):
    weights = folder / "team-net_x4.safetensors"
    entry = read_submission(folder)
    network = load_network(entry, 4, resolve_weights(entry, 4).path).network
    weights.unlink()
    torch.save(network.state_dict(), folder / "net.pth")
    edit(folder / "submission.toml", weights.name, "net.pth")
    wrong = named((*folder_checks(read_submission(folder), 4),), "weights file")
    content = (folder / "submission.toml").read_text().splitlines()
    kept = [line for line in content if not line.startswith(("bytes", "sha256"))]
    declared = wrong.fix.partition("[weights]: ")[2].removesuffix("; --fix does it.")
    declared = declared.replace(", ", "\n")
    text = "\n".join(kept).replace('file = "net.pth"', f'file = "net.pth"\n{declared}')
    (folder / "submission.toml").write_text(text)
    checks = (*folder_checks(read_submission(folder), 4),)
    assert named(checks, "weights file").outcome == "passed"
    format_ = named(checks, "weights format")
    assert format_.outcome == "warning"
    assert f"esrbench convert-weights {folder / 'net.pth'}" in format_.fix


def test_weights_outside_the_folder_are_a_failed_check(folder, tmp_path):
    weights = folder / "team-net_x4.safetensors"
    weights.symlink_to(weights.rename(tmp_path / "outside.safetensors"))
    check = named((*folder_checks(read_submission(folder), 4),), "weights file")
    assert check.outcome == "failed"
    assert "leads out of the submission's folder" in check.detail


def test_code_that_does_not_load_is_one_failed_check(folder):
    edit(folder / "model.py", "import torch\n", "import torch\nimport esrtest_nowhere\n")
    report = validate(folder)
    failed = [check for check in report.checks if check.outcome == "failed"]
    assert [check.name for check in failed] == ["builds and loads strictly"]
    assert "esrtest_nowhere" in failed[0].detail


def counted(**counters):
    absent = Absent(kind="skipped", reason="not in this test")
    return Complexity(
        params=242_312,
        trainable_params=242_312,
        weight_params=0,
        buffer_elements=0,
        state_bytes=0,
        counters={
            name: CounterResult.model_validate(
                {
                    "counter": name,
                    "convention": "x",
                    "version": "1",
                    "macs": macs,
                    "activations": 151_362_048,
                    "input_shape": (1, 3, 256, 256),
                }
            )
            for name, macs in counters.items()
        }
        | {"fvcore": absent},
        audit=absent,
        predicted_memory=absent,
    )


@pytest.mark.parametrize(
    ("claims", "outcomes"),
    [
        ("params = 0.242e6", ["passed"]),
        ("params = 242312", ["passed"]),
        ("params = 242310", ["passed"]),
        ("params = 242000", ["passed"]),
        ("params = 241000", ["failed"]),
        ("params = 242300", ["passed"]),
        ("params = 200000", ["failed"]),
        ("flops = 14.51e9\nflops_counter = 'ntire2022'\nactivations = 151.36e6", ["passed"] * 2),
        ("flops = 14.49e9\nflops_counter = 'ntire2022'", ["failed"]),
        ("flops = 14.51e9\nflops_counter = 'fvcore'", ["skipped"]),
        ("flops = 14.51e9\nflops_counter = 'aten'", ["skipped"]),
        ("psnr = {db = 29.0, data = 'div2k-valid'}", ["skipped"]),
        ("runtime = {milliseconds = 1, device = 'x'}", ["skipped"]),
    ],
)
def test_claims_are_held_against_counts(folder, claims, outcomes):
    manifest = folder / "submission.toml"
    line = next(line for line in manifest.read_text().splitlines() if line.startswith("params"))
    edit(manifest, line, claims)
    checks = (*claim_checks(read_submission(folder), 4, counted(ntire2022=14_513_000_000)),)
    assert [check.outcome for check in checks] == outcomes
    assert all(check.fix for check in checks if check.outcome != "passed")


def test_a_manifest_that_cannot_be_read_is_a_report(folder):
    from esrbench.errors import RegistrationError

    edit(folder / "submission.toml", "scales", "scals")
    with pytest.raises(RegistrationError) as caught:
        read_submission(folder)
    report = unreadable("team-net", caught.value)
    assert not report.passed
    assert report.scale is None
    assert "model.scals" in report.checks[0].detail
