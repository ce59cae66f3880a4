"""Energy within a run: which input, what a failure costs, what records and boards say."""

from types import SimpleNamespace

import numpy as np
import pytest

from esrbench.entries.descriptor import ModelDescriptor
from esrbench.errors import MeasurementError
from esrbench.protocol import EnergyDesign, Protocol
from esrbench.records import Absent, Energy, EnergyWindow, Value
from esrbench.runs import evaluator
from esrbench.runs.assembly import _notices
from esrbench.runs.forecast import forecast
from esrbench.runs.store import Store
from esrbench.worker.failure import WorkerError

LR = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3)
DESIGN = EnergyDesign()
PROTOCOL = Protocol(counted_input=(7, 6), energy=DESIGN)
REST = EnergyWindow(seconds=5, joules=395, images=0, updates=50)
WORK = EnergyWindow(seconds=10, joules=3845, images=2350, updates=100)


def measured(monkeypatch, measure, counter="a counter"):
    monkeypatch.setattr(evaluator, "open_counter", lambda **_: counter)
    monkeypatch.setattr(evaluator, "measure_energy", measure)
    session = SimpleNamespace(upscale=lambda lr, name: (lr, name))
    pairs = SimpleNamespace(read_lr=lambda _: LR)
    ready = SimpleNamespace(gpu_uuid=None)
    return evaluator._energy(session, pairs, PROTOCOL, DESIGN, ready)


def test_the_first_image_is_repeated_to_the_fixed_input(monkeypatch):
    def measure(upscale, lr, counter, **design):
        assert (counter, design) == ("a counter", DESIGN.model_dump())
        assert upscale(lr) == (lr, "the fixed input")
        return lr

    found = measured(monkeypatch, measure)
    assert found.shape == (7, 6, 3)
    assert (found[:3, :5] == LR).all()
    assert (found[6, 5] == LR[0, 0]).all()


def test_no_counter_means_no_forwards(monkeypatch):
    absent = Absent(kind="unavailable", reason="there are no counters of RAPL")
    assert measured(monkeypatch, lambda *_, **__: pytest.fail("ran"), absent) is absent


@pytest.mark.parametrize(
    "failure",
    [
        MeasurementError("the counter went backwards"),
        WorkerError("forward-error", "no", fatal=False),
    ],
)
def test_a_failure_costs_the_energy_alone(monkeypatch, failure):
    def measure(*_, **__):
        raise failure

    found = measured(monkeypatch, measure)
    assert (found.kind, found.reason) == ("failed", failure.message)


def test_a_worker_that_died_ends_the_pass(monkeypatch):
    def measure(*_, **__):
        raise WorkerError("crash", "gone", fatal=True)

    with pytest.raises(WorkerError):
        measured(monkeypatch, measure)


def test_a_record_says_why_there_is_no_energy():
    absent = Absent(kind="unavailable", reason="only root may", advice="Ask root.")
    found = SimpleNamespace(complexity=absent, deployment=None, energy=absent, unlike=None)
    untimed = SimpleNamespace(found=found, protocol=PROTOCOL, notices=())
    (notice,) = _notices(untimed, absent)
    assert (notice.code, notice.advice) == ("no-energy", "Ask root.")
    assert notice.message == "energy was not measured: only root may"


@pytest.mark.parametrize(
    ("counter", "domains", "said"),
    [
        ("nvml", ("NVIDIA H100",), "see 25 % of the runtime (arXiv 2312.02741)"),
        ("rapl", ("package-0", "dram"), "RAPL's counters (package-0, dram), median of 6 windows"),
    ],
)
def test_a_board_shows_energy_and_its_limits(make_record, counter, domains, said):
    from esrbench.ranking.leaderboard import build_leaderboard
    from esrbench.ranking.rules import RULES

    energy = Energy(
        counter=counter,
        domains=domains,
        input_size=(256, 256),
        idle=(REST,) * 6,
        windows=(WORK,) * 6,
    )
    assert energy.joules_per_image == pytest.approx([1.3] * 6)
    records = [
        make_record("rfdn", {"params": 1e6, "energy": Value(value=1.3)}, energy=energy),
        make_record("imdn", {"params": 2e6}),
    ]
    board = build_leaderboard(records, RULES["ntire2022"])
    assert board.columns[-1] == "energy"
    assert any(said in note for note in board.notes)
    assert build_leaderboard(records[1:], RULES["ntire2022"]).columns[-1] != "energy"


def test_a_plan_allows_for_the_windows_of_energy_and_learns_no_speed_from_them(
    make_record, make_suite, quick, tmp_path
):
    """Six windows of 10 s, each after 5 s of rest, whatever the images."""
    file = tmp_path / "one.py"
    file.write_text("class Net: ...\n")
    one = ModelDescriptor(name="one", summary="a", scales=(4,), factory=f"{file}:Net")
    asked = quick.model_copy(update={"energy": DESIGN})
    energy = Energy(
        counter="rapl", domains=("dram",), input_size=(8, 8), idle=(REST,), windows=(WORK,)
    )
    found = []
    for fields in (
        {"duration_seconds": 8.0},
        {"duration_seconds": 98.0, "protocol": asked, "energy": energy},
    ):
        store = Store(tmp_path / str(len(found)))
        store.put(make_record("other", {}, **fields))
        for protocol in (quick, asked):
            (planned,) = forecast(make_suite(one, protocol=protocol), store, resume=False)
            found.append(planned.seconds)
    plain = found[0]
    assert found == pytest.approx([plain, plain + 90, plain, plain + 90])
