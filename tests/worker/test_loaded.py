"""A worker that reads no weights file: what it was sent, it loads and runs as any other does."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save

from esrbench.entries.networks import build_network, load_network
from esrbench.entries.registry import default_registry
from esrbench.errors import WeightsError
from esrbench.probes import forward, luma
from esrbench.probes.forward import PixelConversion
from esrbench.protocol import Protocol
from esrbench.worker.loaded import load_converted
from esrbench.worker.messages import Load
from esrbench.worker.worker import requested

RFDN = default_registry().get("rfdn")


def request(descriptor=RFDN, scale=4, **fields):
    """The request as it arrives in a worker."""
    asked = Load(
        descriptor=descriptor,
        scale=scale,
        weights_path=None,
        released=None,
        converted=True,
        protocol=Protocol(),
        **fields,
    )
    return requested(json.loads(asked.model_dump_json()))


def test_it_builds_what_the_harness_builds():
    sent = load_converted(request(), b"")
    here = load_network(RFDN, 4)
    assert sent.data_range == here.data_range
    assert sent.state_elements == here.state_elements == 433_448
    ours, theirs = here.network.state_dict(), sent.network.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_weights_come_as_bytes():
    state = build_network(RFDN, 4, seed=5).state_dict()
    loaded = load_converted(request(), save(state)).network.state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    state["more"] = torch.zeros(1)
    with pytest.raises(WeightsError, match=r"1 unexpected \(more\)"):
        load_converted(request(), save(state))


def test_a_declared_range_of_the_weights_counts():
    released = RFDN.weights[0]
    asked = request()
    asked.released = json.loads(released.model_dump_json())
    assert load_converted(asked, b"").data_range == 255.0


@pytest.mark.parametrize("color", ["rgb", "y"])
@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_pixels_are_the_same_without_opencv(color, data_range, monkeypatch):
    rng = np.random.default_rng(0)
    lr = rng.integers(0, 256, (37, 53, 3), np.uint8)
    conversion = PixelConversion(2, data_range, color)
    channels = conversion.channels
    # Halves of levels among them, which are rounded to even, and values out of range.
    levels = rng.integers(-4, 516, (1, channels, 74, 106)).astype(np.float32) / 2
    sr = torch.from_numpy(levels) / 255 * data_range

    def converted():
        pixels = conversion.to_input(lr, torch.device("cpu"))
        return pixels.numpy(), conversion.to_pixels(sr, lr)

    with_opencv = converted()
    for module in (forward, luma):
        monkeypatch.setattr(module, "OPENCV", None)
    for ours, theirs in zip(with_opencv, converted(), strict=True):
        assert np.array_equal(ours, theirs)


def test_a_request_keeps_tables_as_they_are():
    descriptor = RFDN.model_copy(update={"options": {"blocks": 4}})
    asked = request(descriptor)
    assert asked.descriptor.options == {"blocks": 4}
    assert asked.protocol.forward.precision == "fp32"
    assert asked.command == "load"
    assert isinstance(asked, SimpleNamespace)
