"""What descriptors say of padding, tiles and weights in folders."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from esrbench.entries.descriptor import ModelDescriptor, ReleasedWeights
from esrbench.entries.registry import Registry
from esrbench.errors import RegistrationError


def descriptor(name, **fields):
    return ModelDescriptor(name=name, summary="x", scales=(4,), factory="math:sqrt", **fields)


def submitted(scale):
    return ReleasedWeights(
        scale=scale, filename="w.pth", url=None, bytes=1, sha256="0" * 64, licence="MIT"
    )


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"tile": 20, "pad_multiple": 8}, "tile: 20 is no multiple of pad_multiple, which is 8"),
        ({"tile": 16, "tile_overlap": 9}, "tile_overlap: 9 is more than half of tile"),
        ({"tile_overlap": 1}, "tile_overlap: 1 is more than half of tile, which is None"),
    ],
)
def test_tiles_and_padding_must_go_together(fields, says):
    with pytest.raises(ValidationError, match=says):
        descriptor("tiled", **fields)
    assert descriptor("tiled", tile=16, pad_multiple=8, tile_overlap=8).tile == 16


def test_submitted_weights_are_at_most_one_a_scale_and_no_release():
    registry = Registry()
    twice = descriptor("twice", submitted=(submitted(4), submitted(4)))
    with pytest.raises(RegistrationError, match=r"weights for scales \[4, 4\]"):
        registry.add((twice,), origin="dist")
    once = descriptor("once", submitted=(submitted(4),))
    assert once.submitted_weights(4) == submitted(4)
    assert once.submitted_weights(2) is None
    assert once.released_weights(4) is None
