import pytest

from esrbench.gate.figures import (
    COUNTS,
    MEASURED_MEMORY,
    SCORES,
    differing_settings,
    entry_key,
    figures_of,
    number,
    parse_key,
    terms_of,
)
from esrbench.metrics import METRICS
from esrbench.protocol import ForwardPolicy, Protocol, QualityDefinition


def test_every_deterministic_metric_is_compared_once():
    assert sorted((*SCORES, *COUNTS)) == sorted(
        key
        for key, metric in METRICS.items()
        if metric.portable and metric.source != "deployment"  # a gate runs eager torch
    )
    assert set(SCORES) == {"psnr_rgb", "psnr_y", "ssim_y", "ssim_rgb", "perceptual_score"}
    assert set(MEASURED_MEMORY) <= set(METRICS)


@pytest.mark.parametrize(
    ("metric", "value", "kept"),
    [
        ("params", 433448.0, 433448),
        ("psnr_rgb", 27.5668096, 27.56681),
        ("ssim_y", 0.834915054, 0.834915),
    ],
)
def test_files_keep_a_tenth_of_the_tolerance(metric, value, kept):
    assert number(metric, value) == kept
    assert isinstance(number("params", 3.0), int)


def test_terms_name_what_differs_for_a_metric():
    base = Protocol()
    other = Protocol(
        forward=ForwardPolicy(precision="fp16"),
        memory_input=(339, 510),
        quality=QualityDefinition(luma="uint8"),
        seed=1,
    )

    def names(metric):
        found = differing_settings(metric, terms_of(base), terms_of(other))
        return {each.partition(":")[0] for each in found}

    assert names("params") == set()
    assert names("macs_aten") == set()
    assert names("predicted_peak_bytes") == {"forward", "memory_input"}
    assert names("psnr_y") == {"forward", "quality.luma"}
    assert terms_of(base).digest != terms_of(other).digest
    assert terms_of(base).digest == terms_of(Protocol(latency=None, threads=1)).digest


def test_local_versions_are_one_version():
    versions = {"torch": "2.13.0+cpu", "fvcore": "1", "ptflops": "2"}

    assert terms_of(Protocol(), versions).software["torch"] == "2.13.0"


def test_keys():
    assert parse_key(entry_key("aidn-a0", 3)) == ("aidn-a0", 3)
    for wrong in ("rfdn", "rfdn x", "rfdn x0", " x4"):
        with pytest.raises(ValueError, match="expected a network and a scale"):
            parse_key(wrong)


def test_figures_of_a_record(make_record):
    record = make_record("rfdn", {"params": 433448, "psnr_y": 29.1447531, "peak_bytes": 7})

    figures, terms = figures_of(record)

    assert figures.counts == {"params": 433448}
    assert figures.scores["demo"].values == {"psnr_y": 29.14475, "peak_bytes": 7}
    assert figures.scores["demo"].digest == record.data.digest
    assert figures.terms == terms.digest
    assert figures.weights.source == "file"
