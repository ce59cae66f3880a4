"""The ladder of equality: by hand, and of images whose PSNR is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from builders import noise, record

from esrbench.protocol import Protocol
from esrbench.ranking.selection import select_comparable
from esrbench.records import Absent, Deployment, Equality
from esrbench.runs.equality import Beside
from esrbench.worker.failure import WorkerError

HR = np.full((40, 40, 3), 128, np.uint8)


def equality(differing=0, largest=0, psnr_difference=0.0, values=1_000_000):
    return Equality(
        values=values, differing=differing, largest=largest, psnr_difference=psnr_difference
    )


@pytest.mark.parametrize(
    ("found", "step"),
    [
        (equality(), "exact"),
        (equality(differing=100, largest=1), "one level"),
        (equality(differing=101, largest=1), "equal PSNR"),
        (equality(differing=1, largest=2), "equal PSNR"),
        (equality(differing=400_000, largest=5, psnr_difference=-0.005), "equal PSNR"),
        (equality(differing=400_000, largest=5, psnr_difference=0.0051), "different"),
        (equality(differing=101, largest=1, psnr_difference=None), "different"),
    ],
)
def test_the_first_step_that_holds_counts(found, step):
    assert found.step == step


def deployed(found):
    deployment = Deployment(backend="onnxruntime", load_seconds=0.1, equality=found)
    return record("net", protocol=Protocol().by("onnxruntime"), deployment=deployment)


def test_a_difference_of_a_hundredth_of_a_db_is_another_class():
    near, far = (
        deployed(equality(differing=9_999, largest=9, psnr_difference=each))
        for each in (-0.004, -0.01)
    )
    unknown = deployed(Absent(kind="unavailable", reason="eager torch failed"))
    assert near.class_label() == "fp32, onnxruntime"
    assert far.class_label() == "fp32, onnxruntime, SR differs"
    assert unknown.class_label() == "fp32, onnxruntime, SR not compared"
    eager = record("other")
    reference, chosen, _ = select_comparable([far, eager], forward_class="fp32")
    assert (reference, chosen) == (eager, [eager])
    _, chosen, _ = select_comparable([near, far])
    assert chosen == [far]


def psnr_of(error):
    """By the definition, of one error everywhere."""
    return 20 * math.log10(255 / error)


def test_images_are_compared_value_by_value_and_by_psnr():
    # Torch is 4 levels off everywhere; the backend as well, but for 5 in the lower half.
    theirs = HR + np.uint8(4)
    ours = theirs.copy()
    ours[20:] += 1
    beside = Beside(lambda _lr, _name: theirs, border=0)
    assert beside.upscale(lambda _lr, _name: ours, HR, "a") is ours
    beside.compare(ours, HR, "a")
    found = beside.equality()
    assert (found.values, found.differing, found.largest) == (4800, 2400, 1)
    expected = psnr_of(math.sqrt((16 + 25) / 2)) - psnr_of(4)
    assert found.psnr_difference == pytest.approx(expected, abs=1e-9)
    assert found.step == "different"


def test_the_difference_is_that_of_means_over_images():
    beside = Beside(lambda _lr, name: HR + np.uint8(4 if name == "a" else 2), border=4)
    for name in "ab":
        beside.upscale(lambda _lr, _name: HR, HR, name)
        beside.compare(HR + np.uint8(8), HR, name)
    found = beside.equality()
    expected = (2 * psnr_of(8) - psnr_of(4) - psnr_of(2)) / 2
    assert found.psnr_difference == pytest.approx(expected, abs=1e-9)
    assert found.largest == 6


def test_images_without_error_have_no_difference():
    beside = Beside(lambda _lr, _name: HR, border=0)
    beside.upscale(lambda _lr, _name: HR, HR, "a")
    beside.compare(HR, HR, "a")
    assert beside.equality().psnr_difference is None
    assert beside.equality().step == "exact"


def test_torch_that_fails_is_the_reason_why_nothing_is_known():
    def fails(_lr, _name):
        raise WorkerError("oom", "no memory", fatal=True)

    beside = Beside(fails, border=0)
    image = noise(0)
    assert beside.upscale(lambda lr, _name: lr, image, "a") is image
    beside.compare(image, image, "a")
    assert isinstance(beside.equality(), Absent)
    assert "oom: image a: no memory" in beside.equality().reason
    assert Beside(fails, border=0).equality().reason == "no image was upscaled"
