"""Cheats of time that only a GPU makes possible, and an honest network beside them."""

import pytest
import torch

from esrbench.protocol import LatencyDesign

IMAGES = 3


def add(submissions, row, **kwargs):
    return submissions.add(row["name"], model={"kwargs": kwargs})


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_time_on_a_gpu_is_judged_as_it_is(
    *, gpu_attack, submissions, take_photographs, small, tmp_path
):
    design = LatencyDesign(
        warmup_rounds=1, min_rounds=6, max_rounds=6, target_half_width=0, budget_seconds=60
    )
    protocol = small.model_copy(
        update={"device": "cuda", "latency": design, "counters": ("ntire2022",)}
    )
    name = add(submissions, gpu_attack, rounds=gpu_attack["rounds"])
    images = take_photographs(IMAGES)
    (record,) = submissions.run([name], images, protocol, tmp_path / "results").values()
    assert record.status in gpu_attack["status"], (record.cause, record.trust, record.notices)


@pytest.mark.slow
def test_without_a_gpu_they_are_as_good_as_honest(
    submissions, attack_table, photographs, small, tmp_path
):
    """They load and upscale, so that a run on a GPU fails for nothing but the cheat."""
    rows = [row for row in attack_table["gpu"] if row["name"] != "honest"]
    names = [add(submissions, row, rounds=1) for row in rows]
    protocol = small.model_copy(update={"latency": None, "counters": ("ntire2022",)})
    records = submissions.run(names, photographs, protocol, tmp_path / "results")
    assert {record.status for record in records.values()} == {"ok"}
    scores = {record.measured("psnr_rgb") for record in records.values()}
    assert len(scores) == 1
