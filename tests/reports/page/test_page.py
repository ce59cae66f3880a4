from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace

import pytest
from builders import BLOCKS, counted, latency, replicate, samples
from elements import HOSTILE, Elements

from esrbench.entries.registry import default_registry
from esrbench.ranking.board import Place
from esrbench.ranking.leaderboard import build_leaderboard
from esrbench.ranking.published import official_leaderboard
from esrbench.ranking.rules import RULES
from esrbench.ranking.stability import Stability
from esrbench.records import (
    MACHINE,
    Conditions,
    Diagnosis,
    Examination,
    ImageScore,
    Quality,
    Software,
)
from esrbench.records.counts import NO_BLOCKS
from esrbench.reports.page import report_page
from esrbench.reports.page.contents import claims_of
from esrbench.runs.store import Store

VALUES = {
    "psnr_rgb": 29.0,
    "runtime_images": 0.04775,
    "params": 241_548,
    "macs_ntire2022": 14_506_603_360,
    "activations_ntire2022": 151_355_840,
    "pass_peak_bytes": "GPU memory is not measured on CPU",
    "conv_calls_ntire2022": 100,
}


def scored(record, psnr):
    images = tuple(
        ImageScore(image=name, psnr_rgb=value, psnr_y=value, ssim_y=0.9)
        for name, value in psnr.items()
    )
    return record.model_copy(update={"quality": Quality(definition="test", images=images)})


@pytest.fixture
def records(make_record):
    return [
        scored(make_record("rfdn", VALUES), {"baby": 30.0, "bird": 28.0}),
        scored(
            make_record("imdn", VALUES | {"params": 893_936, "psnr_rgb": 28.5}),
            {"baby": 29.9, "bird": 26.0},
        ),
    ]


@pytest.fixture
def page(records):
    return report_page(build_leaderboard(records, RULES["ntire2022"]), records)


