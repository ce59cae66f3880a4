from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from esrbench.protocol import PairDesign
from esrbench.records import Conditions

ROOT = Path(__file__).resolve().parents[2]
RACES = 300
"""The fewest of which none may be wrong to be sure, at 95 %, of less than 1 %."""


@pytest.fixture(scope="module")
def study(load_benchmark):
    """``benchmarks/gate_simulation.py`` as a module."""
    return load_benchmark("gate_simulation")


def test_false_alarms_are_below_one_percent(study):
    outcomes = study.simulate(study.read()[0], 0.0, RACES)
    assert study.upper_bound(study.ended(outcomes, *study.ALARMS), RACES) < 0.01
    assert study.ended(outcomes, "unchanged") > 0.95 * RACES


def test_a_slowdown_of_five_percent_is_found_in_over_95_percent(study):
    outcomes = study.simulate(study.read()[0], 0.05, RACES, seed=1)
    assert study.lower_bound(study.ended(outcomes, "regressed"), RACES) > 0.95


@pytest.mark.parametrize(
    ("effect", "verdict"), [(0.025, "inconclusive"), (0.1, "regressed"), (-0.1, "improved")]
)
def test_effects_get_their_verdicts(study, effect, verdict):
    outcomes = study.simulate(study.read()[0], effect, 10)
    assert Counter(each.verdict for each in outcomes).most_common(1)[0][0] == verdict


def test_a_machine_taken_by_others_never_gets_a_verdict(study):
    quiet = study.read()[0]
    taken = Conditions(seconds=1.0, other_load=0.5, steal=0.0)
    processes = tuple(
        tuple(replace(segment, conditions=taken) for segment in process)
        for process in quiet.processes
    )
    busy = replace(quiet, processes=processes)
    outcomes = study.simulate(busy, 0.1, 3, design=PairDesign(max_pairs=60))
    assert {(each.verdict, each.pairs) for each in outcomes} == {("inconclusive", 60)}


def test_processes_are_drawn_whole_and_by_the_order_that_they_began_with(study):
    session = study.read()[0]
    workers = study.RecordedWorkers(session, 0.5, np.random.default_rng(3))
    for number in range(4):
        with workers as worker:
            worker.load_second(side="candidate" if number % 2 else "baseline")
            first = worker.time_pairs(count=20, self_count=10)
            second = worker.time_pairs(count=10, self_count=5)
        flat = [
            tuple(pair for segment in process for pair in segment.pairs)
            for process in session.processes
        ]
        drawn = tuple((ours / 1.5, theirs) for ours, theirs in (*first.pairs, *second.pairs))
        index = next(
            index
            for index, pairs in enumerate(flat)
            if [p[1] for p in pairs] == [p[1] for p in drawn]
        )
        assert index % 2 == number % 2
        assert np.allclose(drawn, flat[index], rtol=1e-12)
        recorded = session.processes[index][2].conditions
        assert second.conditions.other_load == pytest.approx(recorded.other_load)


def test_more_than_was_recorded_is_never_handed_out(study):
    workers = study.RecordedWorkers(study.read()[0], 0.0, np.random.default_rng(0))
    with workers as worker:
        worker.load_second(side="baseline")
        with pytest.raises(AssertionError, match="more pairs"):
            worker.time_pairs(count=31, self_count=1)


def test_bounds_are_exact(study):
    for hits, count in ((0, 300), (3, 300), (290, 300)):
        both = binomtest(hits, count).proportion_ci(confidence_level=0.9, method="exact")
        assert study.upper_bound(hits, count) == pytest.approx(both.high)
        assert study.lower_bound(hits, count) == pytest.approx(both.low)
    assert study.upper_bound(5, 5) == 1.0
    assert study.lower_bound(0, 5) == 0.0


def test_recorded_sessions_say_where_they_come_from(study, tmp_path):
    assert study.RECORDED.stat().st_size < 200_000
    sessions = study.read()
    for session in sessions:
        assert {"cpu", "threads", "network", "recorded", "torch"} <= set(session.provenance)
        assert len(session.processes) >= 20
        for process in session.processes:
            assert sum(len(segment.pairs) for segment in process) == 30
            assert sum(len(segment.self_pairs) for segment in process) == 15
    copy = tmp_path / "copy.json"
    study.write(sessions, copy)
    assert copy.read_text() == study.RECORDED.read_text()
