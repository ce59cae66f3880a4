import pytest
from pydantic import ValidationError

from esrbench.protocol import (
    EnergyDesign,
    ForwardPolicy,
    LatencyDesign,
    Protocol,
    QualityDefinition,
    Quantisation,
    TrustDesign,
)


def test_equal_protocols_have_equal_digests():
    assert Protocol().digest() == Protocol().digest()
    assert len(Protocol().digest()) == 64


QUANTISED = ForwardPolicy(
    precision="int8",
    backend="onnxruntime",
    quantisation=Quantisation(images=3, sha256="a" * 64),
)
ASKED = Protocol(
    forward=QUANTISED, quality=QualityDefinition(metrics=("ssim_rgb",)), energy=EnergyDesign()
)


@pytest.mark.parametrize(
    ("protocol", "digest"),
    [
        (Protocol(), "61512fa278e03e1c940b7a1826186b234d6d7ad86e4a1bd2ac27810e4d77f330"),
        (ASKED, "d9a232230a5636cdfbff96cbea34e28f4625c01657a2e07622daf0f2aff5f849"),
    ],
)
def test_digests_are_those_of_stored_records(protocol, digest):
    """A new field must be marked as ``ADDED_LATER``, or no stored record compares with new ones."""
    assert protocol.digest() == digest
    assert Protocol.model_validate_json(protocol.model_dump_json()) == protocol


@pytest.mark.parametrize(
    "other",
    [
        Protocol(seed=1),
        Protocol(threads=1),
        Protocol(counted_input=(128, 128)),
        Protocol(latency=None),
        Protocol(latency=LatencyDesign(max_rounds=11)),
        Protocol(quality=QualityDefinition(luma="uint8")),
        Protocol(trust=TrustDesign(claim_tolerance=0.04)),
    ],
)
def test_any_setting_changes_the_digest(other):
    assert other.digest() != Protocol().digest()


@pytest.mark.parametrize(
    "fields",
    [
        {"threads": 0},
        {"counted_input": (0, 8)},
        {"device": "tpu"},
        {"speed": 1},
        {"version": 1},
        {"trust": {"null_rounds": 0}},
        {"trust": {"caching_ratio": 1.1}},
    ],
)
def test_impossible_settings_are_refused(fields):
    with pytest.raises(ValidationError):
        Protocol.model_validate(fields)


def test_more_rounds_at_least_than_at_most_are_refused():
    with pytest.raises(ValidationError, match="min_rounds 6 exceeds max_rounds 5"):
        LatencyDesign(min_rounds=6, max_rounds=5)


def test_borders_follow_the_scale_unless_fixed():
    assert QualityDefinition().border_pixels("rgb", 3) == 3
    assert QualityDefinition(rgb_border=4).border_pixels("rgb", 2) == 4
    assert QualityDefinition(rgb_border=4).border_pixels("y", 2) == 2
    assert "border 4 px" in QualityDefinition(rgb_border=4).describe(2)


def test_integers_are_a_class_that_names_its_images_and_torch_beside_it_is_float32():
    images = {"images": 3, "sha256": "a" * 64}
    whole, ends = (Quantisation(**images, fp32_ends=each) for each in (False, True))
    by_onnx = Protocol().by("onnxruntime")
    int8 = by_onnx.in_precision("int8", whole)
    assert int8.forward.label == "int8, onnxruntime"
    kept = by_onnx.in_precision("int8-w16", ends)
    assert kept.forward.label == "int8-w16, fp32 ends, onnxruntime"
    assert Protocol.model_validate_json(int8.model_dump_json()) == int8
    others = by_onnx.in_precision("int8", whole.model_copy(update={"sha256": "b" * 64}))
    assert others.digest() != int8.digest()
    assert int8.eager == Protocol()
    assert "3 images (aaaaaaaaaaaa), none of them scored" in whole.describe()
