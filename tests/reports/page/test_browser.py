"""The page in a real browser, from a file, with every request forbidden."""

from __future__ import annotations

import json
import math
import shutil
import string
from dataclasses import replace

import numpy as np
import pytest
from builders import LARGE, counted, latency, noise, replicate, samples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esrbench.data.codecs import write_png
from esrbench.data.crops import CropFolder, crops_of
from esrbench.data.datasets import open_dataset
from esrbench.protocol import Protocol
from esrbench.ranking.board import Place
from esrbench.ranking.leaderboard import build_leaderboard
from esrbench.ranking.published import official_leaderboard
from esrbench.ranking.rules import RULES
from esrbench.ranking.stability import Stability
from esrbench.records import MACHINE, Diagnosis, Examination, ImageScore, Quality
from esrbench.reports.page import copy_images, report_page
from esrbench.reports.page.site import file_name, site_pages
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
    return report_page(
        board, records, store=store, published=[official_leaderboard(RULES["ntire2022"])]
    )


@pytest.fixture
def full(make_record, tmp_path):
    """A page with every part: ranks, whole images, blocks, times, runs left out, findings."""
    timed = [
        replicate(samples("a"), samples("b", LARGE), index=n, cold_start_seconds=0.2)
        for n in range(3)
    ]
    scores = (ImageScore(image="a", psnr_rgb=28.0, psnr_y=29.0, ssim_y=0.8),)
    records = [
        counted(make_record(name, VALUES | {"params": 2e5 * n}, latency=latency(*timed), quality=q))
        for n, name in enumerate(("rfdn", "imdn", "x" * 300, "مرحبا"), start=1)
        for q in [Quality(definition="d", images=scores)]
    ]
    other = Protocol(seed=7)
    stray = make_record("imdn", VALUES, protocol=other, protocol_digest=other.digest())
    stray = stray.model_copy(update={"created": stray.created.replace(year=2020)})
    for number, name in enumerate(("rfdn", "imdn")):
        path = tmp_path / "sr" / "demo" / name / "ax4.png"
        path.parent.mkdir(parents=True)
        write_png(path, noise(number))
    images = copy_images(records, tmp_path / "sr", tmp_path / "report_files")
    fields = {name: getattr(records[0].environment, name) for name in MACHINE}
    checks = (Diagnosis(name="governor", state="warning", finding="powersave", advice="Set it."),)
    found = Examination(created=records[0].created, device="cpu", checks=checks, **fields)
    board = build_leaderboard([stray, *records], RULES["ntire2022"])
    rows = tuple(
        replace(row, places={"main": Place(rank=n, stability=Stability(low=1, high=4))})
        for n, row in enumerate(board.ranked, start=1)
    )
    track = board.tracks[0].model_copy(update={"key": "main"})
    board = board.model_copy(update={"ranked": rows, "tracks": (track,)})
    return report_page(
        board,
        [stray, *records],
        examinations=[found],
        images=images,
        published=[official_leaderboard(RULES["ntire2022"])],
    )


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
    page.locator("#board-tools summary").click()
    page.locator("#board-tools label", has_text="Params [M]").locator("input").uncheck()
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


def test_an_entry_is_selected_everywhere(show, full):
    page = show(full)
    page.locator("#entries a", has_text="imdn").press("Enter")
    for marked in ("#board tr", "#entries tr", "#counts tr", "#cost details", "#times details"):
        assert page.locator(f"{marked}.selected").count() == 1, marked
    assert page.get_by_label("Right").locator("option:checked").inner_text() == "imdn"
    page.reload()
    assert page.locator("#board tr.selected th").inner_text() == "imdn"


def test_folded_parts_open_by_keyboard(show, full):
    page = show(full)
    summary = page.locator("#cost details summary").first
    summary.press("Enter")
    assert page.locator("#cost details").first.locator("table").is_visible()
    assert page.locator("#cost details").first.locator("svg.timeline").is_visible()


def test_images_beside_the_page_are_shown_from_a_file(show, full):
    page = show(full)
    page.wait_for_function("[...document.querySelectorAll('.stage img')].every(i => i.complete)")
    widths = page.locator(".stage img").evaluate_all("all => all.map(i => i.naturalWidth)")
    assert widths == [36, 36]
    page.get_by_label("Map of their difference").check()
    page.wait_for_selector(".stage canvas, .stage p")
    whole = page.locator(".crops figcaption a").first
    assert whole.inner_text() == "rfdn"
    whole.click()
    assert page.url.endswith(".png")


def test_any_two_metrics_are_drawn_as_python_draws_them(show, shown):
    """The script moves what is drawn; back at the first axes all stands where it stood."""
    page = show(shown)
    circles = (
        "all => Object.fromEntries(all.map(a => [a.dataset.entry, ['cx', 'cy', 'r']"
        ".map(k => Number(a.querySelector('circle').getAttribute(k)))]))"
    )
    first = page.locator("#chart a").evaluate_all(circles)
    chosen = page.locator("#axes select").evaluate_all("all => all.map(s => s.value)")
    count = page.locator("#axes select").first.locator("option").count()
    for index in range(count):
        choose(page, "Across", index=index)
        choose(page, "Up", index=(index + 1) % count)
    for axis, value in zip(("Across", "Up", "Area"), chosen, strict=True):
        choose(page, axis, value=value)
    again = page.locator("#chart a").evaluate_all(circles)
    assert again.keys() == first.keys()
    for entry, place in first.items():
        assert again[entry] == pytest.approx(place, abs=0.15)


