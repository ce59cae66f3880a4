import pytest
from pydantic import ValidationError

from esrbench.protocol import LatencyDesign, Protocol, QualityDefinition, TrustDesign


def test_equal_protocols_have_equal_digests():
    assert Protocol().digest() == Protocol().digest()
    assert len(Protocol().digest()) == 64


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
