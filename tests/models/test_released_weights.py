"""Released weights load strictly and give the reference SR."""

import pytest

from esrbench.entries.networks import load_network
from esrbench_models.entries import ENTRIES

CASES = [
    pytest.param(entry, released, id=f"{entry.name}-{released.filename}")
    for entry in ENTRIES
    for released in entry.weights
]


@pytest.mark.parametrize(("entry", "released"), CASES)
def test_set5_psnr_is_the_reference(entry, released, shared, set5_psnr):
    path = shared / "weights" / released.filename
    loaded = load_network(entry, released.scale, path, released=released)
    assert loaded.data_range == released.data_range
    scores = set5_psnr(
        loaded.network,
        path.stem,
        released.scale,
        "as_distributed_replicate",
        data_range=loaded.data_range,
    )
    for image, (found, expected) in scores.items():
        assert found == pytest.approx(expected, abs=1e-4), image


def test_eight_files_are_released():
    assert sorted({weights.filename for entry in ENTRIES for weights in entry.weights}) == [
        "IMDN_x2.pth",
        "IMDN_x3.pth",
        "IMDN_x4.pth",
        "imdn_baseline.pth",
        "rfdn_baseline.pth",
        "team04_rlfn.pth",
        "team14_arfdn.pth",
        "team18_bsrn.pth",
    ]
