"""A leaderboard of made-up records."""

import builders
import pytest

from esrbench.ranking.leaderboard import build_leaderboard
from esrbench.ranking.rule import Rule
from esrbench.ranking.rules import RULES
from esrbench.records import RunRecord
from esrbench.statistics import geometric_mean

IMDN = {
    "psnr_rgb": 29.13,
    "runtime_images": 0.05086,
    "params": 893_936,
    "macs_ntire2022": 58_531_512_320,
    "activations_ntire2022": 154_140_672,
    "pass_peak_bytes": 471.76 * 2**20,
    "conv_calls_ntire2022": 43,
}
TIMED_COUNTS = {
    "params": 3e5,
    "macs_ntire2022": 2e10,
    "macs_fvcore": 2e10,
    "activations_ntire2022": 1e8,
    "pass_peak_bytes": 1e8,
    "psnr_rgb": 29.0,
}


@pytest.fixture
def imdn():
    """The baseline of 2022, as it was counted."""
    return dict(IMDN)


@pytest.fixture
def arfdn():
    """The AIDN team's entry, as it was counted; HiImageTeam is its published row."""
    return {
        "psnr_rgb": 29.00,
        "runtime_images": 0.04775,
        "params": 241_548,
        "macs_ntire2022": 14_506_603_360,
        "macs_fvcore": 14_500_000_000,
        "activations_ntire2022": 151_355_840,
        "pass_peak_bytes": 861.84 * 2**20,
        "conv_calls_ntire2022": 100,
    }


@pytest.fixture
def rank(make_record):
    """Ranks entries, each a record or (name, values, fields of the record), oldest first."""

    def build(*entries, rule="ntire2022", **options):
        records = [
            each
            if isinstance(each, RunRecord)
            else make_record(each[0], each[1], **(each[2] if len(each) > 2 else {}))
            for each in entries
        ]
        return build_leaderboard(
            records, rule if isinstance(rule, Rule) else RULES[rule], **options
        )

    return build


@pytest.fixture
def timed(make_record):
    """A record whose runtime is the geometric mean over its processes."""

    def build(name, processes, **values):
        replicates = (
            builders.replicate(builders.samples("image", seconds=(seconds,)), index=index)
            for index, seconds in enumerate(processes)
        )
        found = TIMED_COUNTS | {"runtime_images": geometric_mean(processes)} | values
        return make_record(name, found, latency=builders.latency(*replicates))

    return build
