"""Gates: an entry keeps all bounds of quality and cost, or is not ranked."""

import pytest

from esrbench.protocol import Protocol
from esrbench.ranking.rules import RULES
from esrbench.reports.leaderboard import leaderboard_table

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
        "other": "PSNR is missing: its run on DIV2K_LSDIR test used other code or weights",
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


AT_540P = Protocol(counted_input=(540, 960))


def test_real_esrgan_takes_the_share_of_the_budget_that_is_published():
    """23 residual-in-residual blocks of 3x3 convolutions by hand; published are 22 and 30 %."""
    block = 9 * (64 * 32 + 96 * 32 + 128 * 32 + 160 * 32 + 192 * 64)
    at_lr = 9 * 3 * 64 + 23 * 3 * block + 9 * 64 * 64
    pixels, up = 540 * 960, 9 * 64 * 64
    macs = pixels * (at_lr + 4 * up + 16 * (2 * up + 9 * 64 * 3))
    gates = {gate.metric: gate.maximum for gate in RULES["aim2025-epsr"].gates}
    assert f"{gates['macs_fvcore'] / macs:.0%}" == "22%"
    assert f"{gates['params'] / 16_697_987:.0%}" == "30%"
    assert f"{macs / 1e9:,.0f} G" in RULES["aim2025-epsr"].inferred[0]


@pytest.mark.parametrize(
    ("params", "macs", "reason"),
    [
        (5_000_000, 2e12, None),
        (5_000_001, 2e12, "Params 5,000,001 is above 5,000,000"),
        (4e6, 2_000_001_000_000, "FLOPs (fvcore) 2,000,001,000,000 is above 2,000,000,000,000"),
        (4e6, 2.5e12, "FLOPs (fvcore) 2500.00 G is above 2000.00 G"),
    ],
)
def test_a_budget_holds_unrounded(rank, params, macs, reason):
    values = {"params": params, "macs_fvcore": macs, "runtime_images": 0.1}
    board = rank(("x", values, {"protocol": AT_540P}), rule="aim2025-epsr")
    assert [row.unranked_because for row in (*board.ranked, *board.unranked)] == [reason]
    assert "Margin [dB]" not in [heading.text for heading in leaderboard_table(board).headings]
    assert board.gate == (
        "Gate: Params <= 5.000 M; FLOPs (fvcore) <= 2000.00 G on an LR image of 540x960."
    )


def test_a_budget_of_flops_needs_the_rule_s_input(rank):
    values = {"params": 4e6, "macs_fvcore": 2e9, "runtime_images": 0.1}
    board = rank(("x", values), rule="aim2025-epsr")
    assert board.ranked == ()
    assert board.unranked[0].unranked_because == (
        "FLOPs (fvcore) is missing: the rule counts at LR 540x960, this record at LR 256x256: "
        "`esrbench run x --input-size 540x960` counts as the rule does"
    )


def test_a_limit_on_runtime_is_a_gate_and_margins_are_those_of_psnr(rank):
    def of(name, milliseconds, psnr, **fields):
        return name, {"runtime_images": milliseconds / 1e3, "psnr_rgb": psnr}, fields

    lanczos = of("lanczos", 1, 30.0, role="floor")
    board = rank(of("fast", 33, 31.0), of("slow", 33.01, 32.0), lanczos, rule="ais2024-rtsr")
    assert [row.entry for row in board.ranked] == ["fast"]
    assert {row.entry: row.unranked_because for row in board.unranked}["slow"] == (
        "Runtime 33.01 ms is above 33.00 ms"
    )
    assert board.ranked[0].tightest.margin == pytest.approx(1.0)
    assert any(note.startswith("This rule is unverified. The formula") for note in board.notes)


def test_without_the_interpolation_a_board_says_so(rank):
    board = rank(("x", {"runtime_images": 0.01, "psnr_rgb": 30.0}), rule="ais2024-rtsr")
    assert board.gate == (
        "Gate: Runtime <= 33.00 ms. It is not claimed that "
        "entries beat lanczos, which was not measured here."
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("div2k-valid", "No gate is claimed: these images were given as a folder"),
        ("demo", "No gate is claimed"),
    ],
)
def test_images_that_are_not_proven_claim_no_gate(rank, arfdn, data, said):
    board = rank(("low", arfdn | {"psnr_rgb": 20.0}, {"data": data}))
    assert board.gate.startswith(said)
    assert [row.entry for row in board.ranked] == ["low"]


def test_the_gate_knows_rounded_from_strict(rank, arfdn):
    (row,) = rank(
        ("a", arfdn | {"psnr_rgb": 28.996}, {"data": "div2k-valid", "verified": True})
    ).ranked
    (check,) = row.gates
    assert (check.rounded, check.strict) == (True, False)
    assert check.margin == pytest.approx(-0.004)
