"""``esrbench score``, and how what it stores is shown beside runs of networks."""

from __future__ import annotations

import csv
import io
import json
import shutil

import pytest

from esrbench.data.codecs import write_png
from esrbench.data.datasets import open_dataset
from esrbench.data.resize import upscale
from esrbench.records import RunRecord
from esrbench.runs.store import Store


@pytest.fixture
def images(shared_pair_folder, tmp_path):
    """SR images of a team, and the data set they are of."""
    root = tmp_path / "team07"
    root.mkdir()
    pairs = open_dataset(str(shared_pair_folder), 4)
    for index, pair in enumerate(pairs.pairs):
        write_png(root / f"{pair.name}x4_SR.png", upscale(pairs.read_lr(index), 4, border="mirror"))
    return root


def test_scores_are_shown_and_stored(in_process, images, shared_pair_folder, work):
    options = ("--data", shared_pair_folder)
    done = in_process("score", images, *options)
    assert done.returncode == 0, done.stderr
    assert "team07 on pairs (folder) x4" in done.stdout
    assert "image0" in done.stdout
    assert "mean" in done.stdout
    assert "uint8 RGB, border 4 px" in done.stdout
    (record,) = Store(work / "results").load()[0]
    assert record.entry.name == "team07"
    assert f"{record.run_id}.json" in done.stderr

    shutil.make_archive(str(images), "zip", images)
    zipped = ("score", images.with_name("team07.zip"), *options, "--name", "zipped")
    again = RunRecord.model_validate(json.loads(in_process(*zipped, "--json").stdout))
    assert again.quality == record.quality
    rows = list(csv.DictReader(io.StringIO(in_process(*zipped, "--format", "csv").stdout)))
    assert [row["image"] for row in rows] == ["image0", "image1", "mean"]
    assert float(rows[-1]["psnr_y"]) == record.measured("psnr_y")

    shown = in_process("show", record.run_id)
    assert "absent (unavailable): only SR images were given, not their network" in shown.stdout
    assert "images in team07" in shown.stdout
    board = in_process("leaderboard")
    assert "SR images that were made elsewhere" in board.stdout
    compared = in_process("compare", "--data", "pairs")
    assert "scored without their network: team07 (x4), zipped (x4)" in compared.stdout


def test_every_problem_is_told_and_nothing_stored(in_process, images, shared_pair_folder, work):
    (images / "image0x4_SR.png").unlink()
    (images / "image1x4_SR.png").write_bytes(b"GIF8")
    done = in_process("score", images, "--data", shared_pair_folder)
    assert done.returncode == 2
    assert "image0: has no SR image, expected image0.png or image0x4.png" in done.stderr
    assert "image1x4_SR.png: found a GIF file" in done.stderr
    assert not list(work.rglob("*.json"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere", "--data", "demo"), "does not exist"),
        ((".", "--data", "demo", "--name", "rfdn"), "--name rfdn-images"),
        ((".",), "Missing option"),
    ],
)
def test_wrong_arguments_end_with_2(in_process, arguments, says):
    done = in_process("score", *arguments)
    assert done.returncode == 2
    assert says in done.stderr


@pytest.mark.slow
def test_saved_images_of_a_run_have_its_scores(in_process, shared_pair_folder):
    data = ("--data", shared_pair_folder)
    options = ("--threads", "1", "--input-size", "16x16", "--no-runtime")
    run = in_process("run", "bicubic", *data, *options, "--save-sr", "sr", "--json")
    (measured,) = json.loads(run.stdout)["records"]
    scored = in_process("score", "sr/pairs/bicubic", *data, "--name", "images", "--json")
    assert json.loads(scored.stdout)["quality"]["images"] == measured["quality"]["images"]
    board = json.loads(in_process("leaderboard", "--json").stdout)
    rows = [*board["ranked"], *board["unranked"]]
    assert {row["entry"] for row in rows} == {"bicubic", "images"}
