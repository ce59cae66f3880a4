"""The committed example is an entry like any other: folder, worker, record."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from esrbench.entries.building import deploy
from esrbench.entries.networks import build_network, resolve_weights
from esrbench.entries.registry import Registry
from esrbench.entries.submissions import read_submission
from esrbench.protocol import LatencyDesign, Protocol
from esrbench.records import Complexity, CounterResult
from esrbench.runs.plan import plan_suite
from esrbench.runs.store import Store
from esrbench.runs.suite import run_suite
from esrbench.runs.validation import validate_entry

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "submissions" / "esrbench-pocket"
PARAMS = (12 * 16 + 3 * 16 * 16 + 16 * 192) * 9 + 4 * 16 + 192
MACS = (12 * 16 + 3 * 16 * 16 + 16 * 192) * 9 * 128 * 128
"""Of five 3x3 convolutions on half of 256x256."""


def test_it_keeps_every_promise():
    report = validate_entry(read_submission(FOLDER), 4, weights="auto", timeout_seconds=120)
    odd = {check.name: check for check in report.checks if check.outcome != "passed"}
    # What was counted is as claimed; PSNR is measured below.
    assert {name: check.outcome for name, check in odd.items()} == {"claimed PSNR": "skipped"}


def test_its_weights_are_small_enough_to_be_committed():
    assert sum(path.stat().st_size for path in FOLDER.glob("*.safetensors")) < 200_000


def test_folding_keeps_what_it_computes():
    entry = read_submission(FOLDER)
    network = build_network(entry, 4, seed=3)
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    lr = torch.rand(1, 3, 10, 12)
    with torch.no_grad():
        expected = network(lr)
        folded = deploy(entry, network)(lr)
    assert torch.allclose(folded, expected, atol=1e-4)
    assert sum(each.numel() for each in network.parameters()) == PARAMS


@pytest.mark.slow
def test_it_is_measured_as_claimed(tmp_path):
    entry = read_submission(FOLDER)
    registry = Registry()
    registry.add((entry,), origin=entry.origin)
    latency = LatencyDesign(
        warmup_rounds=1, max_warmup_rounds=1, min_rounds=2, max_rounds=2, budget_seconds=1
    )
    suite = plan_suite(
        registry,
        [entry.name],
        ["demo"],
        4,
        weights={},
        protocol=Protocol(threads=1, latency=latency),
    )
    store = Store(tmp_path / "results")
    (record,) = run_suite(suite, store)
    assert record.failure() is None
    # On a busy machine the clocks may not agree; whatever else is wrong is wrong.
    assert record.status in {"ok", "timing-disputed", "busy-machine"}
    ran = record.entry.weights
    loaded = {"parameters_sha256": ran.parameters_sha256}
    assert ran == resolve_weights(entry, 4).identity.model_copy(update=loaded)
    assert ran.parameters_sha256 is not None
    assert record.entry.weights.source == "submitted"
    assert isinstance(record.complexity, Complexity)
    assert record.complexity.params == PARAMS
    for counter in ("fvcore", "aten"):
        result = record.complexity.counters[counter]
        assert isinstance(result, CounterResult)
        assert result.macs == MACS
    for figure in entry.published:
        measured = record.measured(figure.metric)
        assert measured is not None
        tolerance = 0.005 if figure.metric == "psnr_rgb" else 0
        assert np.isclose(measured, figure.value, rtol=0, atol=tolerance)
    # Bicubic, which has no parameters, scores 26.20 dB on these images.
    assert (record.measured("psnr_rgb") or 0) > 26.5
