"""PSNR, SSIM and luma against hand computation, scikit-image and the reference scores."""

import csv
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from esrbench.data.codecs import read_rgb
from esrbench.data.resize import downscale, modcrop, upscale
from esrbench.errors import MeasurementError, UsageError
from esrbench.metrics import METRICS, Findings, extract_values, image_metric
from esrbench.probes.luma import luma
from esrbench.probes.quality import psnr, require_metrics, score_image, ssim
from esrbench.protocol import QualityDefinition
from esrbench.records import Quality

RNG = np.random.default_rng(3)
SHARP = RNG.integers(0, 256, (301, 40, 3), dtype=np.uint8)  # several strips of rows
NOISY = np.clip(SHARP + RNG.normal(0, 12, SHARP.shape), 0, 255).astype(np.uint8)
SEEDS = st.integers(0, 2**32 - 1)


def image_pair(seed):
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(11, 40)), int(rng.integers(11, 40)), 3)
    first, second = rng.integers(0, 256, (2, *shape), dtype=np.uint8)
    return first, second


def skimage_ssim(a, b):
    value = structural_similarity(
        a,
        b,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=2 if a.ndim == 3 else None,
    )
    return float(value)


def test_psnr_by_hand():
    a = np.zeros((4, 4), np.uint8)
    b = a.copy()
    b[1, 2] = 8  # mean squared error 64 / 16 = 4
    assert psnr(a, b, 0) == pytest.approx(10 * math.log10(255**2 / 4), abs=1e-12)
    assert psnr(a, b, 1) == pytest.approx(10 * math.log10(255**2 / 16), abs=1e-12)
    assert psnr(np.full_like(a, 255), a, 0) == 0.0


def test_zero_error_has_no_psnr():
    assert psnr(SHARP, SHARP.copy(), 4) is None
    b = SHARP.copy()
    b[0] ^= 1  # inside the border
    assert psnr(SHARP, b, 1) is None
    assert psnr(SHARP, b, 0) is not None


@pytest.mark.parametrize("border", [0, 2, 4])
def test_psnr_agrees_with_scikit_image(border):
    inner = slice(border, -border or None)
    expected = peak_signal_noise_ratio(SHARP[inner, inner], NOISY[inner, inner], data_range=255)
    assert psnr(SHARP, NOISY, border) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("border", [0, 2, 4])
def test_ssim_agrees_with_scikit_image_in_colour_and_luma(border):
    inner = slice(border, -border or None)
    expected = skimage_ssim(SHARP[inner, inner], NOISY[inner, inner])
    assert ssim(SHARP, NOISY, border) == pytest.approx(expected, abs=1e-10)
    a, b = luma(SHARP, "unrounded"), luma(NOISY, "unrounded")
    expected = skimage_ssim(a[inner, inner], b[inner, inner])
    assert ssim(a, b, border) == pytest.approx(expected, abs=1e-10)


def test_ssim_of_two_flat_images_by_hand():
    a, b = np.full((11, 11), 100, np.uint8), np.full((11, 11), 120, np.uint8)
    c1 = 2.55**2
    expected = (2 * 100 * 120 + c1) / (100**2 + 120**2 + c1)  # no variance: the second factor is 1
    assert ssim(a, b, 0) == pytest.approx(expected, abs=1e-12)


def test_luma_by_hand_and_against_scikit_image():
    corners = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 255]]], np.uint8)
    assert luma(corners, "unrounded")[0] == pytest.approx([16, 235, 81.481, 40.966], abs=1e-12)
    assert luma(corners, "uint8")[0].tolist() == [16, 235, 81, 41]
    expected = rgb2ycbcr(SHARP)[:, :, 0]
    assert luma(SHARP, "unrounded") == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("rounding", ["unrounded", "uint8"])
