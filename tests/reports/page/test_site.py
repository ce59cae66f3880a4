"""A folder of pages: which there are, what they link to, and what strangers cannot do there."""

import re
from datetime import UTC, datetime

import pytest
from elements import HOSTILE, Elements

from esrbench.ranking.rules import RULES
from esrbench.records import Notice
from esrbench.reports.page.site import file_name, site_pages
from esrbench.runs.store import Store

FIRST, SECOND, THIRD = (datetime(2026, 3, day, 12, tzinfo=UTC) for day in (1, 2, 9))
VALUES = {"psnr_rgb": 29.0, "runtime_images": 0.04775, "params": 241_548}
VALUES |= {"macs_ntire2022": 14e9, "activations_ntire2022": 1e8}
VALUES |= {"pass_peak_bytes": 1e8, "conv_calls_ntire2022": 64}
NTIRE = [RULES["ntire2022"]]


@pytest.fixture
def records(make_record):
    """Two entries; rfdn on three days, the third time on another machine."""
    return [
        make_record("rfdn", VALUES, created=FIRST),
        make_record("imdn", VALUES | {"params": 893_936}, created=FIRST),
        make_record("rfdn", VALUES | {"runtime_images": 0.040}, created=SECOND),
        make_record("rfdn", VALUES | {"psnr_rgb": 29.1}, created=THIRD, threads=3),
    ]


def links(page):
    found = (attributes.get("href", "") for tag, attributes in Elements(page).tags if tag == "a")
    return {link for link in found if not link.startswith("#")}


def test_every_board_edition_and_date_has_a_page(records, make_record):
    more = [*records, make_record("rfdn", VALUES, data="set5", scale=2, created=SECOND)]
    site = dict(site_pages(more, rules=[*NTIRE, RULES["ntire2026"]], official=NTIRE))
    assert set(site) == {
        "index.html",
        ".nojekyll",
        "entry_rfdn.html",
        "entry_imdn.html",
        "official_ntire2022.html",
        *(
            f"{board}_{edition}{day}.html"
            for edition in ("ntire2022", "ntire2026")
            for board, days in (
                ("demo_x4_fp32", ("", "_2026-03-01", "_2026-03-02")),
                ("set5_x2_fp32", ("",)),
            )
            for day in days
        ),
    }


def test_files_that_could_not_be_read_are_on_the_index(records, tmp_path):
    store = Store(tmp_path)
    message = f"{store.runs / 'a.json'}: schema version 99, expected 2"
    unread = [Notice(code="unreadable-record", message=message, advice="Move it.")]
    site = dict(site_pages(records, rules=NTIRE, store=store, unread=unread))
    assert "<bdi>runs/a.json</bdi>" in site["index.html"]
    assert str(tmp_path) not in site["index.html"]


def test_every_page_is_reached_and_all_links_are_relative(records):
    site = dict(site_pages(records, rules=NTIRE, official=NTIRE))
    assert links(site["index.html"]) == set(site) - {"index.html", ".nojekyll"}
    for name, page in site.items():
        if name.endswith(".html") and name != "index.html":
            assert links(page) == {"index.html"}, name


def test_pages_are_named_without_what_a_title_says_in_brackets(make_record):
    index = dict(
        site_pages([make_record("a", title="demo (4 photographs)")], rules=[RULES["ntire2022"]])
    )
    assert "demo x4, fp32</bdi>" in index["index.html"]


def test_the_number_of_earlier_dates_is_bounded(records):
    dated = [
        name for name, _ in site_pages(records, rules=NTIRE, earlier=1) if "2026" in name[-15:]
    ]
    assert dated == ["demo_x4_fp32_ntire2022_2026-03-02.html"]


def test_a_page_of_an_earlier_date_shows_the_board_of_that_day(records):
    site = dict(site_pages(records, rules=NTIRE))
    assert "40.00" not in site["demo_x4_fp32_ntire2022_2026-03-01.html"]
    assert "40.00" in site["demo_x4_fp32_ntire2022_2026-03-02.html"]
    assert "29.10" in site["demo_x4_fp32_ntire2022.html"]


