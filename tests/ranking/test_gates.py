"""Gates on several data sets: an entry passes all of them, or is not ranked."""

import pytest

from esrbench.ranking.rules import RULES

VALID = {"data": "div2k-lsdir-valid", "title": "DIV2K_LSDIR validation", "digest": "a" * 64}
TEST = {"data": "div2k-lsdir-test", "title": "DIV2K_LSDIR test", "digest": "b" * 64}
COSTS = {"runtime_images": 7.74e-3, "params": 0.151e6, "macs_fvcore": 9.83e9}


@pytest.fixture
def of(make_record):
    """A record of an entry with a PSNR on one of the edition's data sets, pinned as usual."""

    def build(name, psnr, where, *, pinned=True, **fields):
        record = make_record(name, COSTS | {"psnr_rgb": psnr}, **where, **fields)
        data = record.data.model_copy(update={"pinned": pinned})
        return record.model_copy(update={"data": data})

    return build


@pytest.fixture
def table(rank):
    """Ranked entries of 2026 on validation, and reasons of the others."""

    def build(records, elsewhere):
        board = rank(*records, rule="ntire2026", relative_to="published", elsewhere=elsewhere)
        reasons = {row.entry: row.unranked_because for row in board.unranked}
        return [row.entry for row in board.ranked], reasons, board

    return build


def test_both_gates_of_an_edition_decide(of, table):
    ranked, reasons, board = table(
        [of("good", 26.95, VALID), of("weak", 26.95, VALID), of("low", 26.89, VALID)],
        [of("good", 26.985, TEST), of("weak", 26.984, TEST), of("low", 27.1, TEST)],
    )
    assert ranked == ["good"]
    assert reasons == {
        "weak": "PSNR on DIV2K_LSDIR test 26.9840 dB is below 26.99 dB",
        "low": "PSNR 26.8900 dB is below 26.90 dB",
    }
    assert "26.90 dB on DIV2K_LSDIR validation" in board.gate
    assert "26.99 dB on DIV2K_LSDIR test" in board.gate
    assert "the organiser pinned them" in board.gate


def test_one_that_was_measured_on_one_set_alone_is_not_ranked(of, table):
    elsewhere = [
        of("failed", 27.0, TEST, status="oom"),
        of("other", 27.0, TEST, entry={"code_sha256": "c" * 64}),
        of("good", 27.0, TEST),
    ]
    names = ("good", "absent", "failed", "other")
    ranked, reasons, _ = table([of(name, 26.95, VALID) for name in names], elsewhere)
    assert ranked == ["good"]
    assert reasons == {
        "absent": "PSNR is missing: it was not measured on DIV2K_LSDIR test",
        "failed": "PSNR is missing: its run on DIV2K_LSDIR test ended as oom",
        "other": "PSNR is missing: its run on DIV2K_LSDIR test was of other code or weights",
    }


def test_images_that_nobody_vouches_for_hold_no_gate(of, table):
    ranked, _, board = table([of("low", 20.0, VALID)], [of("low", 20.0, TEST, pinned=False)])
    assert ranked == []
    assert "No gate is claimed on DIV2K_LSDIR test" in board.gate
    ranked, _, board = table([of("low", 20.0, VALID, pinned=False)], [])
    assert ranked == ["low"]
    assert board.gate.startswith("No gate is claimed")


def test_gates_hold_where_the_edition_says():
    for year in (2024, 2025, 2026):
        gates = {gate.data: gate.minimum for gate in RULES[f"ntire{year}"].gates}
        assert gates == {"div2k-lsdir-valid": 26.90, "div2k-lsdir-test": 26.99}
