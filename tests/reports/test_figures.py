from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from typer.testing import CliRunner

from esrbench.cli.app import app
from esrbench.data.crops import Crop, CropFolder, crops_of
from esrbench.data.datasets import open_dataset
from esrbench.entries.registry import default_registry
from esrbench.errors import UsageError
from esrbench.records import ImageScore, Quality
from esrbench.reports.comparing import build_comparison
from esrbench.reports.comparison_sources import Wanted
from esrbench.reports.figures import Panel, crops, panels_of, pareto, save
from esrbench.runs.store import Store


@pytest.fixture(scope="module")
def published():
    wanted = Wanted(data=("urban100",), scales=(4,), columns=("params", "psnr_y"), published=True)
    return build_comparison([], wanted, default_registry())


@pytest.mark.parametrize("form", ["pdf", "svg", "png"])
def test_equal_data_give_equal_bytes_and_nobody_s_settings_change(form, published, tmp_path):
    before = dict(mpl.rcParams)
    for name in ("one", "two"):
        save(pareto(published, own=["rfdn-paper"]), tmp_path / f"{name}.{form}")
    assert (tmp_path / f"one.{form}").read_bytes() == (tmp_path / f"two.{form}").read_bytes()
    assert dict(mpl.rcParams) == before


def test_fonts_are_embedded_as_true_type(published, tmp_path):
    save(pareto(published), tmp_path / "a.pdf")
    content = (tmp_path / "a.pdf").read_bytes()
    assert b"/Type42" in content or b"/CIDFontType2" in content
    assert b"/Subtype /Type3" not in content


def test_entries_stand_at_their_published_figures(published):
    axes = pareto(published).axes[0]
    places = {
        tuple(np.round(c.get_offsets()[0], 3)) for c in axes.collections if len(c.get_offsets())
    }
    by_name = {line.entry: line.cells for line in published.lines}
    params, psnr = by_name["rcan"]
    assert psnr.value == 26.82  # of the SwinIR paper's table
    assert (round(params.value / 1e6, 3), 26.82) in places
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "Params [M]"


@pytest.mark.parametrize(("columns", "width"), [(1, 3.25), (2, 6.875)])
def test_widths_are_those_of_articles(columns, width, published):
    assert pareto(published, columns=columns).get_size_inches()[0] == width


def test_another_format_is_refused_with_those_that_there_are(published, tmp_path):
    with pytest.raises(UsageError, match=r"expected a name that ends in \.pdf, \.svg"):
        save(pareto(published), tmp_path / "a.docx")
    with pytest.raises(UsageError, match="cannot be written"):
        save(pareto(published), tmp_path / "missing" / "a.png")


def test_a_figure_of_crops_shows_hr_and_every_entry():
    image = np.zeros((32, 48, 3), np.uint8)
    panels = [Panel(name, "30.00/0.9000", image) for name in ("HR", "rfdn", "imdn", "aidn", "san")]
    box = Crop("image", 0, 0, 32, 48)
    figure = crops(panels, whole=Panel("image", "", np.zeros((64, 96, 3), np.uint8)), box=box)
    assert [axes.get_xlabel().split("\n")[0] for axes in figure.axes] == [
        "image", "HR", "rfdn", "imdn", "aidn", "san",
    ]  # fmt: skip


@pytest.fixture
def stored(make_record, tmp_path):
    """A store with two runs on the demo images that kept crops; HR plus noise of two strengths."""
    pairs = open_dataset("demo", 4)
    identity = pairs.identity()
    store = Store(tmp_path / "results")
    places = crops_of(pairs, store.crops_of(identity.digest))
    for number, name in enumerate(("rfdn", "imdn")):
        scores = tuple(
            ImageScore(image=pair.name, psnr_rgb=28.0 + number, psnr_y=29.0, ssim_y=0.8)
            for pair in pairs.pairs
        )
        record = make_record(
            name, {"psnr_rgb": 28.0}, digest=identity.digest, fingerprint=f"{number + 1}" * 64
        )
        store.put(record.model_copy(update={"quality": Quality(definition="d", images=scores)}))
        folder = CropFolder(store.crops_of(record.fingerprint), places)
        for index, pair in enumerate(pairs.pairs):
            folder.keep(pair.name, pairs.read_hr(index) // (number + 1))
    return store, places, identity


def test_panels_are_the_kept_pixels(stored):
    store, places, identity = stored
    records = sorted(store.load()[0], key=lambda record: record.entry.name)
    hr, imdn, rfdn = panels_of(records, store, places[0], identity.digest)
    assert (hr.label, imdn.label, rfdn.label) == ("HR", "imdn", "rfdn")
    assert (rfdn.pixels == hr.pixels).all()
    assert (imdn.pixels == hr.pixels // 2).all()
    assert rfdn.caption == "28.00/0.8000"


def test_the_command_writes_the_figure_and_says_which_crop_and_why(stored, tmp_path):
    store, places, _ = stored
    target = tmp_path / "crops.png"
    given = ["figure", "crops", "-o", str(target), "--results", str(store.folder)]
    done = CliRunner().invoke(app, [*given, "--crop", "2"], catch_exceptions=False)
    assert done.exit_code == 0
    assert target.read_bytes()[:4] == b"\x89PNG"
    assert f"crop 2 of {len(places)}, as asked for: {places[1].image}" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--crop", "99"], "--crop 99: there are 8"),
        (["aidn"], "no run of aidn on demo x4"),
        (["-o", "a.txt"], "expected a name that ends in"),
    ],
)
def test_what_cannot_be_drawn_says_why(arguments, said, stored):
    command = ["figure", "crops", "--results", str(stored[0].folder), *arguments]
    with pytest.raises(UsageError, match=said):
        CliRunner().invoke(app, command, catch_exceptions=False, standalone_mode=False)
