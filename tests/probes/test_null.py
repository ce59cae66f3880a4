"""The null network: around it everything is as around any other."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from esrbench.devices import DEVICES
from esrbench.entries.descriptor import ModelDescriptor
from esrbench.entries.networks import build_deployed
from esrbench.probes import null as nulls
from esrbench.probes.forward import PixelConversion
from esrbench.probes.null import Null
from esrbench.probes.precision import adapt_input, adapt_network
from esrbench.protocol import ForwardPolicy
from esrbench.runs.null_times import null_descriptor

LR = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


def like(**fields):
    return ModelDescriptor(
        name="net", summary="test", scales=(2, 4), factory="somewhere:Net", **fields
    )


def work_for(seconds, monkeypatch):
    monkeypatch.setitem(DEVICES, "cpu", replace(DEVICES["cpu"], null_seconds=seconds))


def test_it_takes_the_form_of_another_network():
    luma = like(color="y", input="bicubic-hr", data_range=255.0)
    null = null_descriptor(luma, 4, luma.data_range)
    conversion = PixelConversion.of(luma, 4, luma.data_range)
    assert PixelConversion.of(null, 4, null.data_range) == conversion
    assert null.scales == (4,)
    # The harness's own, not the entry's.
    assert null.factory == "esrbench.probes.null:Null"
    assert null.folder is None


@pytest.mark.parametrize("color", ["rgb", "y"])
@pytest.mark.parametrize("given", ["lr", "bicubic-hr"])
@pytest.mark.parametrize(
    "policy",
    [ForwardPolicy(), ForwardPolicy(precision="bf16", channels_last=True)],
    ids=["fp32", "bf16"],
)
def test_its_outputs_become_pixels_in_every_form(color, given, policy, monkeypatch):
    work_for(0.0, monkeypatch)
    descriptor = null_descriptor(like(color=color, input=given), 4, 1.0)
    network = adapt_network(build_deployed(descriptor, 4, seed=0), policy)
    conversion = PixelConversion.of(descriptor, 4, descriptor.data_range)
    with torch.inference_mode():
        for size in ((6, 9), (4, 4)):
            lr = np.ascontiguousarray(LR[: size[0], : size[1]])
            pixels = adapt_input(conversion.to_input(lr, torch.device("cpu")), policy)
            output = network(pixels)
            conversion.validate(output, size)
            assert output.dtype == pixels.dtype
            assert conversion.to_pixels(output, lr).shape == (4 * size[0], 4 * size[1], 3)


@pytest.mark.parametrize("data_range", [1e-3, 1e6])
def test_no_range_that_an_entry_may_declare_makes_it_fail(data_range, monkeypatch):
    work_for(0.0, monkeypatch)
    descriptor = null_descriptor(like(), 4, data_range)
    conversion = PixelConversion.of(descriptor, 4, data_range)
    with torch.inference_mode(), np.errstate(all="ignore"):
        output = build_deployed(descriptor, 4, seed=0)(conversion.to_input(LR, torch.device("cpu")))
    conversion.validate(output, LR.shape[:2])


def test_after_the_first_forward_of_a_shape_the_answer_lies_there(monkeypatch):
    work_for(0.0, monkeypatch)
    network = Null(2, enlarged=False, channels=3)
    first, other = torch.rand(1, 3, 4, 5), torch.rand(1, 3, 5, 4)
    kept = network(first)
    # Nearest neighbours.
    assert torch.equal(kept[:, :, ::2, ::2], first)
    assert network(torch.rand(1, 3, 4, 5)) is kept
    assert network(other) is not kept
    assert network(first) is kept


def test_it_works_as_long_as_it_says(monkeypatch):
    """By a clock that every convolution moves on by a second, and nothing else."""
    network = Null(2, enlarged=False, channels=3)
    worked = []
    network.work.register_forward_hook(lambda _module, _given, output: worked.append(output))
    work_for(4.0, monkeypatch)
    monkeypatch.setattr(nulls, "time", SimpleNamespace(perf_counter=lambda: float(len(worked))))
    for forwards in (1, 2, 3):
        network(torch.rand(1, 3, 4, 4))
        assert len(worked) == 4 * forwards
