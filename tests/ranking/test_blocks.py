"""Records from several devices of one kind: the device as block effect, and who is refused."""

import builders
import numpy as np
import pytest

from esrbench.ranking.blocks import spread_within_devices
from esrbench.ranking.stability import across_processes
from esrbench.runs.index import without_samples
from esrbench.statistics import geometric_mean

COUNTS = {"params": 3e5, "macs_ntire2022": 2e10, "activations_ntire2022": 1e8, "psnr_rgb": 29.0}
ON_TWO = ("x", "y", "x", "y", "x", "y")


@pytest.fixture
def timed(make_record):
    """A record of processes of these seconds, on these devices."""

    def build(name, seconds, devices):
        replicates = [
            builders.replicate(
                builders.samples("image", seconds=(each,), delivered_seconds=(each,)),
                index=index,
                device=device,
            )
            for index, (each, device) in enumerate(zip(seconds, devices, strict=True))
        ]
        values = COUNTS | {"runtime_images": geometric_mean(list(seconds))}
        return make_record(name, values, latency=builders.latency(*replicates))

    return build


def seconds_on(devices, base, rng, slow=1.2):
    """Runtimes of an entry; those on y are slower, and all vary by 0.1 %."""
    noise = np.exp(rng.normal(0, 0.001, len(devices)))
    return base * np.where(np.array(devices) == "y", slow, 1.0) * noise


def test_what_differs_between_devices_is_no_noise(rank, timed):
    rng = np.random.default_rng(0)
    entries = {"a": 1.0, "b": 1.02, "c": 1.04}
    records = [timed(name, seconds_on(ON_TWO, s, rng), ON_TWO) for name, s in entries.items()]
    board = rank(*records)
    held = {row.entry: row.places["main"].stability for row in board.ranked}
    assert {name: (each.low, each.high) for name, each in held.items()} == {
        "a": (1, 1),
        "b": (2, 2),
        "c": (3, 3),
    }
    assert any(note.startswith("Runtimes are of 2 devices of one kind") for note in board.details)
    # Without knowing the devices, 20 % between processes hide 2 % between entries.
    unknown = [timed(name, seconds_on(ON_TWO, s, rng), [None] * 6) for name, s in entries.items()]
    held = [row.places["main"].stability for row in rank(*unknown).ranked]
    assert {(each.low, each.high) for each in held} == {(1, 3)}
    # What the index keeps is enough.
    assert rank(*map(without_samples, records)) == board


@pytest.mark.parametrize("devices", [ON_TWO, ("x", "x", "y"), ("x", "y", "z", "z")])
def test_the_spread_is_that_of_least_squares(timed, devices):
    rng = np.random.default_rng(1)
    seconds = np.exp(rng.normal(0, 0.1, (4, len(devices))))
    records = [timed(str(i), row, devices) for i, row in enumerate(seconds)]
    entries = np.repeat(np.eye(4), len(devices), axis=0)
    columns = np.tile(np.array([[d == name for name in "xyz"] for d in devices]), (4, 1))
    design = np.hstack([entries, columns])
    logs = np.log(seconds).ravel()
    left = logs - design @ np.linalg.lstsq(design, logs, rcond=None)[0]
    square, freedom = spread_within_devices(records, "runtime_images")
    assert square == pytest.approx(left @ left)
    assert freedom == logs.size - np.linalg.matrix_rank(design)


def test_an_entry_that_met_other_devices_is_not_ranked(rank, timed):
    rng = np.random.default_rng(2)
    met = {"a": ON_TWO, "b": ON_TWO, "c": ("x",) * 6, "d": (None,) * 6}
    board = rank(*(timed(name, seconds_on(each, 1.0, rng), each) for name, each in met.items()))
    # Of d nobody knows, as of all records of before.
    assert {row.entry for row in board.ranked} == {"a", "b", "d"}
    (refused,) = board.unranked
    assert refused.entry == "c"
    assert refused.unranked_because.startswith("timed on x (6), most others on x (3), y (3); ")


def test_devices_are_no_matter_where_runtime_is_not_ranked(rank, timed):
    rule = "ntire2023"
    rng = np.random.default_rng(3)
    records = [timed(n, seconds_on((n,) * 3, 1.0, rng), (n,) * 3) for n in "xy"]
    assert len(rank(*records, rule=rule).ranked) == 1
    without = [
        record.model_copy(
            update={"values": {k: v for k, v in record.values.items() if k != "runtime_images"}}
        )
        for record in records
    ]
    assert len(rank(*without, rule=rule).ranked) == 2


def test_one_entry_alone_has_no_spread_between_devices(timed):
    record = timed("a", [1.0, 1.2, 1.1], ("x", "y", "z"))
    assert spread_within_devices([record], "runtime_images") is None
    (value,) = across_processes([record], "runtime_images")
    assert value == record.values["runtime_images"]
