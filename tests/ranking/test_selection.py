"""Which records make one board: the newest that compare, of one class and one Python and torch."""

import builders
import pytest

from esrbench.errors import UsageError
from esrbench.metrics import METRICS
from esrbench.protocol import ForwardPolicy, Protocol, QualityDefinition
from esrbench.ranking.selection import select_named
from esrbench.records import Software


def test_the_newest_record_of_an_entry_counts(rank, make_record, imdn, arfdn):
    old, new = make_record("a", imdn), make_record("a", arfdn)
    assert [row.run_id for row in rank(new, old).ranked] == [new.run_id]


@pytest.mark.parametrize(
    ("old", "new"), [("timing-disputed", "oom"), ("ok", "busy-machine"), ("busy-machine", "crash")]
)
def test_an_older_run_that_is_worth_more_is_shown_with_a_notice(
    rank, make_record, imdn, arfdn, old, new
):
    first = make_record("a", imdn, status=old)
    board = rank(first, ("a", arfdn, {"status": new}))
    assert [row.run_id for row in board.ranked] == [first.run_id]
    (notice,) = board.notices
    assert notice.code == "older-run"
    assert f"a newer run ended as {new}" in notice.message
    # Nothing is said once a run that is as good follows.
    again = rank(first, ("a", arfdn, {"status": new}), ("a", arfdn, {"status": old}))
    assert again.ranked[0].run_id != first.run_id
    assert "older-run" not in {notice.code for notice in again.notices}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"protocol": Protocol(seed=5)}, "protocol"),
        ({"threads": 64}, "environment (threads 64, not 2)"),
        ({"digest": "1" * 64}, "other images called demo"),
    ],
)
def test_records_measured_otherwise_are_left_out_by_name(rank, imdn, arfdn, fields, named):
    board = rank(("other", imdn, fields), ("a", arfdn))
    assert builders.names(board.ranked) == ["a"]
    (notice,) = board.notices
    assert notice.code == "incomparable"
    assert notice.message == f"other: a run differs in {named} and is left out"


def test_entries_that_are_left_out_for_the_same_reason_share_a_notice(rank, imdn, arfdn):
    other = {"protocol": Protocol(seed=5)}
    board = rank(("b", imdn, other), ("c", imdn, other), ("d", imdn, {"threads": 64}), ("a", arfdn))
    assert [notice.message for notice in board.notices] == [
        "runs differ in protocol and are left out: b, c",
        "d: a run differs in environment (threads 64, not 2) and is left out",
    ]


def test_other_images_are_named_even_of_an_entry_that_is_shown(rank, imdn, arfdn):
    board = rank(("a", imdn, {"digest": "1" * 64}), ("a", arfdn), ("b", arfdn))
    assert builders.names(board.ranked) == ["a", "b"]
    (notice,) = board.notices
    assert notice.message == "a: a run differs in other images called demo and is left out"


def test_records_on_another_data_set_are_no_matter_of_this_table(rank, make_record, imdn, arfdn):
    elsewhere = make_record("a", imdn, data="set5", digest="1" * 64)
    here = make_record("a", arfdn)
    board = rank(elsewhere, here)
    assert [row.run_id for row in board.ranked] == [here.run_id]
    assert board.notices == ()


def test_nothing_to_rank_is_an_error(rank):
    with pytest.raises(UsageError, match="no records"):
        rank()


def test_each_class_has_a_table_of_its_own(rank, imdn, arfdn):
    half = {"protocol": Protocol(forward=ForwardPolicy(precision="fp16", channels_last=True))}
    entries = [("a", imdn, half), ("b", arfdn, half), ("a", imdn)]
    newest = rank(*entries)
    assert newest.forward_class == "fp32"
    assert builders.names(newest.ranked) == ["a"]
    (notice,) = newest.notices
    assert notice.message == (
        "b: a run differs in class (fp16, channels_last, not fp32) and is left out"
    )
    assert "--class" in notice.advice
    of_class = rank(*entries, forward_class="fp16, channels_last")
    assert builders.names(of_class.ranked) == ["b", "a"]
    assert of_class.notices == ()
    with pytest.raises(UsageError, match="no record is in class 'bf16'") as caught:
        rank(*entries, forward_class="bf16")
    assert caught.value.advice == "Stored classes: fp16, channels_last; fp32."


IMAGES = "only SR images were given, not their network"


@pytest.fixture
def images(make_record):
    """SR images without their network: a PSNR, and nothing else."""

    def build(name="images", psnr=29.5, **fields):
        values = dict.fromkeys(METRICS, IMAGES) | {"psnr_rgb": psnr}
        protocol = Protocol(latency=None, counters=())
        return make_record(
            name, values, role="images", protocol=protocol, threads=7, weights="none", **fields
        )

    return build


def test_images_stand_beside_networks_and_are_not_ranked_by_what_nobody_measured(
    rank, images, imdn, arfdn
):
    alone = rank(("imdn", imdn), ("arfdn", arfdn))
    board = rank(("imdn", imdn), images(), ("arfdn", arfdn), images("newest"))
    assert [row.entry for row in board.ranked] == [row.entry for row in alone.ranked]
    assert [row.ranks for row in board.ranked] == [row.ranks for row in alone.ranked]
    assert [(row.entry, row.unranked_because) for row in board.unranked] == [
        (name, f"Runtime is missing: {IMAGES}") for name in ("images", "newest")
    ]
    assert board.unranked[0].values["psnr_rgb"].value == 29.5
    assert (board.device, board.banner) == (alone.device, alone.banner)
    assert board.notices == ()
    assert "SR images that were made elsewhere, scored without their network: images, newest." in (
        board.notes
    )


