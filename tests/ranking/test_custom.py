from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from esrbench.errors import DataError
from esrbench.ranking.formulas import Exponential, RankSum
from esrbench.ranking.rules import TEMPLATE, get_rule, load_rule, parse_rule

if TYPE_CHECKING:
    from pathlib import Path


def test_the_template_is_a_rule(tmp_path: Path) -> None:
    path = tmp_path / "rule.toml"
    path.write_text(TEMPLATE, encoding="utf-8")
    rule = get_rule(str(path))
    assert rule.name == "custom"
    assert rule.gates[0].minimum == 29.0
    first, second = (track.formula for track in rule.tracks)
    assert isinstance(first, Exponential)
    assert first.weights == {"runtime_images": 0.7, "macs_fvcore": 0.15, "params": 0.15}
    assert isinstance(second, RankSum)
    assert rule.tracks[1].ties_by == "main"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("minimum = 29.0", 'minimum = "high"', "gates.0.minimum: Input should be a valid number"),
        ("minimum = 29.0", "", "gates.0: a gate has either a minimum or"),
        ("factor = 2.0", "factr = 2.0", "tracks.0.formula.exponential.factr: no such field"),
        ('kind = "exponential"', 'kind = "magic"', "tracks.0.formula: Input tag 'magic'"),
        ('ties_by = "main"', 'ties_by = "size"', "ties_by 'size' is no earlier track"),
        ('key = "size"', 'key = "main"', "two tracks have the key 'main'"),
        ("params = 317e3, ", "", "relative to the baseline, whose values lack params"),
        ('columns = ["psnr_rgb", "runtime_images"', 'columns = ["psnr_rgb"', "name it in columns"),
        ('"psnr_rgb", "runtime', '"psnr", "runtime', "no metric is called psnr"),
        ("params = 0.15", "params = -1", "weights.params: Input should be greater than 0"),
        ("minimum = 29.0", "minimum = nan", "gates.0.minimum: Input should be a finite number"),
        ("minimum = 29.0", 'minimum = 0.9\nmetric = "ssim_y"', "a gate holds a PSNR, psnr_rgb or"),
        ("params = 0.15", "params = inf", "weights.params: Input should be a finite number"),
        ("params = 0.15", 'params = "0.15"', "weights.params: Input should be a valid number"),
        ("params = 0.15", "params = true", "weights.params: Input should be a valid number"),
        ("params = 0.15", "psnr_rgb = 0.15", "psnr_rgb is better where higher, this score"),
        ("scales = [4]", 'scales = ["4"]', "scales.0: Input should be a valid integer"),
        ("scales = [4]", "counted_input = [0, 256]", "counted_input.0: Input should be greater"),
        ('["params", "macs_fvcore"]', '["params", "params"]', "rank-sum: named twice: params"),
        ('["psnr_rgb", "runtime', '["params", "psnr_rgb", "runtime', "named twice: params"),
        ('label = "Size"', 'label = "Main"', "two columns would be headed Main"),
        ('label = "Size"', 'label = "Main score"', "two columns would be headed Main score"),
        ('label = "Size"', 'label = "Params [M]"', "two columns would be headed Params [M]"),
        (
            'kind = "rank-sum", metrics = ["params", "macs_fvcore"]',
            'kind = "real-time", quality = "params"',
            "real-time: quality is a metric in dB, which params is not",
        ),
        (
            'kind = "rank-sum", metrics = ["params", "macs_fvcore"]',
            'kind = "real-time", runtime = "macs_fvcore"',
            "real-time: runtime is a metric in ms, which macs_fvcore is not",
        ),
    ],
)
def test_what_makes_no_rule_names_its_field(old: str, new: str, problem: str) -> None:
    assert old in TEMPLATE
    with pytest.raises(DataError, match=r"rule\.toml: this is no rule") as caught:
        parse_rule(TEMPLATE.replace(old, new, 1), "rule.toml")
    assert problem in "\n".join(caught.value.problems)
    assert caught.value.advice == "`esrbench rules --template` prints a rule to start from."


def test_an_edition_s_name_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "rule.toml"
    path.write_text(TEMPLATE.replace('"custom"', '"ntire2022"', 1), encoding="utf-8")
    with pytest.raises(DataError, match="this is no rule") as caught:
        get_rule(str(path))
    assert caught.value.problems == (
        "name: ntire2022 is an edition's, whose published entries are not of it",
    )


def test_a_file_that_is_no_toml_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no TOML") as caught:
        parse_rule("name = ", "x.toml")
    assert caught.value.problems == ("Invalid value (at end of document)",)
    with pytest.raises(DataError, match="cannot be read"):
        load_rule(tmp_path / "none.toml")
