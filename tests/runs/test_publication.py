"""Records on hidden test sets as others may have them."""

import pytest
from builders import latency, replicate, samples

from esrbench.records import (
    Absent,
    ImageMemory,
    ImageScore,
    Memory,
    Notice,
    Quality,
    RunRecord,
    VariantScores,
)
from esrbench.runs.publication import public_records

SECRETS = ("night-sky", "cpu", "0811")
SCORE = 31.415926


@pytest.fixture
def hidden(make_record):
    """A record on three images, one of them named as a device is."""
    scores = [
        ImageScore(image=name, psnr_rgb=SCORE, psnr_y=SCORE, ssim_y=0.98765) for name in SECRETS
    ]
    scored = VariantScores(rounds=3, clean_psnr_rgb=SCORE, variant_psnr_rgb=SCORE)
    timed = replicate(*(samples(name, variants=scored) for name in SECRETS))
    size = {"lr_size": (8, 8), "input_bytes": 1, "output_bytes": 1}
    images = [
        ImageMemory(image=name, peak_bytes=1, peak_reserved_bytes=1, **size) for name in SECRETS
    ]
    record = make_record(
        "net",
        {"psnr_rgb": 30.5, "runtime_images": 0.1},
        status="suspect-memorising",
        cause="suspect-memorising: night-sky and 0811 score better than 108111",
        log_tail="reading night-sky",
        quality=Quality(definition="RGB", images=tuple(scores)),
        memory=Memory(weights_bytes=1, images=tuple(images), pass_peak_bytes=1),
        latency=latency(timed),
        notices=(Notice(code="x", message="image 0811 throttled", advice="Run 'cpu' again."),),
    )
    data = record.data.model_copy(update={"hidden": True})
    return record.model_copy(update={"data": data})


def test_names_and_scores_of_images_are_left_out_and_means_stay(hidden):
    (public,) = public_records([hidden])
    text = public.model_dump_json()
    assert not [name for name in ("night-sky", "0811 ", str(SCORE), "0.98765") if name in text]
    assert public.measured("psnr_rgb") == 30.5
    assert public.cause == "suspect-memorising: image 3 and image 1 score better than 108111"
    assert public.notices[0].message == "image image 1 throttled"
    assert public.protocol == hidden.protocol  # its device is called as an image is
    timed = public.latency.replicates[0].images
    assert [each.input_name for each in timed] == ["image 3", "image 2", "image 1"]
    assert public.log_tail == ""
    assert RunRecord.model_validate_json(text) == public


def test_a_public_set_stays_as_it_is(hidden):
    public = hidden.model_copy(update={"data": hidden.data.model_copy(update={"hidden": False})})
    assert public_records([public]) == [public]


def test_what_an_entry_says_as_it_fails_is_left_out(hidden):
    # It has seen an image, and could say what is in it.
    said = Absent(kind="failed", reason="image 0811: 255, 0, 12", failure="forward-error")
    failed = hidden.model_copy(
        update={
            "run_id": "failed",
            "status": "forward-error",
            "cause": "forward-error: image 0811: 255, 0, 12",
            "values": hidden.values | {"psnr_rgb": said},
            **dict.fromkeys(("quality", "memory", "latency"), said),
        }
    )
    failed, _ = public_records([failed, hidden])
    assert "255" not in failed.model_dump_json()
    assert failed.cause == "forward-error: messages about a hidden test set are not published"
