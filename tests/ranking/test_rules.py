"""Rules in TOML: those of the editions and those that users write."""

import math

import numpy as np
import pytest

from esrbench.errors import DataError, UsageError
from esrbench.metrics import METRICS
from esrbench.ranking.formulas import Exponential, RankSum
from esrbench.ranking.rules import RULES, TEMPLATE, get_rule, load_rule, parse_rule


@pytest.mark.parametrize(
    ("rule", "psnr", "interpolated", "rounded", "strict"),
    [
        ("ntire2022", 29.0, None, True, True),
        ("ntire2022", 28.995, None, True, False),
        ("ntire2022", 28.9949999, None, False, False),
        ("ntire2022", 28.99, None, False, False),
        ("ntire2022", 29.13, None, True, True),
        ("ntire2022", np.float64(28.995), None, True, False),
        # Stored as 26.89499999999999957...; printed with three decimals it is a half.
        ("ntire2026", 26.895, None, True, False),
        ("ntire2026", 26.894999, None, False, False),
        # More than interpolation's printed figure.
        ("rtsr2023", 33.924, 33.92, False, True),
        ("rtsr2023", 33.93, 33.92, True, True),
    ],
)
def test_the_gate_rounds_half_up_to_two_decimals(rule, psnr, interpolated, rounded, strict):
    gate = RULES[rule].gates[0]
    check = gate.check(psnr, interpolated)
    assert (check.rounded, check.strict) == (rounded, strict)
    assert check.margin == pytest.approx(psnr - (interpolated or gate.minimum))


def test_a_gate_that_beats_interpolation_needs_its_value():
    with pytest.raises(ValueError, match="needs the value of bicubic"):
        RULES["rtsr2023"].gates[0].check(33.93)


def test_tracks_are_those_of_the_edition():
    metrics = [set(track.metrics) for track in RULES["ntire2022"].tracks]
    assert metrics[0] == {"runtime_images"}
    assert metrics[1] == {"params", "macs_ntire2022"}
    assert len(metrics[2]) == 5
    assert metrics[0] | metrics[1] < metrics[2]
    assert [track.ties_by for track in RULES["ntire2022"].tracks] == [None, None, None]
    assert [track.ties_by for track in RULES["ntire2023"].tracks] == [None, "main", "complexity"]


def test_every_edition_of_the_challenges_is_here():
    years = [f"ntire{year}" for year in range(2022, 2027)]
    years.append("ntire2026-mobile")
    assert list(RULES) == [*years, "aim2020", "aim2025-epsr", "ais2024-rtsr", "rtsr2023"]


def test_every_rule_speaks_of_known_metrics():
    for rule in RULES.values():
        assert rule.ranked_metrics
        assert set(rule.ranked_metrics) <= set(rule.columns) <= set(METRICS)
        assert rule.source
        assert rule.unverified
        for track in rule.tracks:
            if isinstance(track.formula, RankSum):
                assert all(METRICS[metric].better == "lower" for metric in track.metrics)


@pytest.mark.parametrize("name", ["ntire2024", "ntire2025", "ntire2026"])
def test_the_baseline_s_reference_numbers_score_e_squared(name):
    rule = RULES[name]
    (track,) = rule.tracks
    total = track.formula.total(rule.published, {}, rule.published)
    assert total.value == pytest.approx(math.e**2, rel=1e-12)
    assert total.log == pytest.approx(2.0, rel=1e-12)


@pytest.mark.parametrize(
    ("quality", "speedup", "total"),
    [
        *((4.0334, 113.85, 42.2125), (4.1659, 21.79, 33.2446), (4.2392, 11.67, 30.8701)),
        *((4.3522, 1.00, 20.4241), (3.4603, 21.79, 20.3844), (4.3259, 1.00, 20.0547)),
        *((3.8881, 4.48, 19.9840), (2.6698, 143.35, 17.1779), (3.9440, 0.99, 15.3601)),
        *((2.4662, 94.95, 13.7370), (2.2307, 10.21, 7.4696)),
    ],
)
def test_the_mobile_track_s_score_is_the_published_one(quality, speedup, total):
    """As printed in the results of the edition's repository."""
    (track,) = RULES["ntire2026-mobile"].tracks
    values = {"perceptual_score": quality, "runtime_fixed": 0.5 / speedup}
    found = track.formula.total(values, {}, {"runtime_fixed": 0.5})
    assert found.value == pytest.approx(total, abs=1e-3)
    assert found.log == pytest.approx(math.log(total), abs=1e-4)


def test_weights_are_those_of_the_editions():
    weights = {
        name: tuple(track.formula.weights.values())
        for name, rule in RULES.items()
        for track in rule.tracks
        if isinstance(track.formula, Exponential)
    }
    assert weights == {
        "ntire2024": (0.7, 0.15, 0.15),
        "ntire2025": (0.7, 0.15, 0.15),
        "ntire2026": (0.8, 0.1, 0.1),
    }
    assert RULES["ntire2026"].published["runtime_images"] == 7.74e-3


def test_an_unknown_rule_answers_with_suggestions():
    with pytest.raises(UsageError, match="ntire2202") as caught:
        get_rule("ntire2202")
    assert caught.value.advice.startswith("Did you mean ntire202")
    assert "Known: ntire2022, ntire2023" in caught.value.advice


