import pytest

from esrbench.entries.registry import default_registry
from esrbench.errors import UsageError
from esrbench.protocol import EFFORTS, ForwardPolicy, Protocol, QualityDefinition
from esrbench.reports.comparison_sources import Wanted, choose_runs, published_figures, quality_rows

SET5 = ("imdn", 4, "set5")
HALF = Protocol(forward=ForwardPolicy(precision="fp16"))


def test_the_newest_run_of_a_place_is_chosen(make_run):
    old, new = make_run("imdn", {}), make_run("imdn", {})
    assert choose_runs([new, old], Wanted()).runs == {SET5: new}


def test_a_run_that_went_well_stands_before_a_newer_one_that_did_not(make_run):
    well, failed = make_run("imdn", {}), make_run("imdn", {}, status="crash", cause="it died")
    choice = choose_runs([well, failed], Wanted())
    assert choice.runs == {SET5: well}
    (notice,) = choice.notices
    assert notice.code == "older-run"
    assert notice.message.startswith("on set5 x4: imdn")


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        (HALF, "class (fp16, not fp32)"),
        (Protocol(quality=QualityDefinition(luma="uint8")), "the definition of scores"),
        (Protocol(counted_input=(64, 64)), "the LR size of complexity"),
        (Protocol(memory_input=(64, 64)), "the LR size of predicted memory"),
        (Protocol(seed=7), "protocol"),
    ],
)
@pytest.mark.parametrize("data", ["set5", "set14"])
def test_incomparable_runs_are_left_out_with_a_notice(make_run, protocol, said, data):
    """Other meanings do not compare on any data set; other seeds only within one."""
    records = [make_run("rfdn", {}, protocol=protocol, data=data), make_run("imdn", {})]
    choice = choose_runs(records, Wanted())
    if said == "protocol" and data == "set14":
        assert set(choice.runs) == {SET5, ("rfdn", 4, "set14")}
        assert choice.notices == ()
        return
    assert set(choice.runs) == {SET5}
    assert choice.incomparable == {("rfdn", 4, data)}
    (notice,) = choice.notices
    assert notice.code == "incomparable"
    assert "rfdn" in notice.message
    assert said in notice.message


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (("params", "psnr_y"), {"imdn", "rfdn"}),
        (("params", "energy"), {"imdn", "rfdn"}),
        (("params", "runtime_images"), {"imdn"}),
        (("params", "runtime_ratio"), {"imdn"}),
    ],
)
def test_runs_that_were_timed_otherwise_compare_where_no_runtime_is_shown(make_run, columns, shown):
    quick = Protocol(latency=EFFORTS["quick"])
    records = [make_run("rfdn", {}, protocol=quick), make_run("imdn", {})]
    choice = choose_runs(records, Wanted(columns=columns))
    assert {entry for entry, _, _ in choice.runs} == shown
    assert bool(choice.notices) == (shown == {"imdn"})


def test_other_images_under_the_same_name_do_not_compare(make_run):
    records = [make_run("rfdn", {}, digest="1" * 64), make_run("imdn", {})]
    choice = choose_runs(records, Wanted())
    assert set(choice.runs) == {SET5}
    assert "other images called set5" in choice.notices[0].message


def test_a_class_can_be_asked_for(make_run):
    records = [make_run("rfdn", {}, protocol=HALF), make_run("imdn", {})]
    choice = choose_runs(records, Wanted(forward_class="fp16"))
    assert set(choice.runs) == {("rfdn", 4, "set5")}
    with pytest.raises(UsageError, match="bf16") as raised:
        choose_runs(records, Wanted(forward_class="bf16"))
    assert raised.value.advice == "Stored classes: fp16; fp32."


@pytest.mark.parametrize(
    ("older", "said"),
    [
        ({"weights": "demo"}, "weights"),
        ({"prepare": "some:hook"}, "network"),
        ({"entry": {"factory": "other:Net"}}, "network"),
    ],
)
def test_a_row_is_one_network(make_run, older, said):
    records = [
        make_run("imdn", {}, **{"weights": "released", **older}),
        make_run("imdn", {}, data="set14", weights="released"),
    ]
    choice = choose_runs(records, Wanted())
    assert set(choice.runs) == {("imdn", 4, "set14")}
    assert choice.incomparable == {SET5}
    assert f"imdn on set5 x4: a run differs in {said}" in choice.notices[0].message


def test_other_scales_may_have_other_weights(make_run):
    records = [make_run("imdn", {}, weights="demo"), make_run("imdn", {}, scale=2)]
    assert len(choose_runs(records, Wanted()).runs) == 2


def test_changed_source_files_are_told(make_run):
    records = [
        make_run("imdn", {}, entry={"code_sha256": "a" * 64}),
        make_run("imdn", {}, data="set14", entry={"code_sha256": "b" * 64}),
    ]
    choice = choose_runs(records, Wanted())
    assert len(choice.runs) == 2
    assert [notice.code for notice in choice.notices] == ["mixed-code"]


def test_only_what_is_wanted_decides(make_run):
    records = [make_run("imdn", {}), make_run("rfdn", {}, protocol=HALF, data="set14")]
    choice = choose_runs(records, Wanted(data=("set5",)))
    assert set(choice.runs) == {SET5}
    assert choice.notices == ()


def test_published_quality_is_plausible_and_agrees_with_descriptors():
    registry = default_registry()
    rows = list(quality_rows())
    assert len(rows) == 33 * 8
    declared = published_figures(registry)
    psnr = {}
    for entry, figure in rows:
        assert entry in registry
        assert figure.scale in registry.get(entry).scales
        assert declared[entry, figure.metric, figure.scale, figure.data].value == figure.value
        if figure.metric == "psnr_y":
            psnr[entry, figure.scale, figure.data] = figure.value
    for (entry, scale, data), value in psnr.items():
        if entry != "bicubic":
            assert 0.5 < value - psnr["bicubic", scale, data] < 7
