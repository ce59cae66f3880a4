"""The table of metrics: what a row says, and that counts fail closed."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from builders import step
from pydantic import ValidationError
from torch import nn

from esrbench.metrics import METRICS, Findings, _accept, extract_values, image_metric
from esrbench.plugins import load_entry_points
from esrbench.probes.complexity import measure_complexity
from esrbench.records import Absent, ImageScore, Quality, Value

ATEN = ("macs_aten", "activations_aten", "conv_calls_aten")


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("params", 241_548, "0.242"),
        ("macs_ntire2022", 14_506_603_360, "14.51"),
        ("activations_ntire2022", 151_355_840, "151.36"),
        ("peak_bytes", 903_705_231, "861.84"),
        ("runtime_images", 0.04775, "47.75"),
        ("psnr_rgb", 28.9999, "29.00"),
        ("conv_calls_ntire2022", 100, "100"),
    ],
)
def test_values_are_shown_as_the_challenge_prints_them(key, value, shown):
    assert METRICS[key].format(value) == shown


def test_keys_and_directions():
    assert all(key == metric.key for key, metric in METRICS.items())
    higher = {key for key, metric in METRICS.items() if metric.better == "higher"}
    asked = {"ssim_rgb", "perceptual_score"}
    assert higher == {"psnr_rgb", "psnr_y", "ssim_y", "psnr_difference", *asked}
    of_device = {key for key, metric in METRICS.items() if not metric.portable}
    assert of_device == {
        *("runtime_images", "runtime_with_bicubic", "runtime_fixed", "runtime_ratio"),
        *("runtime_trusted", "cold_start", "peak_bytes", "pass_peak_bytes"),
        *("build_seconds", "load_seconds", "energy"),
    }
    once = {"peak_bytes", "pass_peak_bytes", "build_seconds", "load_seconds", "energy"}
    assert {key for key, metric in METRICS.items() if metric.noisy} == of_device - once
    per_data = {key for key, metric in METRICS.items() if metric.per_data}
    of_entry = {"runtime_fixed", "cold_start", "build_seconds", "load_seconds", "energy"}
    assert per_data == higher | of_device - of_entry


def test_counts_stay_integers_and_records_of_floats_load():
    assert Value(value=42912).model_dump_json() == '{"value":42912,"interval":null}'
    for text, kind in (("42912", int), ("42912.0", float)):
        value = Value.model_validate_json(f'{{"value": {text}}}')
        assert type(value.value) is kind
        assert value == Value(value=42912)
    with pytest.raises(ValidationError):
        Value(value=float("nan"))


def values(run, **changes):
    """Of a network of a convolution and what is done to its features."""
    network = step(lambda m, image: run(m.conv(image)), conv=nn.Conv2d(3, 4, 1))
    complexity = measure_complexity(network.eval, input_size=(8, 6), counters=("ntire2022", "aten"))
    return extract_values(Findings(complexity=complexity.model_copy(update=changes)))


def hidden(features):
    return torch.from_numpy(features.numpy() * 2)


def test_a_whole_count_is_a_value():
    found = values(torch.relu)
    assert [found[key] for key in ATEN] == [
        Value(value=12 * 48),
        Value(value=4 * 48),
        Value(value=1),
    ]
    assert found["effective_constants"] == Value(value=16)


@pytest.mark.parametrize(
    ("run", "missed", "constants"),
    [
        (lambda x: torch.fft.fft2(x).real, "aten::_fft_c2c", True),
        (lambda x: (x[:, None] * x[:, :, None]).sum(1), "aten::mul (summed)", True),
        (hidden, "Tensor.numpy", False),
    ],
    ids=["unknown", "summed products", "out of sight"],
)
def test_an_incomplete_count_is_absent(run, missed, constants):
    found = values(run)
    for key in ATEN:
        absent = found[key]
        assert isinstance(absent, Absent), key
        assert missed in absent.reason
        assert "aten::sum" not in absent.reason
    assert isinstance(found["effective_constants"], Value) is constants
    assert found["macs_ntire2022"] == Value(value=12 * 48)


def test_without_an_audit_there_is_no_figure():
    failed = Absent(kind="failed", reason="the network could not be audited: too high")
    found = values(torch.relu, audit=failed)
    assert [found[key] for key in (*ATEN, "effective_constants")] == [failed] * 4


def less_without_values(features):
    return features if features.is_meta else features.flatten(2).mT @ features.flatten(2)


def test_nothing_found_without_values_is_a_figure_where_values_find_otherwise():
    found = values(less_without_values)
    keys = ("macs_ntire2022", "activations_ntire2022", "conv_calls_ntire2022", *ATEN)
    for key in (*keys, "effective_constants"):
        absent = found[key]
        assert isinstance(absent, Absent), key
        assert "576 multiply-accumulates" in absent.reason
        assert "9,792 " in absent.reason
    assert found["params"] == Value(value=16)


def test_a_fault_of_one_row_costs_that_metric_alone(monkeypatch):
    broken = replace(METRICS["params"], key="broken", read=lambda counts: counts.params / 0)
    monkeypatch.setitem(METRICS, "broken", broken)
    found = values(torch.relu)
    assert isinstance(found["params"], Value)
    assert found["broken"].reason == (
        "the metric broken cannot be read: ZeroDivisionError: division by zero"
    )


def test_a_plugin_s_metric_fails_alone_and_takes_no_name(monkeypatch):
    row = image_metric("sharpness", "Sharpness", "plugin:sharpness")
    monkeypatch.setattr("esrbench.metrics.METRICS", dict(METRICS))
    points = [
        SimpleNamespace(value=f"theirs:{number}", dist=None, load=lambda offered=offered: offered)
        for number, offered in enumerate(([row], 3, [row], METRICS["params"], [object()]))
    ]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda *, group: points)  # noqa: ARG005
    notices = load_entry_points("esrbench.metrics", _accept, missing="metrics")
    assert [notice.message for notice in notices] == [
        "theirs:1: theirs:1 did not load: 'int' object is not iterable",
        "theirs:2: theirs:2 did not load: a metric is called sharpness already",
        "theirs:3: theirs:3 did not load: a metric is called params already",
        "theirs:4: theirs:4 did not load: expected a Metric, got object",
    ]


def test_a_score_that_was_not_asked_for_says_how_to_ask():
    quality = Quality(
        definition="", images=(ImageScore(image="a", psnr_rgb=30, psnr_y=30, ssim_y=0.9),)
    )
    values = extract_values(Findings(quality=quality))
    assert values["ssim_rgb"].advice == "`esrbench run --metric ssim_rgb` asks for it."
    assert values["perceptual_score"].reason == "nothing here takes it"
