"""Every command of docs/publishing.md is run, on records that are made here in place of runs."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from builders import counted

from esrbench.data.codecs import write_png
from esrbench.data.crops import CropFolder, crops_of
from esrbench.data.datasets import open_dataset
from esrbench.records import ImageScore, Quality
from esrbench.runs.store import Store

PAGE = Path(__file__).resolve().parents[2] / "docs" / "publishing.md"
COMMANDS = re.findall(r"^    (esrbench .*)$", PAGE.read_text(), re.MULTILINE)
ENTRIES = ("bicubic", "imdn", "rfdn", "aidn", "aidn-a0", "aidn-a1", "aidn-a2")


@pytest.fixture
def results(work, make_record):
    """Runs on the demo images, with scores, blocks, crops and whole SR images."""
    pairs = open_dataset("demo", 4)
    store = Store(work / "results")
    crops = crops_of(pairs, store.crops_of(pairs.digest))
    scores = tuple(
        ImageScore(image=pair.name, psnr_rgb=28.0, psnr_y=29.0, ssim_y=0.8) for pair in pairs.pairs
    )
    for number, name in enumerate(ENTRIES, 1):
        fingerprint = f"{number}" * 64
        values = {"psnr_rgb": 28.0, "psnr_y": 29.0 + number / 10, "params": 1e5 * number}
        record = make_record(name, values, digest=pairs.digest, fingerprint=fingerprint)
        quality = Quality(definition="test", images=scores)
        store.put(counted(record.model_copy(update={"quality": quality})))
        kept = CropFolder(store.crops_of(fingerprint), crops)
        for at, pair in enumerate(pairs.pairs):
            sr = (pairs.read_hr(at).astype(np.int16) + number).clip(0, 255).astype(np.uint8)
            kept.keep(pair.name, sr)
            path = work / "sr" / "demo" / name / f"{pair.name}x4.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, sr)


@pytest.mark.slow
@pytest.mark.usefixtures("results")
def test_commands_of_the_page_run_in_order(in_process, work):
    pytest.importorskip("matplotlib")
    assert {words.split()[1] for words in COMMANDS} == {"report", "run", "site", "figure"}
    for words in COMMANDS:
        _, verb, *arguments = shlex.split(words)
        if verb != "run":
            in_process(verb, *arguments, code=0)
    assert (work / "report.html").read_text().count('class="crops"') == 8 + 4
    for name in ("pareto", "ablation", "cost"):
        assert (work / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    assert r"\includegraphics" in (work / "crops.tex").read_text()
    assert (work / "public" / "index.html").is_file()
