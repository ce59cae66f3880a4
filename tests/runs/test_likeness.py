"""SR images that do not resemble their LR images: what is noticed, and what is not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import descriptor
from safetensors.torch import save_file

from esrbench.data.resize import upscale
from esrbench.entries.networks import resolve_weights
from esrbench.probes.forward import PixelConversion
from esrbench.runs.evaluator import Entry
from esrbench.runs.likeness import Likeness, scene, unlike
from esrbench.runs.store import Store
from esrbench.runs.suite import run_suite
from esrbench.runs.validation import validate_entry

NETWORK = """
import torch
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(3))
        self.shift = nn.Parameter(torch.zeros(3))
        self.body = nn.Sequential(nn.Conv2d(3, 48, 3, padding=1), nn.PixelShuffle(4))

    def forward(self, lr):
        return BODY


def large(lr):
    return functional.interpolate(lr, scale_factor=4, mode="bicubic")
"""
BODIES = {
    # Both are right with the range 255.
    "returns-255": "large(lr * 255) if lr.max() <= 1 else large(lr)",
    "rounds-levels": "large(lr).round()",
    "multiplies": "large(lr) * 255",
    "returns-1": "large(lr / lr.amax().clamp(min=1))",
    "black": "large(lr) * self.shift[:, None, None]",
    "overshoots": "large(lr) * 1.04 - 0.02",
    "untrained": "self.body(lr)",
}
PIXELS = scene(48)
pytestmark = pytest.mark.usefixtures("lasting_workers")


def seen(network, data_range, lr=PIXELS):
    """What ``unlike`` says of a function of tensors that upscales by 4."""
    conversion = PixelConversion(4, data_range)
    output = network(conversion.to_input(lr, torch.device("cpu")))
    sr = conversion.to_pixels(output, lr)
    reach = (float(output.min()), float(output.max()))
    return unlike(sr, lr, "0801", data_range=data_range, output=reach)


def large(lr):
    return torch.nn.functional.interpolate(lr, scale_factor=4, mode="bicubic")


@pytest.mark.parametrize(
    ("network", "declared", "probable"),
    [
        (lambda lr: large(lr) * 255, 1.0, 255),
        (lambda lr: large(lr) + 110, 1.0, 255),
        (lambda lr: large(lr) / 255, 255.0, 1),
        (lambda lr: large(lr) * 0, 1.0, None),
        (lambda lr: large(lr) - 0.5, 1.0, None),
        (lambda lr: 1 - large(lr), 1.0, None),
        (lambda lr: torch.randn(1, 3, 4 * lr.shape[2], 4 * lr.shape[3]) * 40, 1.0, None),
        (lambda lr: torch.randn(1, 3, 4 * lr.shape[2], 4 * lr.shape[3]) * 0.5, 255.0, None),
    ],
    ids=["x255", "mean", "/255", "black", "centred", "negative", "exploding", "vanishing"],
)
def test_a_range_is_named_only_where_the_output_shows_it(network, declared, probable):
    found = seen(network, declared)
    assert found.probable_range == probable
    notice = found.notice()
    assert notice.code == ("unlike-input" if probable is None else "output-range")
    assert f"where 0 to {declared:g} was expected" in notice.message
    assert probable is None or f"declare `data_range = {probable}`" in notice.advice


@pytest.mark.parametrize(
    "network",
    [
        large,
        lambda lr: large(lr) * 1.04 - 0.02,
        lambda lr: large(lr) ** 1.1,
        lambda lr: large(lr) + torch.randn_like(large(lr)) * 0.1,
    ],
    ids=["bicubic", "overshoots", "darker", "noisy"],
)
def test_an_honest_network_gets_no_notice(network):
    assert seen(network, 1.0) is None


def test_what_interpolation_loses_too_is_no_fault_of_a_network():
    rng = np.random.default_rng(0)
    lr = rng.integers(0, 256, (32, 32, 3), np.uint8)
    sr = upscale(lr, 4, border="mirror")
    grey, white = np.full_like(sr, 128), np.full_like(sr, 255)
    assert unlike(sr, lr, "noise", data_range=1, output=None) is None
    assert unlike(grey, lr, "noise", data_range=1, output=None) is None
    assert unlike(white, lr, "noise", data_range=1, output=None) is not None


def test_one_image_that_resembles_its_lr_is_enough():
    white, black = np.full((192, 192, 3), 255, np.uint8), np.zeros((192, 192, 3), np.uint8)
    likeness = Likeness(1.0)
    assert likeness.worst is None
    likeness.look(white, PIXELS, "first", (0, 255))
    likeness.look(black, PIXELS, "second", (0, 0))
    assert likeness.worst.image in {"first", "second"}
    likeness.look(upscale(PIXELS, 4, border="mirror"), PIXELS, "third", (0, 1))
    assert likeness.worst is None
    likeness.look(white, PIXELS, "fourth", (0, 255))
    assert likeness.worst is None


@pytest.fixture
def network(tmp_path):
    """A descriptor of one of ``BODIES`` and a checkpoint of it."""

    def build(name, **fields):
        path = tmp_path / "net.py"
        path.write_text(NETWORK.replace("BODY", BODIES[name]))
        entry = descriptor("net", factory=f"{path}:Net", **fields)
        torch.manual_seed(0)
        body = torch.nn.Conv2d(3, 48, 3, padding=1).state_dict()
        state = {"gain": torch.ones(3), "shift": torch.zeros(3)}
        state |= {f"body.0.{key}": tensor for key, tensor in body.items()}
        save_file(state, tmp_path / "net.safetensors")
        return entry, tmp_path / "net.safetensors"

    return build


def likeness_check(entry, weights):
    report = validate_entry(entry, 4, weights=weights, timeout_seconds=120)
    found = [check for check in report.checks if check.name == "SR resembles LR"]
    return report, found[0] if found else None


@pytest.mark.parametrize(
    "name", ["returns-255", pytest.param("rounds-levels", marks=pytest.mark.slow)]
)
def test_validation_tries_the_other_range_and_declares_it(network, name):
    entry, weights = network(name)
    report, check = likeness_check(entry, weights)
    assert check.outcome == "failed"
    assert report.declare == {"data_range": 255}
    assert "data_range = 255" in check.fix
    report, check = likeness_check(entry.model_copy(update={"data_range": 255}), weights)
    assert check.outcome == "passed"
    assert report.declare == {}


def test_validation_refuses_an_output_of_another_range_than_the_input(network):
    entry, weights = network("multiplies")
    report, check = likeness_check(entry, weights)
    assert check.outcome == "failed"
    assert "where 0 to 1 was expected" in check.detail
    assert check.fix.startswith("Scale its output to 0 to 1;")
    assert report.declare == {}


@pytest.mark.slow
def test_validation_only_warns_where_no_range_is_shown_to_be_right(network):
    entry, weights = network("black")
    report, check = likeness_check(entry, weights)
    assert check.outcome == "warning"
    assert report.declare == {}


@pytest.mark.slow
def test_validation_says_nothing_about_untrained_networks(network):
    entry, _ = network("untrained")
    assert likeness_check(entry, None)[1] is None


@pytest.mark.parametrize(
    ("name", "declared", "code"),
    [
        ("returns-255", 1, "output-range"),
        pytest.param("returns-1", 255, "output-range", marks=pytest.mark.slow),
        ("black", 1, "unlike-input"),
        pytest.param("overshoots", 1, None, marks=pytest.mark.slow),
    ],
)
def test_a_run_notices_it(network, make_suite, quick, tmp_path, name, declared, code):
    entry, weights = network(name, data_range=declared)
    suite = make_suite(entry, protocol=quick.model_copy(update={"latency": None}))
    given = Entry(entry, 4, resolve_weights(entry, 4, weights))
    suite = replace(suite, entries=(given,))
    (record,) = run_suite(suite, Store(tmp_path / "results"))
    codes = {"output-range", "unlike-input"} & {notice.code for notice in record.notices}
    assert codes == ({code} if code else set())
