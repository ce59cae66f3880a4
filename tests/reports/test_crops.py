from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from esrbench.cli.app import app
from esrbench.data.codecs import read_rgb
from esrbench.data.crops import Crop
from esrbench.data.datasets import open_dataset
from esrbench.entries.registry import default_registry
from esrbench.errors import UsageError
from esrbench.reports.crops import Panel, choose_crop, crops, panels_of, save_tabular


def test_a_figure_of_crops_shows_hr_and_every_entry():
    image = np.zeros((32, 48, 3), np.uint8)
    panels = [Panel(name, "30.00/0.9000", image) for name in ("HR", "rfdn", "imdn", "aidn", "san")]
    box = Crop("image", 0, 0, 32, 48)
    figure = crops(panels, whole=Panel("image", "", np.zeros((64, 96, 3), np.uint8)), box=box)
    assert [axes.get_xlabel().split("\n")[0] for axes in figure.axes] == [
        "image", "HR", "rfdn", "imdn", "aidn", "san",
    ]  # fmt: skip


def test_demonstration_weights_are_marked_as_in_tables(tmp_path):
    said = "Demonstration weights of esrbench, not the authors'"
    image = np.zeros((32, 48, 3), np.uint8)
    panels = [Panel("HR", "", image), Panel("RFDN", "30.00/0.9000", image, "demo")]
    box = Crop("image", 0, 0, 32, 48)
    drawn = crops(panels, whole=None, box=box)
    assert drawn.axes[1].get_xlabel() == "RFDN\u2021\n30.00/0.9000"
    assert said in drawn.get_supxlabel()
    save_tabular(panels, tmp_path / "a.tex", whole=None, box=box)
    text = (tmp_path / "a.tex").read_text()
    assert r"HR \end" in text
    assert r"RFDN$^{\ddagger}$ \\ 30.00/0.9000" in text
    assert rf"\par $^{{\ddagger}}$ {said}." in text


def test_panels_are_the_kept_pixels(stored):
    store, places, identity = stored
    records = sorted(store.load()[0], key=lambda record: record.entry.name)
    hr, imdn, rfdn = panels_of(records, store, places[0], identity.digest, {"imdn": "IMDN"})
    assert (hr.label, imdn.label, rfdn.label) == ("HR", "IMDN", "rfdn")
    assert (rfdn.pixels == hr.pixels).all()
    assert (imdn.pixels == hr.pixels // 2).all()
    assert (hr.caption, rfdn.caption) == ("PSNR-Y/SSIM-Y", "29.00/0.8000")


def test_the_crop_on_which_entries_differ_most_is_chosen(stored):
    store, places, _ = stored
    records = store.load()[0]
    chosen = choose_crop(records, store, default_registry())
    # One entry kept HR and the other one half of it, so they differ most where HR is brightest.
    pairs = open_dataset("demo", 4)
    images = {pair.name: pairs.read_hr(at) for at, pair in enumerate(pairs.pairs)}
    brightest = max(places, key=lambda place: place.cut(images[place.image]).mean())
    assert chosen.box == brightest
    assert f"on which the entries differ most: {brightest.image}" in chosen.reason
    assert chosen.whole is not None
    assert (chosen.whole.pixels == images[brightest.image]).all()


def test_the_command_writes_the_figure_and_says_which_crop_and_why(stored, tmp_path):
    store, places, _ = stored
    target = tmp_path / "crops.png"
    given = ["figure", "crops", "-o", str(target), "--results", str(store.folder)]
    done = CliRunner().invoke(app, [*given, "--crop", "2"], catch_exceptions=False)
    assert done.exit_code == 0
    assert target.read_bytes()[:4] == b"\x89PNG"
    assert f"crop 2 of {len(places)}, as asked for: {places[1].image}" in done.stderr


def test_crops_as_latex_are_lossless_pictures_with_captions_as_text(stored, tmp_path):
    store, places, _ = stored
    given = ["figure", "crops", "rfdn", "imdn", "--results", str(store.folder), "--crop", "1"]
    target = tmp_path / "crops.tex"
    done = CliRunner().invoke(app, [*given, "-o", str(target)], catch_exceptions=False)
    assert done.exit_code == 0
    text = target.read_text()
    assert text.index("HR") < text.index("RFDN") < text.index("IMDN")
    assert r"crops/1.png} \\ RFDN \\ 29.00/0.8000" in text
    pairs = open_dataset("demo", 4)
    at = next(i for i, pair in enumerate(pairs.pairs) if pair.name == places[0].image)
    assert (read_rgb(tmp_path / "crops" / "1.png") == places[0].cut(pairs.read_hr(at))).all()
    assert read_rgb(tmp_path / "crops" / "whole.png").shape == pairs.read_hr(at).shape


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--crop", "99"], "--crop 99: there are 8"),
        (["aidn"], "no run of aidn on demo x4"),
        (["-o", "a.txt"], "expected a name that ends in"),
        (["-o", "a_b.tex"], "expected letters, digits and hyphens"),
        (["-o", "missing/a.tex"], "cannot be written"),
    ],
)
def test_what_cannot_be_drawn_says_why(arguments, said, stored):
    command = ["figure", "crops", "--results", str(stored[0].folder), *arguments]
    with pytest.raises(UsageError, match=said):
        CliRunner().invoke(app, command, catch_exceptions=False, standalone_mode=False)