def test_the_index_names_the_leaders(records):
    index = dict(site_pages(records, rules=NTIRE, title="Ours"))["index.html"]
    assert "<h1>Ours</h1>" in index
    (row,) = re.findall(r'<tr>(.*"demo_x4_fp32_ntire2022\.html".*)</tr>', index)
    assert re.findall(r"<bdi>(.*?)</bdi>", row)[2:7] == [
        "2026-03-09",
        "1 of 1",
        "rfdn",
        "29.10",
        "47.75",
    ]


def test_the_history_joins_only_runs_that_compare(records):
    page = dict(site_pages(records, rules=NTIRE))["entry_rfdn.html"]
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", page)
    assert [re.findall(r"<bdi>(.*?)</bdi>", row)[0] for row in rows] == [
        "2026-03-09 12:00",
        "2026-03-02 12:00",
        "2026-03-01 12:00",
    ]
    differing = [re.findall(r"<bdi>(.*?)</bdi>", row)[-1] for row in rows]
    assert differing[0]
    assert differing[1:] == ["", ""]
    charts = re.findall(r"<figcaption>(.*?)</figcaption>\n<svg(.*?)</svg>", page, re.DOTALL)
    assert [heading for heading, _ in charts] == ["PSNR [dB]", "Runtime [ms]"]
    for _, drawing in charts:
        lines = re.findall(r'class="medians process-0" d="(.*?)"', drawing)
        assert [line.count("L") for line in lines] == [1, 0]
        assert drawing.count("h0") == 3


def test_images_without_networks_have_a_board(make_record):
    images = make_record("team07", {"psnr_rgb": 29.0}, role="images", weights="none")
    site = dict(site_pages([images], rules=NTIRE))
    assert {"demo_x4_images_ntire2022.html", "entry_team07.html"} <= set(site)


def test_images_may_be_older_than_the_first_network(records, make_record):
    older = FIRST.replace(month=2)
    images = make_record("team07", {"psnr_rgb": 29.0}, role="images", weights="none", created=older)
    site = dict(site_pages([images, *records], rules=NTIRE))
    oldest = site["demo_x4_fp32_ntire2022_2026-02-01.html"]
    assert "team07" in oldest
    assert "rfdn" not in oldest.split("<script")[0]


def test_names_that_differ_have_files_that_differ():
    texts = [
        "rfdn",
        "RFDN",
        "rfdn ",
        "../rfdn",
        "超解像",
        "مرحبا",
        "",
        "x" * 300,
        "x" * 301,
        HOSTILE,
    ]
    names = [file_name(text) for text in texts]
    assert len(set(names)) == len(texts)
    assert names[0] == "rfdn"
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,79}", name) for name in names)
    assert not any(".." in name for name in names)


@pytest.mark.parametrize("name", [HOSTILE, "مرحبا" * 60, "../../etc/passwd"])
def test_hostile_names_are_text(name, make_record):
    record = make_record(name, VALUES | {"params": 1.0}, data=name, title=name)
    other = make_record(name, VALUES, data=name, title=name, status="oom", cause=name)
    for file, page in site_pages([record, other], rules=NTIRE, title=name):
        assert re.fullmatch(r"[a-z0-9._-]+", file)
        found = Elements(page)
        assert not {"img", "iframe", "object"} & {tag for tag, _ in found.tags}
        assert not any(key.startswith("on") or key == "style" for _, a in found.tags for key in a)
        assert "\u202e" not in page
        assert "\x1b" not in page


def test_index_and_histories_run_no_script(records):
    site = dict(site_pages(records, rules=NTIRE))
    for name in ("index.html", "entry_rfdn.html"):
        found = Elements(site[name])
        policy = next(a["content"] for t, a in found.tags if t == "meta" and "http-equiv" in a)
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "script" not in policy + str({tag for tag, _ in found.tags})


def test_a_site_of_nothing_is_an_empty_index():
    site = dict(site_pages([], rules=NTIRE))
    assert set(site) == {"index.html", ".nojekyll"}
    assert links(site["index.html"]) == set()
