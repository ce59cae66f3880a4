"""The baseline that gates this program's own networks."""

from pathlib import Path

import pytest

from esrbench.entries.registry import default_registry
from esrbench.entries.weight_files import demonstration_weights
from esrbench.gate.baseline import read_baseline, render
from esrbench.gate.figures import entry_key
from esrbench.plugins import OWN_NAME
from esrbench.weights.checkpoints import file_sha256

BASELINE = Path(__file__).resolve().parents[2] / "results" / "baseline.json"

pytestmark = pytest.mark.skipif(
    not BASELINE.is_file(), reason="results/baseline.json is not in this distribution"
)


def test_every_network_of_ours_is_gated():
    own = [each for each in default_registry() if each.origin == OWN_NAME]
    baseline = read_baseline(BASELINE)

    assert set(baseline.entries) == {entry_key(each.name, max(each.scales)) for each in own}
    for each in own:
        scale = max(each.scales)
        shipped = demonstration_weights(each, scale)
        entry = baseline.entries[entry_key(each.name, scale)]
        if shipped is None:
            assert entry.weights.sha256 is None
        else:
            assert entry.weights.sha256 == file_sha256(shipped)
            assert set(entry.scores) == {"demo"}


def test_the_file_is_as_the_command_writes_it():
    assert render(read_baseline(BASELINE)) == BASELINE.read_text(encoding="utf-8")


def test_no_runtime_of_another_machine_gates_ours():
    """They are raced within a job instead, as tox.ini says."""
    assert {entry.runtime for entry in read_baseline(BASELINE).entries.values()} == {None}


def test_figures_are_those_that_challenge_and_papers_print():
    """RFDN and IMDN as NTIRE 2022 printed them: 0.433 M, 27.10 G, 112.03 M, 64; and 0.894 M."""
    entries = read_baseline(BASELINE).entries
    rfdn = entries["rfdn x4"].counts

    assert f"{rfdn['params'] / 1e6:.3f}" == "0.433"
    assert f"{rfdn['macs_ntire2022'] / 1e9:.2f}" == "27.10"
    assert f"{rfdn['activations_ntire2022'] / 1e6:.2f}" == "112.03"
    assert rfdn["conv_calls_ntire2022"] == 64
    assert f"{entries['imdn-challenge x4'].counts['params'] / 1e6:.3f}" == "0.894"
