from __future__ import annotations

import pytest

from esrbench.metrics import METRICS


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
def test_values_are_shown_as_the_challenge_prints_them(key: str, value: float, shown: str) -> None:
    assert METRICS[key].format(value) == shown


def test_keys_and_directions() -> None:
    assert all(key == metric.key for key, metric in METRICS.items())
    higher = {key for key, metric in METRICS.items() if metric.better == "higher"}
    assert higher == {"psnr_rgb", "psnr_y", "ssim_y"}
    noisy = {key for key, metric in METRICS.items() if not metric.deterministic}
    assert noisy == {
        *("runtime_images", "runtime_with_bicubic", "runtime_fixed", "runtime_ratio"),
        *("runtime_trusted", "cold_start", "peak_bytes", "pass_peak_bytes"),
    }
