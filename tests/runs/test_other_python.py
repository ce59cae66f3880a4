"""Entries in an interpreter of their own, whole: workers, counts, records, one suite.

The interpreter is that of ``ESRBENCH_WORKER_PYTHON`` (``tox -e worker39``: Python 3.9 and torch
1.13.1), else the running one as if it were another.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import save_file

from esrbench.data.datasets import open_dataset
from esrbench.entries.descriptor import ModelDescriptor
from esrbench.entries.networks import build_network, resolve_weights
from esrbench.entries.registry import Registry, default_registry
from esrbench.gate.bench import Bench, Request
from esrbench.paired.race import race
from esrbench.protocol import COUNTERS, LatencyDesign, PairDesign, Protocol
from esrbench.ranking.leaderboard import build_leaderboard
from esrbench.ranking.rules import RULES
from esrbench.records import Absent, Complexity, CounterResult, Latency, Software
from esrbench.runs import elsewhere
from esrbench.runs.builds import build
from esrbench.runs.evaluator import Entry, measure_untimed
from esrbench.runs.plan import plan_suite
from esrbench.runs.store import Store
from esrbench.runs.suite import run_suite
from esrbench.runs.validation import validate_entry
from esrbench.worker.launcher import open_launcher

SMALL = Protocol(
    threads=1, counted_input=(48, 64), memory_input=(64, 66), counters=("aten",), latency=None
)
SCALE = 4
NET = """
import sys

import torch
from torch import nn

{head}


class Net(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale
        self.body = nn.Conv2d(3, 3 * scale**2, 3, padding=1)

    def forward(self, lr):
        return nn.functional.pixel_shuffle(self.body(lr){tail}, self.scale)
"""
PARAMS = 3 * 48 * 9 + 48
IN_HARNESS = "'pydantic' in sys.modules"


@pytest.fixture(scope="module")
def software(another_python):
    return Software(**dict(another_python.versions))


@pytest.fixture(scope="module")
def pairs(shared_pair_folder):
    return open_dataset(str(shared_pair_folder), SCALE)


@pytest.fixture
def submit(tmp_path):
    """Writes a submission's code, and gives its descriptor."""

    def write(head="", tail="", name="team-net", **fields):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.py").write_text(NET.format(head=head, tail=tail))
        return ModelDescriptor(
            name=name,
            summary="test",
            scales=(SCALE,),
            factory="model:Net",
            folder=str(folder),
            **fields,
        )

    return write


def measured(descriptor, pairs, python, protocol=SMALL):
    weights = resolve_weights(descriptor, SCALE, None)
    entry = Entry(descriptor, SCALE, weights, python, b"")
    return measure_untimed(entry, pairs, protocol, launcher=open_launcher())


@pytest.mark.slow
def test_its_counts_are_of_the_harness_where_images_are_the_same(
    submit, pairs, another_python, software
):
    found = measured(submit(), pairs, another_python)
    assert found.ready is not None
    assert found.ready.deployed_elements == PARAMS
    assert found.ran_with == software
    assert found.counted_with == elsewhere.own_software()
    assert isinstance(found.complexity, Complexity), found.complexity
    assert found.complexity.params == PARAMS
    counter = found.complexity.counters["aten"]
    assert isinstance(counter, CounterResult)
    assert counter.macs == 48 * 64 * 3 * 48 * 9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "tail", "says"),
    [
        (f"assert not {IN_HARNESS}, 'an old library'", "", "an old library"),
        ("", f" + (0.1 if {IN_HARNESS} else 0)", "levels there"),
    ],
)
def test_elsewhere_it_has_no_counts_and_says_why(
    *, submit, pairs, another_python, head, tail, says
):
    found = measured(submit(head, tail), pairs, another_python)
    assert found.ready is not None
    assert isinstance(found.complexity, Absent)
    assert (found.complexity.kind, found.complexity.failure) == ("unavailable", None)
    assert says in found.complexity.reason
    assert found.spoilt is False


@pytest.mark.slow
def test_two_networks_race_there(submit, another_python, software, weights):
    """One has the interpreter, the other weights that its worker is sent."""
    moved, other = submit(), default_registry().get("rfdn")
    entries = (
        Entry(moved, SCALE, resolve_weights(moved, SCALE, None), another_python),
        Entry(other, SCALE, resolve_weights(other, SCALE, weights["rfdn"])),
    )
    design = PairDesign(pairs_per_process=20, self_pairs_per_process=10, max_pairs=40)
    record = race(*entries, SMALL.model_copy(update={"counted_input": (16, 16)}), design)
    assert record.ran_with == software
    assert record.environment.packages["torch"] == software.torch
    assert [each.loaded_first for each in record.processes] == ["candidate", "baseline"]
    assert record.timed_pairs == 40
    assert all(batch.conditions for each in record.processes for batch in each.batches)
    assert record.baseline.weights.parameters_sha256 is not None


@pytest.mark.slow
def test_the_gate_measures_there_and_counts_here(submit, another_python, software):
    registry = Registry()
    head = f"assert not {IN_HARNESS}, 'an old library'"
    registry.add([submit(), submit(head=head, name="old-net")], origin="tests")
    names = ("team-net", "old-net")
    bench = Bench(registry, Request(interpreters=dict.fromkeys(names, another_python), threads=1))
    subjects = [bench.subject(name, bench.entry(name, SCALE), ()) for name in names]
    counted, uncounted = bench.measure(subjects, (48, 64))
    assert counted.figures.counts["params"] == PARAMS
    assert counted.figures.counts["macs_aten"] == 48 * 64 * 3 * 48 * 9
    theirs, own = (each.torch.partition("+")[0] for each in (software, elsewhere.own_software()))
    assert counted.terms.software["torch"] == f"{theirs}, counted with {own}"
    assert "params" not in uncounted.figures.counts
    assert "an old library" in uncounted.absent[None, "params"].reason