def test_nothing_is_loaded_and_only_our_script_and_style_run(page):
    found = Elements(page)
    policy = next(a["content"] for t, a in found.tags if t == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none';")
    for tag, kind, text in found.raw:
        if kind is None:
            hashed = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{hashed}'" in policy
    loading = {"link", "img", "iframe", "object", "embed", "base", "form"}
    assert not loading & {tag for tag, _ in found.tags}
    for _, attributes in found.tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        assert attributes.get("href", "#").startswith("#")
        assert "src" not in attributes


def test_every_link_leads_to_a_part_and_ids_are_unique(page):
    found = Elements(page)
    assert len(set(found.ids)) == len(found.ids)
    targets = {a["href"][1:] for tag, a in found.tags if tag == "a"}
    assert targets <= set(found.ids)


def data_of(page):
    return next(text for _, kind, text in Elements(page).raw if kind == "application/json")


def part(page, name, end):
    return page[page.index(f'id="{name}"') : page.index(f'id="{end}"')]


def test_figures_are_those_of_the_leaderboard(page):
    assert "0.242<sub>1</sub>" in page
    assert "0.894<sub>2</sub>" in page
    data = json.loads(data_of(page))
    says = {metric["heading"]: metric["says"] for metric in data["chart"]["metrics"]}
    assert says["Params [M]"][data["names"].index("rfdn")] == "Params 0.242 M"


def test_images_on_which_entries_differ_most_come_first(page):
    images = part(page, "images", "cost")
    assert images.index("bird") < images.index("baby")
    assert re.search(r"bird</bdi></th><td class=\"right\"><bdi>2\.00<", images)
    assert "<bdi>28.00 / 0.9000</bdi>" in images


def test_images_of_more_entries_than_there_is_room_for_are_counted(records, monkeypatch):
    monkeypatch.setattr("esrbench.reports.page.contents.MOST_SCORES", 2)
    page = report_page(build_leaderboard(records, RULES["ntire2022"]), records)
    assert "1 more entries are left out" in part(page, "images", "cost")


def test_what_has_no_room_is_cut_and_the_page_says_so(records, make_record, monkeypatch):
    shown = [counted(record) for record in records]
    shown += [make_record(f"net{n}", VALUES | {"params": 1e6 + n}) for n in range(8)]
    board = build_leaderboard(shown, RULES["ntire2022"])
    whole = report_page(board, shown)
    assert "have no room" not in whole
    monkeypatch.setattr("esrbench.reports.page.page.LEVELS", ((10, 10), (4, 1)))
    monkeypatch.setattr("esrbench.reports.page.page.MOST_BYTES", len(whole.encode()) - 1)
    page = report_page(board, shown)
    assert len(page.encode()) < len(whole.encode())
    said = "The first 4 of 10 entries are shown, as more have no room"
    assert said in part(page, "leaderboard", "trade-off")
    assert "Bars and blocks are of the first 1 entries" in page
    assert page.count('id="entry-') == 4
    assert len(json.loads(data_of(page))["names"]) == 4


def test_blocks_right_below_the_network_are_drawn_and_all_are_listed(records):
    first, second = records
    unknown = counted(second, blocks=NO_BLOCKS, predicted_memory=NO_BLOCKS)
    shown = [counted(first), unknown]
    page = report_page(build_leaderboard(shown, RULES["ntire2022"]), shown)
    cost = part(page, "cost", "machine")
    assert "75.0%" in cost
    assert "25.0%" in cost
    assert "50.0%" not in cost
    assert "<bdi>body.0</bdi>" in cost
    assert "peak 3.0 MiB at aten::relu" in cost
    assert cost.count("<details") == 1


def test_every_round_of_every_process_is_drawn(records):
    first, second = records
    timed = [
        replicate(
            samples("a", seconds=(0.1, 0.2, 0.3 + index)),
            index=index,
            conditions=Conditions(seconds=1.0, other_load=0.02, steal=0.1),
        )
        for index in range(2)
    ]
    shown = [first.model_copy(update={"latency": latency(*timed)}), second]
    page = report_page(build_leaderboard(shown, RULES["ntire2022"]), shown)
    times = part(page, "times", "machine")
    assert "cold start 300.0 ms; CPUs 0; other processes took 2.0% of the CPU time" in times
    assert "the hypervisor took 10.0%" in times
    labels = re.findall(r'<svg class="rounds"[^>]*aria-label="([^"]*)"', times)
    assert [label.split(":")[0].split(" [")[0] for label in labels] == [
        "Rounds at the fixed input, in order",
        "Warm-up before them",
        "Rounds of each image, smallest image first",
        "Drift within an image",
        "Drift between images",
    ]
    drawing = times[times.index("Rounds of each image") :].split("</svg>")[0]
    assert [d.count("h0") for d in re.findall(r'class="dots[^"]*" d="([^"]*)"', drawing)] == [3, 3]


def test_what_the_doctor_found_on_this_machine_is_shown(records):
    board = build_leaderboard(records, RULES["ntire2022"])
    environment = records[0].environment
    fields = {name: getattr(environment, name) for name in MACHINE}
    checks = (
        Diagnosis(name="results folder", state="ok", finding="/home/somebody: 1 GiB free"),
        Diagnosis(name="governor", state="warning", finding="powersave", advice="Set it."),
    )
    found = Examination(created=records[0].created, device="cpu", checks=checks, **fields)
    elsewhere = found.model_copy(update={"cpu": "another", "checks": ()})
    page = report_page(board, records, examinations=[elsewhere, found])
    machine = page[page.index('id="machine"') :]
    assert f"What esrbench doctor found on {found.created:%Y-%m-%d %H:%M} UTC" in machine
    assert "powersave" in machine
    assert "somebody" not in machine
    assert '<td class="left prose">' in machine
    assert "warning governor: Set it." in machine
    page = report_page(board, records, examinations=[elsewhere])
    assert "<code>esrbench doctor --save</code> keeps it" in page


def test_possible_ranks_are_drawn(records):
    board = build_leaderboard(records, RULES["ntire2022"])
    track = board.tracks[0]
    rows = [
        replace(row, places={track.key: Place(rank=rank, stability=Stability(low=1, high=2))})
        for rank, row in enumerate(board.ranked, start=1)
    ]
    page = report_page(board.model_copy(update={"ranked": tuple(rows)}), records)
    assert "rank 1, 1 to 2 are possible" in page
    assert "how often the rank holds" not in page
    assert 'class="ranks"' not in report_page(board, records)


def test_published_boards_stand_below(records):
    board = build_leaderboard(records, RULES["ntire2022"])
    editions = [official_leaderboard(RULES[name]) for name in ("ntire2023", "ntire2026")]
    found = Elements(report_page(board, records, published=editions))
    assert {"published-1", "published-2"} <= set(found.ids)
    assert len(set(found.ids)) == len(found.ids)


def test_one_entry_and_none(records):
    board = build_leaderboard(records[:1], RULES["ntire2022"])
    assert "trade-off" not in Elements(report_page(board, records[:1])).ids
    empty = board.model_copy(update={"ranked": (), "unranked": ()})
    assert "board" in Elements(report_page(empty, [])).ids


def test_hostile_names_are_text(make_record):
    records = [
        scored(make_record("rfdn", VALUES), {HOSTILE: 30.0, "b": 28.0}),
        make_record("imdn", VALUES, status="forward-error", cause=HOSTILE, advice=HOSTILE),
    ]
    rows = build_leaderboard(records, RULES["ntire2022"])
    row = replace(rows.ranked[0], entry=HOSTILE)
    hostile = rows.model_copy(update={"ranked": (row,), "title": HOSTILE, "gate": HOSTILE})
    page = report_page(hostile, records, title=HOSTILE)
    found = Elements(page)
    assert not any(tag == "img" for tag, _ in found.tags)
    assert "\u202e" not in page
    assert "\x1b" not in page
    scripts = [kind for tag, kind, _ in found.raw if tag == "script"]
    assert scripts == ["application/json", None]
    data = data_of(page)
    assert not {"<", ">", "&"} & set(data)
    assert json.loads(data)["names"][0].startswith("</script>")


def test_a_failure_and_its_advice_are_two_sentences(make_record):
    why = {"cause": "load-error: einops is not installed", "advice": "Install it."}
    records = [make_record("rfdn", VALUES), make_record("imdn", {}, status="load-error", **why)]
    page = report_page(build_leaderboard(records, RULES["ntire2022"]), records)
    assert "einops is not installed. Install it." in page


def test_runs_that_are_left_out_stand_in_a_line_for_each_setting_that_differs(make_record):
    from esrbench.protocol import Protocol

    older = [
        make_record(name, VALUES, protocol=Protocol(seed=7)) for name in ("rfdn", "imdn", "rfdn")
    ]
    records = [make_record("rfdn", VALUES), make_record("imdn", VALUES)]
    board = build_leaderboard([*older, *records], RULES["ntire2022"])
    page = report_page(board, [*older, *records])
    told = page[page.index('id="left-out"') : page.index('id="machine"')]
    names = "rfdn (2 runs), imdn"
    assert re.findall(r"<bdi>(.*?)</bdi>", told) == ["protocol.seed", "0", "7", names]


def test_files_that_could_not_be_read_are_shown_without_their_folder(records, tmp_path):
    store = Store(tmp_path / "results")
    for record in records:
        store.put(record)
    (store.runs / "future.json").write_text('{"schema_version": 99}')
    (store.runs / "torn.json").write_text('{"schema_ver')
    readable, unread = store.load()
    page = report_page(
        build_leaderboard(readable, RULES["ntire2022"]), readable, store=store, unread=unread
    )
    assert str(tmp_path) not in page
    told = re.findall(r"<bdi>(.*?)</bdi>", part(page, "left-out", "machine"))
    assert told[:3] == [
        "runs/future.json",
        "schema version 99, expected 2",
        "Read it with the esrbench version that wrote it.",
    ]
    assert told[3] == "runs/torn.json"
    assert "It was set aside as runs/.corrupt-torn.json" in told[4]


def test_published_figures_stand_beside_measured_ones(make_record):
    values = VALUES | {"psnr_y": 32.1934, "ssim_y": "not scored"}
    record = make_record("imdn", values, data="set5")
    board = build_leaderboard([record], RULES["ntire2022"])
    claims = claims_of(default_registry(), board, [record])
    assert claims["imdn"]["psnr_y"] == 32.21  # of SwinIR's table 3, on Set5 x4
    page = report_page(board, [record], claims=claims)
    assert "PSNR-Y 32.21, 32.19" in page
    assert "SSIM-Y 0.8948, &#8211;" in page


def test_a_published_board_has_a_page_without_runs():
    page = report_page(official_leaderboard(RULES["ntire2022"]), [])
    found = Elements(page)
    assert "machine" not in found.ids
    assert "trade-off" in found.ids
    assert sum(tag == "tr" for tag, _ in found.tags) > 2 * 43


def test_the_command_measures_the_same_again(page):
    assert "<code>esrbench run imdn rfdn --data demo --scale 4" in page


def test_the_command_names_no_interpreter_but_says_where_one_belongs(records):
    first, second = records
    own = Software(python="3.9.1", torch="1.13.1", numpy="1.26.4")
    shown = [first, second.model_copy(update={"ran_with": own})]
    page = report_page(build_leaderboard(shown, RULES["ntire2022"]), shown)
    told = f"--python {second.entry.name}=PYTHON</code>"
    assert told in page
    assert "Write in place of <code>PYTHON</code>" in page
    assert "PYTHON" not in report_page(build_leaderboard(records, RULES["ntire2022"]), records)


def test_what_ran_outside_of_blocks_is_a_share_too(records):
    blocks = tuple(
        each.model_copy(update={"macs": 150}) if each.name == "body" else each for each in BLOCKS
    )
    shown = [counted(each, blocks=blocks) for each in records]
    page = report_page(build_leaderboard(shown, RULES["ntire2022"]), shown)
    cost = part(page, "cost", "machine")
    assert "outside of blocks" in cost
    assert ">37.5%<" in cost  # 150 of 400, as much as body
    assert "of all results" in cost


def test_sentences_show_commands_as_code_and_nothing_else_as_markup(make_record):
    record = make_record("a", {"psnr_rgb": 27.0}).model_copy(
        update={"status": "forward-error", "advice": "`<b>x</b>`, `esrbench validate a`"}
    )
    page = report_page(build_leaderboard([record], RULES["ntire2022"]), [record])
    assert "<code>esrbench validate a</code>" in page
    assert "<b>x" not in page


def test_entries_that_failed_are_not_told_to_make_crops(records, make_record, tmp_path):
    failed = make_record("broken", {}, verified=True, status="forward-error", cause="no")
    data = records[0].data.model_copy(update={"verified": True})
    shown = [each.model_copy(update={"data": data}) for each in (*records, failed)]
    board = build_leaderboard(shown, RULES["ntire2022"])
    page = report_page(board, shown, store=Store(tmp_path))
    (said,) = re.findall(r"<p>No crops were kept of (.*?):", page)
    assert "broken" not in said


def test_images_without_a_network_are_shown_and_cannot_be_measured_again(records, make_record):
    values = {"psnr_rgb": "image baby is reproduced without error"}
    images = make_record("team07", values, role="images", weights="none")
    shown = [*records, scored(images, {"baby": None, "bird": 27.0})]
    page = report_page(build_leaderboard(shown, RULES["ntire2022"]), shown)
    assert "SR images that were made elsewhere, scored without their network: team07." in page
    assert "esrbench run imdn rfdn --data" in page