def test_images_are_of_every_class_but_not_of_other_data(rank, images, imdn):
    fp16 = Protocol(forward=ForwardPolicy(precision="fp16"))
    board = rank(images(), ("imdn", imdn, {"protocol": fp16}), forward_class="fp16")
    assert [row.entry for row in (*board.ranked, *board.unranked)] == ["imdn", "images"]
    with pytest.raises(UsageError, match="no record is in class 'bf16'"):
        rank(images(), ("imdn", imdn), forward_class="bf16")
    board = rank(("imdn", imdn), images(digest="1" * 64))
    assert [row.entry for row in (*board.ranked, *board.unranked)] == ["imdn"]
    assert "other images called demo" in board.notices[0].message


def test_images_alone_make_a_table_of_scores(rank, images):
    board = rank(images("a", 29.0), images("b", 30.0))
    assert board.tracks == ()
    assert board.device == "SR images that were made elsewhere"
    assert any(f"Runtime: {IMAGES}" in note for note in board.notes)


def test_a_network_takes_the_place_of_its_team_s_images(rank, images, imdn):
    board = rank(images("imdn"), ("imdn", imdn), images("imdn"))
    assert [row.entry for row in board.ranked] == ["imdn"]
    assert board.unranked == ()
    assert board.notices == ()


OLD = Software(python="3.9.18", torch="1.13.1", numpy="1.26.4")
ENTRIES_OF_TWO = [
    ("old-a", {"runtime_images": 0.010}, {"ran_with": OLD}),
    ("old-b", {"runtime_images": 0.015}, {"ran_with": OLD}),
    ("ours-a", {"runtime_images": 0.020}, {}),
    ("ours-b", {"runtime_images": 0.012}, {}),
]


def of_two(imdn):
    return [(name, imdn | values, fields) for name, values, fields in ENTRIES_OF_TWO]


def test_entries_of_another_torch_are_marked_and_a_class_of_their_own(rank, imdn, columns):
    board = rank(*of_two(imdn))
    assert board.forward_class == "fp32"
    assert {row.entry: row.ranks["runtime_images"] for row in board.ranked} == {
        "ours-b": 1,
        "ours-a": 2,
    }
    apart = "another class: fp32, Python 3.9.18, torch 1.13.1"
    assert builders.reasons(board) == {"old-a": apart, "old-b": apart}
    assert board.notices == ()
    note = "\N{DOUBLE DAGGER} Ran with Python 3.9.18, torch 1.13.1: old-a, old-b."
    assert note in board.notes
    assert "old-a\N{DOUBLE DAGGER}" in columns(board)["Entry"]


def test_their_class_has_a_table_of_its_own(rank, imdn):
    label = "fp32, Python 3.9.18, torch 1.13.1"
    board = rank(*of_two(imdn), forward_class=label)
    assert board.forward_class == label
    assert "Python 3.9.18, torch 1.13.1" in board.device
    assert {row.entry: row.ranks["runtime_images"] for row in board.ranked} == {
        "old-a": 1,
        "old-b": 2,
    }
    assert builders.reasons(board) == dict.fromkeys(("ours-a", "ours-b"), "another class: fp32")


def test_they_are_ranked_with_the_others_if_told_so(rank, imdn):
    board = rank(*of_two(imdn), mixed=True)
    assert {row.entry: row.ranks["runtime_images"] for row in board.ranked} == {
        "old-a": 1,
        "ours-b": 2,
        "old-b": 3,
        "ours-a": 4,
    }
    assert board.unranked == ()


def test_an_entry_that_ran_in_both_is_shown_once(rank, imdn):
    board = rank(("net", imdn, {"ran_with": OLD}), ("net", imdn))
    assert builders.names(board.ranked) == ["net"]
    assert board.unranked == ()


def test_scores_that_were_asked_for_alter_no_comparison_of_images(rank, imdn):
    asked = Protocol(quality=QualityDefinition(metrics=("ssim_rgb",)))
    images = ("team", {"psnr_rgb": 29.5, "ssim_rgb": 0.8}, {"role": "images", "protocol": asked})
    board = rank(images, ("imdn", imdn))
    assert [row.entry for row in board.unranked] == ["team"]
    assert board.columns[-1] == "ssim_rgb"
    assert not board.notices


def test_named_entries_come_in_their_order_from_the_newest_data_set(make_record, imdn):
    records = [
        make_record("a", imdn, data="set5"),
        *(make_record(name, imdn) for name in ("b", "a", "c")),
    ]
    chosen, _ = select_named(records, ["c", "a"])
    assert [(run.entry.name, run.data.name) for run in chosen] == [("c", "demo"), ("a", "demo")]
    assert [run.entry.name for run in select_named(records, [], data="set5")[0]] == ["a"]
    with pytest.raises(UsageError, match="no run of b on set5 x4") as raised:
        select_named(records, ["a", "b"], data="set5")
    assert raised.value.advice.startswith("Run `esrbench run b --data set5 --scale 4`, or ")
    with pytest.raises(UsageError) as raised:
        select_named([make_record("a", imdn, data="mine")], ["b"])
    assert "`esrbench run b --data FOLDER/mine --scale 4`" in raised.value.advice
