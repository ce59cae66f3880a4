"""The declared data sets against what their publishers distribute."""

import pytest

from esrbench.data import declarations
from esrbench.data.datasets import dataset_names, get_dataset
from esrbench.errors import UsageError


def test_the_declared_sets():
    counts = {name: get_dataset(name).count for name in dataset_names()}
    assert counts == {
        "div2k-valid": 100,
        "div2k-lsdir-valid": 200,
        "div2k-lsdir-test": 200,
        "set5": 5,
        "set14": 14,
        "bsd100": 100,
        "urban100": 100,
        "manga109": 109,
        "demo": 4,
    }
    for dataset in declarations.DATASETS.values():
        assert not dataset.images or len(dataset.images) == dataset.count
        assert not dataset.remote_images or len(dataset.remote_images) == dataset.count
        assert not dataset.packaged_images or len(dataset.packaged_images) == dataset.count
        # Whatever can be fetched can be proven, by its digest or by its archives'.
        single = dataset.remote_images or dataset.packaged_images
        assert not single or set(dataset.digests) == set(dataset.scales)
        archived = {archive.scale for archive in dataset.archives}
        assert not archived or archived == {None, *dataset.scales}
        assert not archived or not dataset.modcrop


def test_div2k_is_declared_as_its_publisher_lays_it_out(shared):
    lines = (shared / "facts" / "div2k_archives.tsv").read_text().splitlines()[1:]
    published = {tuple(line.split("\t")) for line in lines if "valid" in line}
    dataset = get_dataset("div2k-valid")
    declared = {(item.url, str(item.bytes), item.sha256) for item in dataset.archives}
    assert declared == published
    assert len(published) == 4
    assert (dataset.images[0], dataset.images[-1]) == ("0801", "0900")
    members = {item.scale: item.member("0801") for item in dataset.archives}
    assert members[None] == "DIV2K_valid_HR/0801.png"
    assert members[4] == "DIV2K_valid_LR_bicubic/X4/0801x4.png"


def test_an_unknown_name_is_answered_with_near_ones():
    with pytest.raises(UsageError, match="'sett5'") as caught:
        get_dataset("sett5")
    assert "Did you mean set5" in (caught.value.advice or "")
    assert "urban100" in (caught.value.advice or "")


def test_set14_is_declared_by_its_origin(shared):
    import csv

    with (shared / "facts" / "manifest.csv").open(newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    for name in ("set5", "set14"):
        for remote in get_dataset(name).remote_images:
            row = rows[f"data/{name.capitalize()}/HR/{remote.image}.png"]
            base = "https://raw.githubusercontent.com"
            path = f"{row['origin_repo']}/{row['origin_commit']}/{row['origin_path']}"
            assert remote.url == f"{base}/{path}"
            if row["how"] == "byte copy":
                assert (remote.bytes, remote.sha256) == (int(row["bytes"]), row["sha256"])
