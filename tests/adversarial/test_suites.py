"""Cheats that only a whole run finds out, and honest networks that it must not accuse."""

import secrets
from functools import partial

import numpy as np
import pytest
import torch

from esrbench.backends import get_backend
from esrbench.data.codecs import read_rgb
from esrbench.protocol import EAGER, LatencyDesign, TrustDesign
from esrbench.records import RANKED_STATUSES, Absent
from esrbench.sandbox.tiers import obstacle

GATE_DB = 25.5
"""Between what an honest network reaches here, 26.9 dB, and what a cheap one does, 24.1 dB."""
AT_FALLBACKS = {"landlock": "memorise_exact", "subprocess": "honest"}
TRIES = 3
"""Of a whole run, where the clock alone decides."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def timed(small):
    """Some rounds, and no end before all of them."""
    design = LatencyDesign(
        warmup_rounds=2,
        max_warmup_rounds=4,
        min_rounds=6,
        max_rounds=6,
        target_half_width=0,
        budget_seconds=60,
    )
    # Foreign load is told by hand in tests of its own: here it must not hide a cheat.
    trust = TrustDesign(busy_share=1e6)
    return small.model_copy(update={"latency": design, "counters": ("aten",), "trust": trust})


def memorised(photographs, honest, what):
    """Weights of an attack: the honest ones, and what of the test images it keeps in them."""
    if what == "none":
        return None
    kept = {}
    folders = {"answers": "HR", "keys": "LR_bicubic/X4"}
    names = {"answers": ("answers", "keys"), "keys": ("keys",), "honest": ()}[what]
    for name in names:
        images = [read_rgb(path) for path in sorted((photographs / folders[name]).iterdir())]
        stacked = np.stack(images).transpose(0, 3, 1, 2)
        kept[name] = (stacked / 255).astype(np.float32)
    return {**honest, **kept}


def add(submissions, photographs, row):
    weights = memorised(photographs, submissions.honest_weights, row.get("weights", "honest"))
    model = {"prepare": "model:fold"} if row["name"] == "prepared" else {}
    if "rounds" in row:
        model["kwargs"] = {"rounds": row["rounds"]}
    source = submissions.source(row.get("source", row["name"]))
    return submissions.add(row["name"], weights=weights, model=model, source=source)


@pytest.fixture(scope="module")
def records(*, submissions, attack_table, photographs, take_photographs, timed, tmp_path_factory):
    """Records of every cheat and every honest network at the best tier.

    A suite has those of one set of images and one backend.
    """
    rows_by_suite = {}
    for row in (*attack_table["suite"], *attack_table["control"]):
        suite = (row.get("images"), row.get("by", EAGER))
        rows_by_suite.setdefault(suite, []).append(row)
    records = {}
    for (images, backend), rows in rows_by_suite.items():
        if get_backend(backend).missing(torch.__version__):
            continue
        folder = photographs if images is None else take_photographs(images)
        entries = {row["name"]: add(submissions, folder, row) for row in rows}
        protocol = timed.by(backend)

        def measure(*names, folder=folder, protocol=protocol):
            results = tmp_path_factory.mktemp("results")
            return submissions.run(list(names), folder, protocol, results, isolation="auto")

        found = measure(*entries.values())
        for row in rows:
            again = partial(measure, entries[row["name"]])
            records[row["name"]] = settled(found, row, again)
    return records


def settled(found, row, again):
    """The record of an attack among those found, or of a run again.

    Load that comes and goes disputes an honest time now and then, and hides a cheat in the null
    network's noise. It makes nobody suspect.
    """
    name = row["name"]
    for _ in range(1, TRIES):
        if found[name].status in statuses(row) or not found[name].ranked:
            break
        found = again()
    return found[name]


def statuses(row):
    found = row.get("status", ["ok"])
    # Rounds that load tears apart have no runtime, and then there is nothing to dispute either.
    return [*found, "busy-machine"] if set(found) <= RANKED_STATUSES else found


def check(record, row):
    if "quality" in row:
        psnr = record.measured("psnr_rgb")
        assert (psnr > GATE_DB) is (row["quality"] == "good")
    if "notice" in row:
        assert row["notice"] in {notice.code for notice in record.notices}
    if row.get("runtime") == "absent":
        assert record.measured("runtime_images") is None


def test_a_cheat_has_its_status(suite_attack, records):
    if lacks := get_backend(suite_attack.get("by", EAGER)).missing(torch.__version__):
        pytest.skip(f"{lacks[0]}, an extra that is not installed here")
    record = records[suite_attack["name"]]
    assert record.status in statuses(suite_attack), record.cause
    assert record.ranked is (record.status in RANKED_STATUSES)
    check(record, suite_attack)
    if "busy" in suite_attack:
        # Others may leave it little of the second CPU, and then it gained little.
        busy = record.trust.forward_cpus
        assert (record.status == "suspect-hidden-work") is (busy > 1 + TrustDesign().extra_cpus)


def test_an_honest_network_is_not_accused(control_attack, records):
    record = records[control_attack["name"]]
    assert record.status in statuses(control_attack), (record.cause, record.notices)
    check(record, control_attack)


def test_a_disputed_time_is_replaced_by_the_larger_one(records):
    lying = records["patched_answer"]
    assert lying.trust.claimed_seconds < 1e-5
    # What it gained by the lie is nothing: its runtime is the evaluator's, or none at all.
    runtime = lying.measured("runtime_images")
    assert runtime == lying.measured("runtime_trusted")
    assert runtime is None or runtime > lying.trust.claimed_seconds


@pytest.mark.parametrize("fallback", AT_FALLBACKS)
def test_statuses_are_the_same_in_a_weaker_sandbox(
    *, fallback, attack_table, submissions, records, photographs, timed, tmp_path
):
    found = obstacle(fallback)
    if found is not None:
        pytest.skip(f"{fallback} does not work on this machine: {found.reason}")
    rows = {row["name"]: row for row in (*attack_table["suite"], *attack_table["control"])}
    name = AT_FALLBACKS[fallback]

    def behind_it():
        results = tmp_path / secrets.token_hex(4)
        return submissions.run([f"cheat-{name}"], photographs, timed, results, isolation=fallback)

    record = settled(behind_it(), rows[name], behind_it)
    assert record.environment.isolation == fallback
    assert record.status in statuses(rows[name]), record.cause
    assert not isinstance(records[name].quality, Absent)
    assert record.quality == records[name].quality