def test_luma_is_exact_whatever_the_memory_of_the_image(rounding):
    level = np.arange(256, dtype=np.uint8)
    every = np.stack(np.meshgrid(level, level[::5], level[::51]), axis=-1).reshape(-1, 256, 3)
    total = every.astype(np.int64) @ np.array([65481, 128553, 24966])  # of 255 000
    expected = (total + 127500) // 255000 + 16 if rounding == "uint8" else total / 255000 + 16
    for image in (every, np.asfortranarray(every), every[::-1].copy()[::-1]):
        assert np.array_equal(luma(image, rounding), expected)


def test_one_channel_scores_as_two_dimensions_do():
    a, b = SHARP[:, :, :1], NOISY[:, :, :1]
    assert ssim(a, b, 2) == ssim(a[:, :, 0], b[:, :, 0], 2)
    assert psnr(a, b, 2) == psnr(a[:, :, 0], b[:, :, 0], 2)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, border=st.integers(0, 3))
def test_scores_are_symmetric_and_equal_images_are_perfect(seed, border):
    a, b = image_pair(seed)
    a, b = (np.pad(image, ((3, 3), (3, 3), (0, 0))) for image in (a, b))
    assert psnr(a, b, border) == psnr(b, a, border)
    assert ssim(a, b, border) == ssim(b, a, border)
    assert -1 <= ssim(a, b, border) < 1
    assert ssim(a, a, border) == 1.0


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_a_border_is_the_same_as_cropping_first(seed):
    a, b = (np.pad(image, ((4, 4), (4, 4), (0, 0)), mode="wrap") for image in image_pair(seed))
    inner_a, inner_b = a[4:-4, 4:-4].copy(), b[4:-4, 4:-4].copy()
    assert psnr(a, b, 4) == psnr(inner_a, inner_b, 0)
    assert ssim(a, b, 4) == ssim(inner_a, inner_b, 0)


@pytest.mark.parametrize("score", [psnr, ssim])
def test_what_cannot_be_compared_is_refused(score):
    assert callable(score)
    with pytest.raises(ValueError, match="equal shapes"):
        score(SHARP, SHARP[1:], 0)
    with pytest.raises(ValueError, match="equal shapes"):
        score(SHARP, SHARP.astype(np.float64), 0)
    with pytest.raises(ValueError, match="border of 20 px leaves nothing"):
        score(SHARP, SHARP, 20)
    with pytest.raises(ValueError, match="border of -1 px"):
        score(SHARP, SHARP, -1)


def test_ssim_needs_a_window():
    a = np.zeros((18, 30), np.uint8)
    assert ssim(a, a, 3) == 1.0
    with pytest.raises(ValueError, match="SSIM needs 11x11 pixels inside a border of 4, got 10x22"):
        ssim(a, a, 4)