def test_names_in_the_chart_stand_where_python_places_them(show):
    """On a crowded chart, once the script has drawn all axes and the first ones again."""
    board = official_leaderboard(RULES["ntire2026"])
    page = show(report_page(board, []))
    labels = (
        "all => Object.fromEntries(all.map(a => { const t = a.querySelector('text'); return ["
        "a.dataset.entry, t.classList.contains('crowded') || !t.hasAttribute('x') ? null :"
        "[t.textContent, t.getAttribute('text-anchor'), Number(t.getAttribute('x')),"
        "Number(t.getAttribute('y'))]]; }))"
    )
    first = page.locator("#chart a").evaluate_all(labels)
    assert sum(each is not None for each in first.values()) > 5
    chosen = page.locator("#axes select").evaluate_all("all => all.map(s => s.value)")
    count = page.locator("#axes select").first.locator("option").count()
    for index in range(count):
        choose(page, "Across", index=index)
        choose(page, "Area", index=index)
    for axis, value in zip(("Across", "Up", "Area"), chosen, strict=True):
        choose(page, axis, value=value)
    again = page.locator("#chart a").evaluate_all(labels)
    assert again.keys() == first.keys()
    for entry, expected in first.items():
        if expected is None:
            assert again[entry] is None
        else:
            assert again[entry][:2] == expected[:2]
            assert again[entry][2:] == pytest.approx(expected[2:], abs=0.2)


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


def test_an_axis_is_made_logarithmic_and_the_link_keeps_it(show, shown):
    page = show(shown)
    choose(page, "Across", label="Params [M]")
    box = page.get_by_label("logarithmic across")
    places = "all => all.map(c => Number(c.getAttribute('cx'))).sort((a, b) => a - b)"
    one, two, three = page.locator("#chart circle").evaluate_all(places)  # 0.2, 0.4 and 0.6 M
    assert two - one == pytest.approx(three - two, abs=0.2)
    box.press("Space")
    one, two, three = page.locator("#chart circle").evaluate_all(places)
    assert (two - one) / (three - two) == pytest.approx(math.log(2) / math.log(1.5), abs=0.01)
    assert page.get_by_label("logarithmic up").is_disabled()
    page.reload()
    assert page.get_by_label("logarithmic across").is_checked()
    assert page.locator("#chart circle").evaluate_all(places) == [one, two, three]


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
    assert page.locator("#board-tools").is_hidden()


@pytest.mark.parametrize(
    "options", [{}, {"color_scheme": "dark"}, {"viewport": {"width": 360, "height": 740}}]
)
def test_nothing_is_wider_than_the_screen(options, show, shown):
    page = show(shown, **options)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_long_names_are_no_wider_than_the_screen(show, full):
    page = show(full, viewport={"width": 360, "height": 740})
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_it_prints(show, shown):
    page = show(shown)
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden()
    assert page.locator("#board-tools").is_hidden()
    assert page.pdf()[:5] == b"%PDF-"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(scheme, show, full):
    page = show(full, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert serious_findings(page) == []


def serious_findings(page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not there")
    found = axe.Axe().run(page).response["violations"]
    serious = [each for each in found if each["impact"] in {"serious", "critical"}]
    return [(each["id"], [n["html"][:200] for n in each["nodes"][:2]]) for each in serious]


def test_made_up_names_do_nothing(show, make_record):
    record = make_record("net", VALUES)
    board = build_leaderboard([record], RULES["ntire2022"])
    page = show(report_page(board, [record]))

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.text(max_size=40) | st.sampled_from(HOSTILE), min_size=1, max_size=30))
    def check(made):
        rows = tuple(replace(board.ranked[0], entry=name) for name in made)
        hostile = board.model_copy(update={"ranked": rows, "title": made[0]})
        page.set_content(report_page(hostile, [record]))
        assert page.locator("#board tbody tr").count() == len(rows)
        tags = "all => [...new Set(all.map(e => e.tagName.toLowerCase()))]"
        inside = page.locator("#board tbody *, #entries tbody *").evaluate_all(tags)
        assert set(inside) <= {"tr", "th", "td", "bdi", "sub", "a", "button", "code"}
        assert page.evaluate("document.querySelectorAll('script').length") == 2

    check()


def test_hostile_names_do_nothing(show, make_record):
    record = make_record("net", VALUES)
    board = build_leaderboard([record], RULES["ntire2022"])
    rows = tuple(replace(board.ranked[0], entry=name) for name in [*HOSTILE, string.printable])
    hostile = board.model_copy(update={"ranked": rows, "title": HOSTILE[0], "gate": HOSTILE[1]})
    page = show(report_page(hostile, [record]))
    assert page.title() == HOSTILE[0]
    assert len(names(page)) == len(rows)
    assert page.locator("#board img, #board script, #chart script").count() == 0
    choose(page, "Across", index=1)
    data = json.loads(page.locator("#data").text_content())
    assert len(data["names"]) == len(rows)


@pytest.mark.parametrize(
    "options",
    [{}, {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}],
)
def test_index_and_history_fit_the_screen_and_name_no_request(options, show, make_record):
    records = [
        make_record(name, VALUES | {"psnr_rgb": 28 + day / 10}, run_id=f"{number}-{day}")
        for day in range(3)
        for number, name in enumerate(["rfdn", *HOSTILE])
    ]
    site = dict(site_pages(records, rules=[RULES["ntire2022"]], title=HOSTILE[0]))
    for name in ("index.html", "entry_rfdn.html", f"entry_{file_name(HOSTILE[-1])}.html"):
        page = show(site[name], **options)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        assert page.locator("script, img").count() == 0
        assert page.title() != "owned"
        assert serious_findings(page) == []
    assert page.locator("svg").count() == 1
