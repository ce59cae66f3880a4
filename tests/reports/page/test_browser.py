"""The page in a real browser, from a file, with every request forbidden."""

from __future__ import annotations

import json
import shutil
import string

import numpy as np
import pytest

from esrbench.data.crops import CropFolder, crops_of
from esrbench.data.datasets import open_dataset
from esrbench.ranking.leaderboard import build_leaderboard
from esrbench.ranking.rules import RULES
from esrbench.records import ImageScore, Quality
from esrbench.reports.page import report_page
from esrbench.runs.store import Store

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]

VALUES = {"psnr_rgb": 29.0, "runtime_images": 0.05, "params": 241_548, "macs_ntire2022": 14e9}
HOSTILE = [
    "<img src=x onerror=document.title='owned'>",
    "</script><script>document.title='owned'</script>",
    "</SCRIPT >\u2028<svg/onload=document.title='owned'>",
    "{{ 7 * 7 }}${7*7}",
    "\u202eevil\u2066",
    "&lt;b&gt;&amp;",
    "' onfocus='document.title=`owned`' autofocus='",
    "超解像-مرحبا-γειά",
    "x" * 300,
]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield opened
        opened.close()


@pytest.fixture
def show(browser, tmp_path):
    """Opens a page; the test fails on any request, console message or error."""
    contexts = []

    def opened(content, **options):
        file = tmp_path / "report.html"
        file.write_text(content, encoding="utf-8")
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        said = []
        page.on(
            "request", lambda r: said.append(r.url) if r.url[:5] not in {"file:", "data:"} else None
        )
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(file.as_uri())
        page.said = said
        return page

    yield opened
    for context in contexts:
        assert [text for page in context.pages for text in page.said] == []
        context.close()


@pytest.fixture
def shown(make_record, tmp_path):
    """Three entries with scores, times and crops."""
    pairs = open_dataset("demo", 4)
    store = Store(tmp_path / "results")
    identity = pairs.identity()
    crops = crops_of(pairs, store.crops_of(identity.digest))
    records = []
    for number, name in enumerate(("rfdn", "imdn", "aidn")):
        record = make_record(
            name,
            VALUES
            | {"psnr_rgb": 29 - number / 10, "params": 200_000 * (number + 1)}
            | {"runtime_images": 0.1 / (number + 1)},
            digest=identity.digest,
            fingerprint=f"{number}" * 64,
        )
        scores = tuple(
            ImageScore(image=pair.name, psnr_rgb=28.0 + number, psnr_y=29.0, ssim_y=0.8)
            for pair in pairs.pairs
        )
        records.append(
            record.model_copy(update={"quality": Quality(definition="d", images=scores)})
        )
        folder = CropFolder(store.crops_of(record.fingerprint), crops)
        for index, pair in enumerate(pairs.pairs):
            hr = pairs.read_hr(index).astype(np.int16)
            folder.keep(pair.name, (hr + number * 8).clip(0, 255).astype(np.uint8))
    board = build_leaderboard(records, RULES["ntire2022"])
    return report_page(board, records, store=store)


def names(page):
    return page.locator("#board tbody tr:visible th").all_inner_texts()


def choose(page, axis, **option):
    page.locator("#axes label", has_text=axis).locator("select").select_option(**option)


def test_sorting_by_a_heading_and_the_link_that_keeps_it(show, shown):
    page = show(shown)
    heading = page.locator("#board thead th", has_text="Params")
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert names(page) == ["rfdn", "imdn", "aidn"]
    heading.locator("button").press("Enter")
    assert names(page) == ["aidn", "imdn", "rfdn"]
    page.reload()
    assert names(page) == ["aidn", "imdn", "rfdn"]


def test_filtering_and_hiding_columns(show, shown):
    page = show(shown)
    page.get_by_label("Filter entries").fill("imd")
    assert names(page) == ["imdn"]
    assert page.locator("#said").inner_text() == "1 entries match"
    page.locator("#tools summary").click()
    page.locator("#tools label", has_text="Params [M]").locator("input").uncheck()
    assert page.locator("#board thead th", has_text="Params").is_hidden()
    page.reload()
    assert page.locator("#board thead th", has_text="Params").is_hidden()


def test_selecting_a_point_marks_its_row(show, shown):
    page = show(shown)
    point = page.locator("#chart a", has_text="imdn").first
    point.focus()
    point.press("Enter")
    assert page.locator("#board tr.selected th").inner_text() == "imdn"
    assert page.locator("#chart a.selected").count() == 1


def test_other_axes_draw_another_chart(show, shown):
    page = show(shown)
    choose(page, "Across", label="Params [M]")
    assert (
        page.locator("#chart svg")
        .get_attribute("aria-label")
        .startswith("PSNR [dB] against Params")
    )
    assert page.locator("#chart a").count() == 3
    choose(page, "Area", label="none")
    radii = page.locator("#chart circle").evaluate_all("all => all.map(c => c.getAttribute('r'))")
    assert set(radii) == {"5"}


def test_copying_gives_the_table(show, shown):
    page = show(shown, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_text("Copy as CSV").click()
    page.wait_for_function("document.getElementById('said').textContent === 'Copied: CSV'")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.splitlines()[0].startswith("entry,")
    assert len(copied.splitlines()) == 4


def test_the_slider_works_by_keyboard_and_the_map_shows_the_difference(show, shown):
    page = show(shown)
    page.get_by_label("Right").select_option(label="aidn")
    slider = page.get_by_label("Share of the left picture")
    slider.press("ArrowRight")
    over = page.locator(".stage img").nth(1)
    assert over.evaluate("image => image.style.clipPath") == "inset(0px 0px 0px 51%)"
    page.get_by_label("Map of their difference").check()
    label = page.locator(".stage canvas").get_attribute("aria-label")
    assert label == "Differences, at most 16 of 255 levels"


def test_without_scripts_tables_charts_and_crops_are_there(show, shown):
    page = show(shown, java_script_enabled=False)
    assert sorted(names(page)) == ["aidn", "imdn", "rfdn"]
    assert page.locator("#chart circle").count() == 3
    assert page.locator(".crops").first.locator("img").count() == 5
    assert page.locator("#tools").is_hidden()


@pytest.mark.parametrize(
    "options", [{}, {"color_scheme": "dark"}, {"viewport": {"width": 360, "height": 740}}]
)
def test_nothing_is_wider_than_the_screen(options, show, shown):
    page = show(shown, **options)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_it_prints(show, shown):
    page = show(shown)
    assert page.pdf()[:5] == b"%PDF-"


def test_hostile_names_do_nothing(show, make_record):
    record = make_record("net", VALUES)
    board = build_leaderboard([record], RULES["ntire2022"])
    rows = tuple(
        board.ranked[0].model_copy(update={"entry": name}) for name in [*HOSTILE, string.printable]
    )
    hostile = board.model_copy(update={"ranked": rows, "title": HOSTILE[0], "gate": HOSTILE[1]})
    page = show(report_page(hostile, [record]))
    assert page.title() == HOSTILE[0]
    assert len(names(page)) == len(rows)
    assert page.locator("#board img, #board script, #chart script").count() == 0
    choose(page, "Across", index=1)
    data = json.loads(page.locator("#data").text_content())
    assert len(data["chart"]["entries"]) == len(rows)