def test_a_missing_module_is_said_by_what_the_entry_declares(submit, pairs, another_python):
    entry = submit("import esrtest_nowhere", requirements=("esrtest-nowhere==2",))
    found = measured(entry, pairs, another_python)
    assert isinstance(found.complexity, Absent)
    assert found.complexity.failure == "load-error"
    assert "No module named 'esrtest_nowhere'; it declares esrtest-nowhere==2" in (
        found.complexity.reason
    )


@pytest.mark.slow
def test_what_it_compiles_is_compiled_there(submit, another_python, software):
    launcher = open_launcher()
    if launcher.sandbox.privileges:
        pytest.skip("no sandbox works here, and nothing is built without one")
    descriptor = submit(build="setup.py")
    setup = (
        "import pathlib, platform, torch\nversions = platform.python_version(), torch.__version__\n"
    )
    setup += "pathlib.Path('fast.so').write_text(' '.join(versions))\n"
    (Path(descriptor.folder) / "setup.py").write_text(setup)
    built = build(descriptor, launcher, another_python)
    python, torch = (Path(built.folder) / "fast.so").read_text().split()
    assert python == software.python
    assert torch.partition("+")[0] == software.torch.partition("+")[0]


@pytest.mark.slow
def test_it_is_validated_there_and_counted_here(submit, another_python, software):
    def validated(**code):
        return validate_entry(
            submit(**code),
            SCALE,
            weights=None,
            timeout_seconds=120,
            interpreter=another_python,
        )

    report = validated()
    assert report.passed
    details = {check.name: check.detail for check in report.checks}
    assert f"in {software.describe()}" in details["builds and loads strictly"]
    assert "counted by aten" in details
    elsewhere_only = validated(head=f"assert not {IN_HARNESS}, 'an old library'", name="old-net")
    assert elsewhere_only.passed
    (counted,) = (check for check in elsewhere_only.checks if check.outcome == "skipped")
    assert (counted.name, "an old library" in counted.detail) == ("counted", True)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of weights of three networks of the challenge, drawn from a seed."""
    folder = tmp_path_factory.mktemp("weights")
    for name in NETWORKS:
        state = build_network(default_registry().get(name), SCALE, seed=1).state_dict()
        save_file(state, folder / f"{name}.safetensors")
    return {name: folder / f"{name}.safetensors" for name in NETWORKS}


NETWORKS = ("rfdn", "imdn", "bsrn")


@pytest.fixture
def run(another_python, monkeypatch, tmp_path, shared_pair_folder, weights):
    """Runs networks of the challenge, some of them elsewhere; records by name."""
    monkeypatch.setattr(elsewhere, "entry_interpreter", lambda _: another_python)

    def build(moved, protocol, names=NETWORKS):
        suite = plan_suite(
            default_registry(),
            names,
            [str(shared_pair_folder)],
            SCALE,
            weights={name: weights[name] for name in names},
            protocol=protocol,
            interpreters=dict.fromkeys(moved, str(another_python.executable)),
        )
        store = Store(tmp_path / "results")
        return {record.entry.name: record for record in run_suite(suite, store)}

    return build


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_networks_of_the_challenge_have_the_same_counts_and_scores(run, software):
    protocol = SMALL.model_copy(update={"counted_input": (256, 256), "counters": COUNTERS})
    here, there = run((), protocol), run(NETWORKS, protocol)
    for name in NETWORKS:
        ours, theirs = here[name], there[name]
        assert theirs.status == ours.status == "ok", theirs.cause
        assert (ours.ran_with, theirs.ran_with) == (None, software)
        assert ours.entry == theirs.entry
        for metric, value in ours.values.items():
            if isinstance(value, Absent):
                continue
            found = theirs.measured(metric)
            assert found is not None, (name, metric, theirs.value(metric))
            within = 1e-4 if metric.startswith("psnr") else 1e-5 if metric == "ssim_y" else 0
            assert found == pytest.approx(value.value, rel=0, abs=within), (name, metric)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_suite_holds_entries_of_both(run, software):
    design = LatencyDesign(
        warmup_rounds=1, min_rounds=6, max_rounds=6, target_half_width=0, budget_seconds=60
    )
    records = run(("rfdn",), SMALL.model_copy(update={"latency": design}), ("rfdn", "imdn"))
    moved, stayed = records["rfdn"], records["imdn"]
    assert (moved.ran_with, stayed.ran_with) == (software, None)
    assert moved.counted_with == elsewhere.own_software()
    assert moved.environment.python == software.python
    assert moved.environment.packages["torch"] == software.torch
    for record in records.values():
        assert record.status in {"ok", "timing-disputed", "busy-machine"}, record.cause
        assert isinstance(record.latency, Latency)
        assert record.latency.replicates[0].null
    assert moved.class_label() == f"fp32, {software.describe()}"
    board = build_leaderboard([*records.values()], RULES["ntire2022"], forward_class="fp32")
    assert {row.entry: row.unranked_because for row in board.unranked}["rfdn"] == (
        f"another class: {moved.class_label()}"
    )
