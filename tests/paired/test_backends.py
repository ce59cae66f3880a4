"""Rows of the comparison of backends are stored as they are measured, and used again."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from esrbench.cli.compare import compare_command
from esrbench.cli.console import open_registry
from esrbench.data.datasets import open_dataset
from esrbench.errors import MeasurementError
from esrbench.paired import backends
from esrbench.paired.backends import compare_backends, compared_protocols, plan_rows, stored_rows
from esrbench.protocol import Protocol
from esrbench.records import Absent, Deployment, Equality, Interval, PairedEstimate
from esrbench.runs.plan import plan_entries
from esrbench.runs.store import Store

RATIO = PairedEstimate(
    ratio=0.5,
    interval=Interval(low=0.49, high=0.52, confidence=0.99, method="order-statistics"),
    pairs=20,
)
BUSY = Absent(kind="failed", reason="60 of 60 pairs were set aside")
EQUALITY = Equality(values=100, differing=0, largest=0, psnr_difference=0.0)
NAMES = ("onnxruntime", "torch-compile")


@pytest.fixture
def measured(monkeypatch):
    """Backends whose rows were measured, by a measurement that is made up."""
    done = []
    found = SimpleNamespace(estimates={}, done=done)

    def race(_candidate, _baseline, protocol, *_args, **_kwargs):
        backend = protocol.forward.backend
        done.append(backend)
        estimate = found.estimates.get(backend, RATIO)
        if isinstance(estimate, BaseException):
            raise estimate
        return SimpleNamespace(estimate=estimate, reason=getattr(estimate, "reason", ""))

    def measure(_entry, pairs, protocol, *, reference, **_kwargs):
        for index, pair in enumerate(pairs.pairs):
            reference(pairs.read_lr(index), pair.name)
        name = protocol.forward.backend
        return SimpleNamespace(
            deployment=Deployment(backend=name, load_seconds=0.1, equality=EQUALITY)
        )

    monkeypatch.setattr(backends, "require_backend", lambda _protocol: None)
    monkeypatch.setattr(backends, "export", lambda entry, *_args, **_kwargs: entry)
    monkeypatch.setattr(backends, "measure_untimed", measure)
    monkeypatch.setattr(backends, "race", race)
    monkeypatch.setattr(backends._EagerSR, "upscale", lambda _self, lr, _image: lr)
    return found


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture(scope="module")
def pairs():
    return open_dataset("demo", 4)


def rows_of(pairs, **settings):
    entries = plan_entries(open_registry(), ["rfdn"], 4, {})
    protocol = Protocol(latency=None, threads=1, **{"counted_input": (64, 64), **settings})
    return plan_rows(entries, compared_protocols(protocol, NAMES, None), pairs)


def compared(rows, pairs, store):
    known, notices = stored_rows(rows, store)
    return [*compare_backends(rows, pairs, store, known=known)], notices


def test_rows_are_measured_once(measured, store, pairs):
    rows = rows_of(pairs)
    first, _ = compared(rows, pairs, store)
    again, notices = compared(rows, pairs, store)
    assert [each.backend for each in first] == [*NAMES]
    assert again == first
    assert measured.done == [*NAMES]
    assert notices == []


def test_what_is_cut_short_keeps_the_rows_that_were_ready(measured, store, pairs):
    rows = rows_of(pairs)
    measured.estimates["torch-compile"] = KeyboardInterrupt()
    under_way = compare_backends(rows, pairs, store, known={})
    next(under_way)
    with pytest.raises(KeyboardInterrupt):
        next(under_way)
    measured.estimates.clear()
    assert [each.backend for each in compared(rows, pairs, store)[0]] == [*NAMES]
    assert measured.done == [*NAMES, "torch-compile"]


@pytest.mark.parametrize("lacking", [BUSY, MeasurementError("it failed")])
def test_a_row_that_lacks_a_figure_is_measured_again(measured, store, pairs, lacking):
    rows = rows_of(pairs)
    measured.estimates["onnxruntime"] = lacking
    first, _ = compared(rows, pairs, store)
    assert isinstance(first[0].ratio, Absent)
    measured.estimates.clear()
    again, _ = compared(rows, pairs, store)
    assert again[0].ratio == RATIO
    assert measured.done == [*NAMES, "onnxruntime"]


def test_rows_of_other_settings_data_or_software_are_not_used(pairs, monkeypatch):
    (mine, other_backend) = rows_of(pairs)
    (larger, _) = rows_of(pairs, counted_input=(128, 128))
    (other_images, _) = rows_of(replace(pairs, digest="f" * 64))
    monkeypatch.setattr(backends, "package_version", lambda _name: "0.0")
    (newer, _) = rows_of(pairs)
    prints = [each.fingerprint for each in (mine, other_backend, larger, other_images, newer)]
    assert len(set(prints)) == len(prints)


def test_a_row_whose_file_is_corrupt_is_measured_again(measured, store, pairs):
    rows = rows_of(pairs)
    compared(rows, pairs, store)
    path = store.backends / f"{rows[0].fingerprint}.json"
    path.write_bytes(path.read_bytes().replace(b"0.5", b"0.4"))
    _, notices = compared(rows, pairs, store)
    assert [each.code for each in notices] == ["corrupt-record"]
    assert measured.done == [*NAMES, "onnxruntime"]
    assert compared(rows, pairs, store)[1] == []


def test_eager_torch_upscales_an_image_once_for_all_backends(tmp_path, monkeypatch):
    asked = []

    def upscale(lr, image):
        asked.append(image)
        return lr + 1

    eager = backends._EagerSR(None, None, None, tmp_path, None)
    monkeypatch.setattr(
        backends._EagerSR, "_worker", lambda _self: SimpleNamespace(upscale=upscale)
    )
    lr = np.zeros((2, 3, 3), np.uint8)
    for _ in NAMES:
        for image in ("0801", "0802"):
            assert (eager.upscale(lr, image) == 1).all()
    assert asked == ["0801", "0802"]


def test_the_same_command_prints_the_whole_table_of_stored_rows(measured, tmp_path, capsys):
    folder = tmp_path / "results"
    for left in (2, 0):
        compare_command(["rfdn"], backends=",".join(NAMES), folder=folder, table_format="markdown")
        out, err = capsys.readouterr()
        assert out.count("0.500") == 2
        assert f"measuring {left} of 2 rows" in err
    assert measured.done == [*NAMES]
