"""Networks are built from descriptors with the weights that were asked for."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import pytest
import torch
from builders import descriptor
from torch import nn

from esrbench.api import complexity
from esrbench.entries.building import code_sha256, deploy
from esrbench.entries.descriptor import ModelDescriptor, ReleasedWeights
from esrbench.entries.networks import (
    build_deployed,
    build_network,
    load_network,
    resolve_weights,
)
from esrbench.entries.targets import resolve_factory
from esrbench.entries.weight_files import cache_path, cached_release, fetch_release
from esrbench.errors import RegistrationError, UsageError, WeightsError
from esrbench.runs.in_process import load_model

SOURCE = """
import torch
from builders import descriptor
from torch import nn


class Scaler(nn.Module):
    def __init__(self, scale=4, width=1):
        super().__init__()
        self.gain = nn.Parameter(torch.randn(width))
        self.dropout = nn.Dropout()
        self.upsample = nn.Upsample(scale_factor=scale)

    def forward(self, lr):
        return self.upsample(self.dropout(lr) * self.gain.sum() + 1)


def number(scale):
    return scale


def halved(network):
    with torch.no_grad():
        network.gain.div_(2)
    return network.train()
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("ESRBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def entry(tmp_path, cache):
    """A small network whose released weights (gain 3, range 255, x4) lie in ``release.pth``."""
    assert not cache.exists()
    (tmp_path / "net.py").write_text(SOURCE)
    release = tmp_path / "release.pth"
    torch.save({"params": {"module.g": torch.tensor([3.0])}}, release)
    content = release.read_bytes()
    return ModelDescriptor(
        name="scaler",
        summary="a test network",
        scales=(2, 4),
        factory=f"{tmp_path / 'net.py'}:Scaler",
        weights=(
            ReleasedWeights(
                scale=4,
                filename="release.pth",
                url="https://example.org/release.pth",
                bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                key="params",
                prefix="module.",
                data_range=255.0,
                renames=(("g", "gain"),),
                licence="MIT",
            ),
        ),
    )


@pytest.fixture
def cached(entry, tmp_path):
    """The release, fetched into the cache from a mirror."""
    return fetch_release(entry.weights[0], mirror=str(tmp_path))


def without(entry, **changes):
    return entry.model_copy(update=changes)


def gain(network):
    return network.get_parameter("gain").sum().item()


def test_networks_are_built_in_eval_mode_from_the_seed(entry):
    first, again, other = (build_network(entry, 4, seed=seed) for seed in (7, 7, 8))
    assert not any(module.training for module in first.modules())
    assert gain(first) == gain(again) != gain(other)
    assert all(parameter.requires_grad for parameter in first.parameters())


def test_building_keeps_the_callers_random_state(entry):
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    build_network(entry, 4)
    assert torch.equal(torch.rand(3), expected)


def test_options_reach_the_factory(entry):
    network = build_network(without(entry, options={"width": 5}), 4)
    assert network.get_parameter("gain").shape == (5,)


def test_networks_can_be_built_on_meta(entry):
    with torch.device("meta"):
        network = build_network(entry, 4)
    assert network.get_parameter("gain").is_meta


def test_a_factory_must_return_a_module(entry):
    broken = without(entry, factory=entry.factory.replace("Scaler", "number"))
    with pytest.raises(RegistrationError, match=r"scaler: .*:number returned a int, expected"):
        build_network(broken, 4)


def test_an_undefined_scale_is_refused_everywhere(entry):
    for refuse in (build_network, load_network, resolve_weights, load_model):
        with pytest.raises(UsageError, match="not defined at x3"):
            refuse(entry, 3)


def test_auto_takes_the_cached_release(entry, cached, cache):
    resolved = resolve_weights(entry, 4)
    assert resolved.path == cached == cache / "weights" / "release.pth"
    assert resolved.released == entry.weights[0]
    assert resolved.identity.source == "released"
    assert resolved.identity.sha256 == entry.weights[0].sha256
    assert resolved.identity.file_bytes == entry.weights[0].bytes
    assert resolved.identity.filename == "release.pth"
    assert resolved.identity.data_range == 255.0


@pytest.mark.parametrize(("scale", "weights"), [(4, "auto"), (2, "auto"), (4, None)])
def test_without_a_cached_release_weights_are_random(entry, scale, weights):
    resolved = resolve_weights(without(entry, data_range=2.0), scale, weights)
    assert resolved.identity.source == "random"
    assert resolved.identity.data_range == 2.0
    assert (resolved.path, resolved.released) == (None, None)


def test_an_altered_cached_release_is_refused(entry, cached):
    content = bytearray(cached.read_bytes())
    content[-1] ^= 1
    cached.write_bytes(content)
    with pytest.raises(WeightsError, match=r"release\.pth: SHA-256 is") as caught:
        resolve_weights(entry, 4)
    assert caught.value.advice == "Delete it, then run `esrbench fetch weights scaler`."
    cached.write_bytes(content[:-1])
    with pytest.raises(WeightsError, match=rf"{len(content) - 1} bytes, expected {len(content)}"):
        resolve_weights(entry, 4)


def test_a_release_under_another_name_is_read_by_its_declaration(entry, tmp_path):
    path = (tmp_path / "release.pth").rename(tmp_path / "renamed.pth")
    resolved = resolve_weights(entry, 4, path)
    assert resolved.identity.source == "released"
    assert resolved.identity.filename == "renamed.pth"
    loaded = load_network(entry, 4, resolved.path, released=resolved.released)
    assert gain(loaded.network) == 3.0
    assert loaded.data_range == 255.0


def test_any_other_file_is_plain_and_of_the_default_range(entry, tmp_path):
    torch.save({"gain": torch.tensor([5.0])}, tmp_path / "mine.pth")
    resolved = resolve_weights(entry, 2, str(tmp_path / "mine.pth"))
    assert resolved.identity.source == "file"
    assert resolved.released is None
    loaded = load_network(entry, 2, resolved.path, released=resolved.released)
    assert gain(loaded.network) == 5.0
    assert loaded.data_range == 1.0


def test_a_release_for_another_scale_is_refused(entry, tmp_path):
    with pytest.raises(WeightsError, match="released for x4, not x2"):
        resolve_weights(entry, 2, tmp_path / "release.pth")


def test_a_missing_file_is_named(entry, tmp_path):
    with pytest.raises(WeightsError, match=r"nowhere\.pth: there is no such") as caught:
        resolve_weights(entry, 4, tmp_path / "nowhere.pth")
    assert caught.value.advice is not None
    assert "esrbench fetch weights scaler" in caught.value.advice


def test_interpolation_has_no_weights(entry, tmp_path):
    bicubic = without(entry, role="floor", weights=())
    for weights in ("auto", None):
        assert resolve_weights(bicubic, 4, weights).identity.source == "none"
    with pytest.raises(WeightsError, match="has no parameters"):
        resolve_weights(bicubic, 4, tmp_path / "release.pth")


def test_a_file_changed_after_it_was_resolved_is_refused(entry, cached):
    resolved = resolve_weights(entry, 4)
    torch.save({"params": {"module.g": torch.tensor([4.0])}}, cached)
    with pytest.raises(WeightsError, match="expected"):
        load_network(entry, 4, resolved.path, released=resolved.released)


def test_release_is_cached_only_in_full(entry, cached):
    assert cached_release(entry.weights[0]) == cached
    cached.write_bytes(cached.read_bytes()[:-1])
    assert cached_release(entry.weights[0]) is None
    cached.unlink()
    assert cached_release(entry.weights[0]) is None


@pytest.mark.parametrize("name", ["../w.pth", "/w.pth", "a\\w.pth", "..", ""])
def test_a_release_cannot_leave_the_cache(entry, name):
    outside = entry.weights[0].model_copy(update={"filename": name})
    for use in (cache_path, cached_release, fetch_release):
        with pytest.raises(WeightsError, match="must be a bare name"):
            use(outside)


def test_loaded_models_take_and_give_the_unit_range(entry, cached):
    assert cached.is_file()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = load_model(entry)
    assert not any(module.training for module in network.modules())
    lr = torch.full((1, 3, 2, 2), 0.5)
    with torch.inference_mode():
        sr = network(lr)
    assert sr.shape == (1, 3, 8, 8)
    # The network sees 127.5, gives 3 * 127.5 + 1, and that is divided by 255.
    assert torch.allclose(sr, torch.full_like(sr, 383.5 / 255))


def test_loading_without_cached_weights_warns_how_to_get_them(entry):
    with pytest.warns(UserWarning, match="Random weights: .* run `esrbench fetch weights scaler`"):
        load_model(entry, 4)
    with pytest.warns(UserWarning, match="no weights were released for scaler x2"):
        load_model(entry, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asked = load_model(entry, 4, weights=None)
    assert gain(asked) == gain(build_network(entry, 4, seed=0))


def test_models_are_loaded_by_name():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bicubic = load_model("bicubic", 2)
    grey = torch.full((1, 3, 3, 4), 100 / 255)
    assert torch.allclose(bicubic(grey), torch.full((1, 3, 6, 8), 100 / 255))
    with pytest.raises(UsageError, match="no network is registered as 'bicubik'"):
        load_model("bicubik")


def test_a_file_that_does_not_fit_is_named(entry, tmp_path):
    torch.save({"gain": torch.zeros(2)}, tmp_path / "wide.pth")
    with pytest.raises(WeightsError, match=r"wide\.pth does not fit Scaler"):
        load_model(entry, 4, tmp_path / "wide.pth")


def code_of(entry):
    return code_sha256(build_network(entry, 4), resolve_factory(entry.factory))


def test_code_hash_follows_the_source(entry, tmp_path):
    before = code_of(entry)
    assert before is not None
    assert code_of(entry) == before
    (tmp_path / "net.py").write_text(SOURCE.replace("+ 1", "+ 2"))
    assert code_of(entry) not in (before, None)


def test_code_hash_covers_every_submodule():
    from esrbench_models.blocks import Upsampler
    from esrbench_models.rfdn.network import RFDN

    network = RFDN()
    alone = code_sha256(nn.ModuleList([]), RFDN)
    assert code_sha256(network, RFDN) not in (alone, None)
    assert code_sha256(nn.ModuleList([Upsampler(4, 2)]), RFDN) == code_sha256(network, RFDN)


def test_code_without_a_source_file_has_no_hash():
    typed = type("Typed", (nn.Module,), {"__module__": "no_such_module"})
    assert code_sha256(typed(), typed) is None


def test_a_hook_deploys_the_filled_network(entry, tmp_path):
    prepared = without(entry, prepare=f"{tmp_path / 'net.py'}:halved")
    loaded = load_network(prepared, 4, tmp_path / "release.pth", released=entry.weights[0])
    # Halved after the released gain was loaded, and in eval mode though the hook forgot it.
    assert gain(loaded.network) == 1.5
    assert not loaded.network.training
    assert gain(build_deployed(prepared, 4)) == gain(build_network(entry, 4)) / 2
    assert deploy(entry, loaded.network) is loaded.network


@pytest.mark.parametrize(
    ("hook", "says"),
    [
        ("builtins:id", "the hook builtins:id returned a int, expected a torch.nn.Module"),
        ("builtins:missing", "has no attribute 'missing'"),
    ],
)
def test_a_hook_that_returns_no_network_is_refused(entry, hook, says):
    with pytest.raises(RegistrationError, match=says):
        build_deployed(without(entry, prepare=hook), 4)


@pytest.mark.parametrize("name", ["w\udcff.pth", "w\x1b[2J.pth", "\u202ew.pth"])
def test_weights_whose_name_cannot_be_shown_are_refused(describe, tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(WeightsError, match="the path cannot be shown as text") as caught:
        resolve_weights(describe("Nearest"), 4, tmp_path / name)
    assert caught.value.message.isprintable()


HALF = """
import torch
from builders import descriptor
from torch import nn


class Half(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 48, 1)

    def forward(self, lr):
        return nn.functional.pixel_shuffle(self.conv(lr.half()), 4)
"""


@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_a_network_of_half_precision_takes_and_gives_float32(tmp_path, data_range):
    (tmp_path / "half.py").write_text(HALF)
    half = descriptor(
        factory=f"{tmp_path / 'half.py'}:Half", precision="fp16", data_range=data_range
    )
    with torch.inference_mode():
        sr = load_model(half, weights=None)(torch.rand(1, 3, 4, 5))
    assert (sr.shape, sr.dtype) == ((1, 3, 16, 20), torch.float32)
    counted = complexity(half, input_size=(32, 32), counters=("fvcore", "aten"))
    assert {each.macs for each in counted.counters.values()} == {3 * 48 * 32 * 32}


def test_weights_lie_where_they_were_found_wherever_a_worker_is(entry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    torch.save({"gain": torch.tensor([5.0])}, "elsewhere/mine.bin")
    Path("link.pth").symlink_to("elsewhere/mine.bin")
    for given in ("link.pth", "elsewhere/mine.bin", "./elsewhere/../link.pth"):
        resolved = resolve_weights(entry, 2, given)
        assert resolved.path == tmp_path / "elsewhere" / "mine.bin"
        assert resolved.identity.filename == Path(given).name
        monkeypatch.chdir("/")
        assert gain(load_network(entry, 2, resolved.path).network) == 5.0
        monkeypatch.chdir(tmp_path)
