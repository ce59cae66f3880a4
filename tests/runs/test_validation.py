import pytest
from builders import descriptor

from esrbench.runs.validation import validate_entry

pytestmark = pytest.mark.usefixtures("lasting_workers")


def validate(descriptor):
    return validate_entry(descriptor, 4, weights="auto", timeout_seconds=120)


def test_an_honest_network_passes_every_check(describe):
    report = validate(describe("Nearest"))
    assert report.passed
    assert {check.outcome for check in report.checks} == {"passed"}
    names = [check.name for check in report.checks]
    assert "upscales 37x53" in names
    assert "counted by fvcore" in names


@pytest.mark.parametrize(
    ("attribute", "check", "says"),
    [
        ("FailsToBuild", "builds and loads strictly", "no room for x4"),
        ("WrongShape", "upscales 48x48", "expected"),
        ("Raises", "upscales 37x53", "too wide for me"),
        ("NanOutput", "upscales 64x31", "NaN"),
        ("Random", "deterministic", "differ between two equal inputs"),
        ("Constant", "depends on its input", "same SR"),
        ("Exits", "survives the checks", "exited with code 0"),
    ],
)
def test_a_broken_promise_is_named(describe, attribute, check, says):
    report = validate(describe(attribute))
    assert not report.passed
    failed = {item.name: item.detail for item in report.checks if item.outcome == "failed"}
    assert says in failed[check]


def test_images_too_large_to_be_made_are_not_tried(describe, monkeypatch):
    monkeypatch.setattr("esrbench.runs.validation.MAX_SR_PIXELS", 16 * 48 * 48)
    report = validate(describe("Nearest"))
    tried = {check.name: check.outcome for check in report.checks if "upscales" in check.name}
    assert tried == {
        "upscales 1x1": "passed",
        "upscales 48x48": "passed",
        "upscales 37x53": "passed",
        "upscales 64x31": "passed",
    }
    monkeypatch.setattr("esrbench.runs.validation.MAX_SR_PIXELS", 16 * 48 * 41)
    report = validate(describe("Nearest"))
    skipped = [check.name for check in report.checks if check.outcome == "skipped"]
    assert skipped == ["upscales 48x48", "upscales 64x31"]


def test_sizes_below_the_declared_least_are_not_tried(describe):
    report = validate(describe("Nearest", min_lr_size=60))
    sizes = [check.name for check in report.checks if check.name.startswith("upscales")]
    assert sizes == ["upscales 60x60", "upscales 64x60"]
    assert report.passed


HALF = """
from torch import nn


class Half(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 48, 3, padding=1), nn.PixelShuffle(4))

    def forward(self, pixels):
        return self.body(pixels.half())
"""


def test_a_network_of_half_precision_keeps_its_promises_on_a_cpu(tmp_path):
    (tmp_path / "half.py").write_text(HALF)
    entry = descriptor("half", factory=f"{tmp_path / 'half.py'}:Half", precision="fp16")
    report = validate(entry)
    wrong = [check for check in report.checks if check.outcome != "passed"]
    assert wrong == []
    assert "counted by fvcore" in [check.name for check in report.checks]
    as_float = validate(entry.model_copy(update={"precision": "fp32"}))
    assert not as_float.passed


def test_sizes_that_a_network_takes_are_found_and_how_to_declare_them(describe):
    report = validate(describe("Windows"))
    assert report.declare == {"min_lr_size": 33, "pad_multiple": 16}
    (check,) = (each for each in report.checks if each.name == "LR sizes")
    assert check.outcome == "failed"
    assert "LR sides of 33 or more, once its input is padded to multiples of 16" in check.detail
    assert "min_lr_size = 33, pad_multiple = 16" in check.fix
    assert validate(describe("Windows", **report.declare)).passed
