"""Kill -9 of all that takes part in a suite: nothing is lost, and nothing is done twice unsaid."""

import math
import os
import sys
from collections import Counter
from pathlib import Path

import pytest
import small_ray
import small_slurm
from builders import run

from esrbench.runs.store import Store

SCRIPT = Path(__file__).with_name("killed_engine.py")
ENTRIES, ROUNDS = 6, 2


def killed(tmp_path, pairs, engine, seed, **kills):
    """Kill so many of each kind; the folders of the suites that this took."""
    folder = tmp_path / "suites"
    folder.mkdir()
    words = [f"{kind}={count}" for kind, count in kills.items()]
    search = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[1])}
    search["XDG_RUNTIME_DIR"] = str(tmp_path)  # others may measure on this machine meanwhile
    line = [sys.executable, SCRIPT, pairs, folder, seed, engine, *words]
    done = run(*line, code=None, **search)
    if done.returncode == os.EX_TEMPFAIL:  # its cluster does not start
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    return [folder / str(number) for number in range(int(done.stdout))]


def is_all_there_once(results):
    """Of one suite; how many passes were made that do not count."""
    store = Store(results)
    records, notices = store.load()
    assert notices == []
    assert sorted(each.entry.name for each in records) == [f"net{n}" for n in range(ENTRIES)]
    log = Counter(results.with_suffix(".log").read_text().splitlines())
    again = 0
    for record in records:
        assert record.status == "ok", record.cause
        assert [each.index for each in record.latency.replicates] == list(range(ROUNDS))
        names = [f"{record.fingerprint}.{kind}" for kind in ("untimed", "timed-000", "timed-001")]
        # A kill between a file's end and the line that says so leaves no line.
        assert all(log[f"first {name}"] <= 1 for name in names)
        said = [each.message for each in record.notices if each.code == "made-again"]
        told = int(said[0].split()[0]) if said else 0
        assert sum(log[f"late {name}"] for name in names) <= told
        again += told
    for index in range(ROUNDS):
        rounds = [each.latency.replicates[index] for each in records]
        assert sorted(each.position for each in rounds) == list(range(ENTRIES))
    assert len({(each.latency.session, each.latency.variant_seed) for each in records}) == 1
    assert store.suites() == []
    store.remove_stale(math.inf)
    assert not list(results.rglob("*.tmp"))
    return again


@pytest.mark.slow
def test_workers_cells_and_submitters_may_be_killed_at_any_time(pair_folder, tmp_path):
    for results in killed(tmp_path, pair_folder, "local", 5, worker=3, cell=3, submitter=3):
        is_all_there_once(results)


@pytest.mark.slow
@pytest.mark.parametrize("cluster", [small_slurm, small_ray], ids=["slurm", "ray"])
def test_nodes_of_a_cluster_may_be_killed_as_well(cluster, pair_folder, tmp_path):
    if why := cluster.obstacle():
        pytest.skip(why)
    kills = {"worker": 1, "cell": 1, "submitter": 1, "node": 2}
    engine = cluster.__name__.removeprefix("small_")
    for results in killed(tmp_path, pair_folder, engine, 6, **kills):
        is_all_there_once(results)