def test_the_template_is_a_rule(tmp_path):
    path = tmp_path / "rule.toml"
    path.write_text(TEMPLATE, encoding="utf-8")
    rule = get_rule(str(path))
    assert rule.name == "custom"
    assert rule.gates[0].minimum == 29.0
    first, second = (track.formula for track in rule.tracks)
    assert first.weights == {"runtime_images": 0.7, "macs_fvcore": 0.15, "params": 0.15}
    assert isinstance(second, RankSum)
    assert rule.tracks[1].ties_by == "main"


RANK_SUM = 'kind = "rank-sum", metrics = ["params", "macs_fvcore"]'


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("minimum = 29.0", 'minimum = "high"', "gates.0.minimum: Input should be a valid number"),
        ("minimum = 29.0", "", "gates.0: a gate has either a minimum, a"),
        ("factor = 2.0", "factr = 2.0", "tracks.0.formula.exponential.factr: no such field"),
        ('kind = "exponential"', 'kind = "magic"', "tracks.0.formula: Input tag 'magic'"),
        ('ties_by = "main"', 'ties_by = "size"', "ties_by 'size' is not an earlier track"),
        ('key = "size"', 'key = "main"', "two tracks have the key 'main'"),
        ("params = 317e3, ", "", "relative to the baseline, whose values lack params"),
        ('columns = ["psnr_rgb", "runtime_images"', 'columns = ["psnr_rgb"', "name it in columns"),
        ('"psnr_rgb", "runtime', '"psnr", "runtime', "no metric is called psnr"),
        ("params = 0.15", "params = -1", "weights.params: Input should be greater than 0"),
        ("minimum = 29.0", "minimum = nan", "gates.0.minimum: Input should be a finite number"),
        (
            "minimum = 29.0",
            "minimum = 29.0\nmaximum = 30.0",
            "gates.0: a gate has either a minimum",
        ),
        ("minimum = 29.0", 'beats = "bicubic"\nmetric = "ssim_y"', "needs psnr_rgb or psnr_y"),
        ("minimum = 29.0", 'maximum = 5e6\nmetric = "params"', "params does not depend on a data"),
        ("scales = [4]", "verified = false", "says in `unverified` what was not seen"),
        ("params = 0.15", "params = inf", "weights.params: Input should be a finite number"),
        ("params = 0.15", 'params = "0.15"', "weights.params: Input should be a valid number"),
        ("params = 0.15", "params = true", "weights.params: Input should be a valid number"),
        ("params = 0.15", "psnr_rgb = 0.15", "a higher psnr_rgb is better, but in this score"),
        ("scales = [4]", 'scales = ["4"]', "scales.0: Input should be a valid integer"),
        ("scales = [4]", "counted_input = [0, 256]", "counted_input.0: Input should be greater"),
        ('["params", "macs_fvcore"]', '["params", "params"]', "rank-sum: named twice: params"),
        ('["psnr_rgb", "runtime', '["params", "psnr_rgb", "runtime', "named twice: params"),
        ('label = "Size"', 'label = "Main"', "two columns have the heading Main"),
        ('label = "Size"', 'label = "Main score"', "two columns have the heading Main score"),
        ('label = "Size"', 'label = "Params [M]"', "two columns have the heading Params [M]"),
        (RANK_SUM, 'kind = "speedup", quality = "params"', "a score without unit, and params is"),
        (
            RANK_SUM,
            'kind = "speedup", quality = "ssim_y", runtime = "params"',
            "runtime must be a metric in ms, and params is not",
        ),
        (
            RANK_SUM,
            'kind = "real-time", quality = "params"',
            "real-time: quality must be a metric in dB, and params is not",
        ),
        (
            RANK_SUM,
            'kind = "real-time", runtime = "macs_fvcore"',
            "real-time: runtime must be a metric in ms, and macs_fvcore is not",
        ),
    ],
)
def test_what_makes_no_rule_names_its_field(old, new, problem):
    assert old in TEMPLATE
    with pytest.raises(DataError, match=r"rule\.toml: this is not a valid rule") as caught:
        parse_rule(TEMPLATE.replace(old, new, 1), "rule.toml")
    assert problem in "\n".join(caught.value.problems)
    assert caught.value.advice == "`esrbench rules --template` prints a rule to start from."


def test_an_edition_s_name_is_taken(tmp_path):
    path = tmp_path / "rule.toml"
    path.write_text(TEMPLATE.replace('"custom"', '"ntire2022"', 1), encoding="utf-8")
    with pytest.raises(DataError, match="this is not a valid rule") as caught:
        get_rule(str(path))
    assert caught.value.problems == ("name: ntire2022 is an edition with published entries",)


def test_a_file_that_is_no_toml_or_not_there(tmp_path):
    with pytest.raises(DataError, match="not valid TOML") as caught:
        parse_rule("name = ", "x.toml")
    assert caught.value.problems == ("Invalid value (at end of document)",)
    with pytest.raises(DataError, match="cannot be read"):
        load_rule(tmp_path / "none.toml")
