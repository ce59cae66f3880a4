"""The weights that ship: what they are, when they run, and that nobody takes them for others."""

from __future__ import annotations

import json
import statistics
from importlib import resources
from pathlib import Path

import pytest
from safetensors import safe_open

from esrbench.api import evaluate
from esrbench.entries.networks import load_network, resolve_weights
from esrbench.entries.registry import default_registry
from esrbench.entries.weight_files import demonstration_weights
from esrbench.runs.in_process import load_model

SHIPPED = ("aidn", "imdn", "rfdn", "srresnet")
FOLDER = Path(str(resources.files("esrbench_models")))
MAX_BYTES = 8_000_000


@pytest.fixture(params=SHIPPED)
def descriptor(request):
    return default_registry().get(request.param)


def test_four_small_files_ship_each_with_its_card():
    files = [*FOLDER.rglob("*.safetensors")]
    assert {path.name for path in files} == {f"{name}_x4.safetensors" for name in SHIPPED}
    assert sum(path.stat().st_size for path in files) < MAX_BYTES
    for name in SHIPPED:
        card = (FOLDER / name / f"{name}_x4.md").read_text()
        assert "Demonstration weights, not the authors'" in card
        assert "PHOTOGRAPHS.md" in card


def test_they_run_where_nothing_else_is_there_and_say_what_they_are(descriptor):
    resolved = resolve_weights(descriptor, 4)
    assert resolved.identity.source == "demo"
    assert resolved.path == demonstration_weights(descriptor, 4)
    load_network(descriptor, 4, resolved.path)
    with pytest.warns(UserWarning, match="Demonstration weights: "):
        load_model(descriptor.name)


def test_other_scales_strangers_and_those_who_ask_for_random_weights_get_none(descriptor):
    stranger = descriptor.model_copy(update={"origin": "elsewhere"})
    assert resolve_weights(descriptor, 2).identity.source == "random"
    assert resolve_weights(stranger, 4).identity.source == "random"
    assert resolve_weights(descriptor, 4, None).identity.source == "random"


@pytest.mark.parametrize(("name", "released"), [("rfdn", "rfdn_baseline"), ("imdn", "IMDN_x4")])
def test_released_weights_replace_them(shared, name, released, monkeypatch, tmp_path):
    monkeypatch.setenv("ESRBENCH_CACHE", str(tmp_path))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / f"{released}.pth").symlink_to(shared / "weights" / f"{released}.pth")
    assert resolve_weights(default_registry().get(name), 4).identity.source == "released"


def test_the_file_says_what_it_was_trained_on(descriptor):
    path = demonstration_weights(descriptor, 4)
    assert path is not None
    with safe_open(path, "pt") as file:
        said = file.metadata()
    assert (said["model"], said["scale"]) == (descriptor.name, "4")
    assert set(json.loads(said["data"])["images"]) == {"free-photographs"}
    card = path.with_suffix(".md").read_text()
    assert f"{int(said['iterations']):,}" in card


@pytest.mark.slow
def test_their_scores_are_those_of_their_cards_and_above_bicubic(descriptor, shared):
    path = demonstration_weights(descriptor, 4)
    assert path is not None
    data = f"set5={shared / 'data' / 'Set5'}"
    ours, floor = (
        statistics.fmean(
            image.psnr_y or 100 for image in evaluate(name, data, weights=weights).images
        )
        for name, weights in ((descriptor.name, path), ("bicubic", "auto"))
    )
    assert ours > floor + 1.2
    assert f"{ours:.2f}" in path.with_suffix(".md").read_text()