def test_an_image_score_follows_its_definition():
    definition = QualityDefinition(rgb_border=4, luma="uint8")
    score = score_image(NOISY, SHARP, scale=2, definition=definition, image="0801")
    a, b = (
        ((image.astype(np.int64) @ [65481, 128553, 24966] + 127500) // 255000 + 16).astype(float)
        for image in (NOISY, SHARP)
    )
    rgb = peak_signal_noise_ratio(SHARP[4:-4, 4:-4], NOISY[4:-4, 4:-4], data_range=255)
    y = peak_signal_noise_ratio(b[2:-2, 2:-2], a[2:-2, 2:-2], data_range=255)
    assert score.image == "0801"
    assert score.psnr_rgb == pytest.approx(rgb, abs=1e-10)
    assert score.psnr_y == pytest.approx(y, abs=1e-10)
    assert score.ssim_y == pytest.approx(skimage_ssim(a[2:-2, 2:-2], b[2:-2, 2:-2]), abs=1e-10)


def test_ssim_of_rgb_is_the_mean_over_its_channels():
    definition = QualityDefinition(metrics=("ssim_rgb",))
    score = score_image(NOISY, SHARP, scale=4, definition=definition, image="0801")
    a, b = NOISY[4:-4, 4:-4], SHARP[4:-4, 4:-4]
    assert score.others["ssim_rgb"] == pytest.approx(skimage_ssim(a, b), abs=1e-10)
    of_channels = np.mean([skimage_ssim(a[..., c], b[..., c]) for c in range(3)])
    assert score.others["ssim_rgb"] == pytest.approx(of_channels, abs=1e-10)


def nowhere(*_):
    raise RuntimeError("no weights")


def endless(*_):
    return math.inf


@pytest.mark.parametrize(
    ("attribute", "said"), [("nowhere", "RuntimeError: no weights"), ("endless", "returned inf")]
)
def test_a_plugin_that_fails_costs_its_own_score_alone(monkeypatch, attribute, said):
    row = image_metric("broken", "Broken", f"{__name__}:{attribute}")
    monkeypatch.setitem(METRICS, "broken", row)
    definition = QualityDefinition(metrics=("broken", "ssim_rgb"))
    score = score_image(NOISY, SHARP, scale=4, definition=definition, image="0801")
    assert score.others["broken"].reason.endswith(said)
    assert isinstance(score.others["ssim_rgb"], float)
    values = extract_values(Findings(quality=Quality(definition="", images=(score,))))
    assert values["broken"].kind == "failed"
    assert values["ssim_rgb"].value == score.others["ssim_rgb"]


def test_what_cannot_be_taken_is_refused_beforehand(monkeypatch):
    monkeypatch.setitem(METRICS, "gone", image_metric("gone", "Gone", "no_such_module:score"))
    require_metrics(("ssim_rgb",))
    with pytest.raises(UsageError, match="no_such_module:score cannot be imported"):
        require_metrics(("gone",))
    for name in ("ssim_rbg", "params", "perceptual_score"):
        with pytest.raises(UsageError, match=f"'{name}' is not the name of an image score"):
            require_metrics((name,))


@pytest.mark.parametrize("sr", [SHARP[:-1], SHARP[:, :, :1], SHARP.astype(np.float32)])
def test_a_misshapen_output_names_the_image_and_both_shapes(sr):
    with pytest.raises(MeasurementError) as caught:
        score_image(sr, SHARP, scale=2, definition=QualityDefinition(), image="0802")
    assert "0802" in caught.value.message
    assert str(sr.shape) in caught.value.message
    assert str(sr.dtype) in caught.value.message
    assert str(SHARP.shape) in caught.value.message


def test_an_image_too_small_to_score_is_named():
    tiny = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(MeasurementError, match="0803: cannot be scored: SSIM needs 11x11"):
        score_image(tiny, tiny, scale=4, definition=QualityDefinition(), image="0803")


def test_bicubic_scores_agree_with_the_reference(shared):
    with (shared / "facts" / "reference_scores.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["model"].startswith("bicubic")]
    assert len(rows) == 314
    for row in rows:
        scale = int(row["scale"])
        path = shared / "data" / row["dataset"] / "HR" / f"{row['image']}.png"
        hr = np.ascontiguousarray(modcrop(read_rgb(path, allow_grey=True), scale))
        mirrored = row["lr_source"] == "matlab_mirror"
        lr = downscale(hr, scale, border="mirror" if mirrored else "replicate")
        sr = upscale(lr, scale, border="mirror")
        # The reference crops RGB by the scale at every scale.
        for definition, suffix in (
            (QualityDefinition(), ""),
            (QualityDefinition(luma="uint8"), "_u8"),
        ):
            score = score_image(sr, hr, scale=scale, definition=definition, image=row["image"])
            # A few pixels of rounded luma are exact ties, which the reference breaks otherwise.
            near = 2e-6 if not suffix else 5e-5
            assert score.psnr_rgb == pytest.approx(float(row["psnr_rgb"]), abs=2e-6), row
            assert score.psnr_y == pytest.approx(float(row[f"psnr_y{suffix}"]), abs=near), row
            assert score.ssim_y == pytest.approx(float(row[f"ssim_y{suffix}"]), abs=2e-6), row
