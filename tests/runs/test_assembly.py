from __future__ import annotations

from esrbench.records import Absent, ImageScore, Quality
from esrbench.runs.assembly import _as_timed


def score(image, psnr):
    return ImageScore(image=image, psnr_rgb=psnr, psnr_y=psnr, ssim_y=0.9)


def test_the_worst_of_what_was_timed_counts():
    quality = Quality(definition="PSNR", images=(score("a", 30.0), score("b", 31.0)))
    rescored = [score("a", 28.0), score("a", 27.0), score("a", None), score("a", 29.0)]
    found = _as_timed(quality, rescored)
    assert isinstance(found, Quality)
    assert found.images == (score("a", 27.0), score("b", 31.0))
    assert found.definition == "PSNR"
    # However good the untimed pass was, or however bad.
    better = _as_timed(quality, [score("b", None)])
    assert isinstance(better, Quality)
    assert better.images == (score("a", 30.0), score("b", None))


def test_what_was_timed_as_it_was_scored_keeps_its_scores():
    quality = Quality(definition="PSNR", images=(score("a", 30.0),))
    assert _as_timed(quality, []) is quality
    absent = Absent(kind="failed", reason="gone")
    assert _as_timed(absent, [score("a", 30.0)]) is absent
