"""Code that was written for one GPU runs on the device of the run, whatever that is."""

from __future__ import annotations

import io

import pytest
import torch
from builders import write_files
from torch import nn
from torch.nn import functional

from esrbench.entries.descriptor import ModelDescriptor
from esrbench.entries.networks import resolve_weights
from esrbench.errors import RegistrationError
from esrbench.protocol import Protocol
from esrbench.worker.cuda_requests import (
    FACTORIES,
    METHODS,
    WITHOUT_EFFECT,
    CudaRequests,
    needs_cuda,
)
from esrbench.worker.failure import WorkerError
from esrbench.worker.launcher import open_launcher
from esrbench.worker.worker import failure

CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is not missing here")


@pytest.fixture
def requests(monkeypatch):
    """Requests of a run on the CPU; what they replace for good is put back."""
    for holder, names in (
        (torch, FACTORIES),
        (torch.Tensor, METHODS),
        (torch.cuda, WITHOUT_EFFECT),
        (torch.serialization, ("default_restore_location",)),
    ):
        for name in names:
            monkeypatch.setattr(holder, name, getattr(holder, name))
    return CudaRequests(CPU)


class WrittenForOneGpu(nn.Module):
    """Does in its constructor what constructors of the challenge do."""

    def __init__(self):
        super().__init__()
        torch.cuda.set_device(0)
        device = torch.device("cuda" if torch.cuda.is_available() else "cuda:0")
        self.body = nn.Conv2d(3, 12, 3, padding=1, device="cuda")
        self.mean = torch.zeros(1, 3, 1, 1, device=device)
        self.register_buffer("scale", torch.ones(1).type(torch.cuda.FloatTensor))
        self.half = torch.full((1,), 0.5).to("cuda", torch.float32)
        self.last = torch.ones(1).to(torch.cuda.current_device())
        self.cuda()(torch.randn(1, 3, 8, 8).cuda())
        torch.cuda.synchronize()
        torch.cuda.empty_cache()

    def forward(self, lr):
        return functional.pixel_shuffle(self.body((lr - self.mean) * self.scale), 2)


def test_a_constructor_for_one_gpu_builds_on_the_cpu(requests):
    with requests.while_built():
        network = WrittenForOneGpu()
    assert {tensor.device for tensor in (*network.state_dict().values(), network.mean)} == {CPU}
    assert network.half.dtype == torch.float32
    made = set(requests.made)
    assert {"torch.Tensor.cuda", "torch.Tensor.to", "torch.Tensor.type", "torch.zeros"} <= made
    assert {"torch.cuda.set_device", "torch.cuda.synchronize", "torch.cuda.empty_cache"} <= made
    assert list(requests.forwards) == ["WrittenForOneGpu"]


def test_outside_of_that_block_nothing_is_led(requests):
    before = torch.cuda.synchronize
    with requests.while_built():
        assert torch.cuda.synchronize is not before
    assert torch.cuda.synchronize is before
    with pytest.raises((AssertionError, RuntimeError)):
        torch.zeros(1).cuda()


def test_a_network_that_asks_for_nothing_is_told_nothing(requests):
    with requests.while_built():
        network = nn.Sequential(nn.Conv2d(3, 3, 3, device="cpu"), nn.ReLU()).to("cpu")
        network(torch.rand(1, 3, 8, 8))  # torch's own modules: a hook may fuse by them
    assert not requests.made
    assert not requests.forwards


@pytest.mark.parametrize("where", ["cuda", torch.device("cuda:0"), {"cuda:1": "cuda:0"}, None])
def test_weights_saved_on_a_gpu_are_read(requests, where, monkeypatch):
    monkeypatch.setattr(torch.serialization, "location_tag", lambda _: "cuda:1")
    file = io.BytesIO()
    torch.save({"weight": torch.arange(3.0)}, file)
    monkeypatch.undo()
    with requests.while_built():
        file.seek(0)
        read = torch.load(file, map_location=where, weights_only=True)
    assert read["weight"].tolist() == [0, 1, 2]
    assert list(requests.made) == ["torch.load"]


def test_a_forward_is_led_once_it_has_failed_and_then_always(requests):
    calls = []

    def forward(lr):
        calls.append(lr)
        return lr.to("cuda") + torch.ones(1, device="cuda") + lr.new_zeros(1, device="cuda")

    lr = torch.zeros(2)
    assert requests.running(lambda: forward(lr)).tolist() == [1, 1]
    assert len(calls) == 2
    assert requests.running(lambda: forward(lr)).tolist() == [1, 1]
    assert len(calls) == 3
    assert list(requests.made) == ["torch.Tensor.to", "torch.ones", "torch.Tensor.new_zeros"]
    # No copy: on a GPU that would be none either.
    assert lr.to("cuda").data_ptr() == lr.cuda().data_ptr() == lr.data_ptr()


def test_any_other_failure_of_a_forward_is_not_tried_again(requests):
    calls = []

    def forward():
        calls.append(1)
        raise ValueError("too wide for me")

    with pytest.raises(ValueError, match="too wide"):
        requests.running(forward)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("device", "led"),
    [("cuda", False), ("cuda:0", False), (0, False), ("cuda:1", True), (3, True), ("cpu", False)],
)
def test_on_a_gpu_only_other_gpus_are_led_to_it(device, led):
    requests = CudaRequests(torch.device("cuda", 0))
    seen = []
    requests.call(lambda **options: seen.append(options), (), {"device": device})
    expected = torch.device("cuda", 0) if led else device
    assert seen == [{"device": expected}]
    assert bool(requests.made) == led


def named(code, folder):
    path = folder / "model.py"
    path.write_text(code)
    try:
        exec(compile(code, str(path), "exec"), {"torch": torch})  # noqa: S102 - code of the test
    except Exception as error:  # noqa: BLE001 - whatever torch raises
        return needs_cuda(error)
    return pytest.fail("that worked without CUDA")


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("torch.cuda.Stream()", "torch.cuda.Stream"),
        ("torch.cuda.CUDAGraph()", "torch.cuda.CUDAGraph"),
        ("torch.cuda.get_device_properties(0)", "torch.cuda.get_device_properties"),
        ("import no_such_cuda_kernels", "no_such_cuda_kernels"),
        ("import mamba_ssm.ops", "mamba_ssm"),
    ],
)
def test_what_truly_needs_cuda_is_named(code, name, tmp_path):
    # Where no code of torch's own raises it, the line is named.
    assert named(code, tmp_path) in {name, f"`{code}`"}


def test_what_needs_no_cuda_is_not_accused(tmp_path):
    assert named("import no_such_package", tmp_path) is None
    assert named("torch.zeros(2) + torch.zeros(3)", tmp_path) is None


MODEL = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, scale=4):
        super().__init__()
        self.body = nn.Conv2d(3, 3 * scale**2, 3, padding=1).cuda()
        self.tail = nn.PixelShuffle(scale)
        self.cuda()(torch.rand(1, 3, 8, 8, device="cuda"))

    def forward(self, lr):
        torch.cuda.synchronize()
        return self.tail(self.body(lr.to("cuda")))


class WithStreams(Net):
    def forward(self, lr):
        with torch.cuda.stream(torch.cuda.Stream()):
            return super().forward(lr)
"""


def session_of(folder, factory):
    descriptor = ModelDescriptor(
        name="team-net", summary="a test", scales=(4,), factory=factory, folder=str(folder)
    )
    weights = resolve_weights(descriptor, 4, None)
    protocol = Protocol(threads=1, counted_input=(16, 16), memory_input=(16, 16))
    session = open_launcher("subprocess").worker((descriptor, weights), protocol=protocol)
    return session, lambda: session.load(descriptor, 4, weights=weights, protocol=protocol)


def test_a_worker_runs_and_counts_it_and_says_so_once(tmp_path, noise_image):
    session, load = session_of(write_files(tmp_path, {"model.py": MODEL}), "model:Net")
    with session:
        load()
        assert session.upscale(noise_image, "image").shape == (64, 64, 3)
        delivery = session.forward(noise_image)
        complexity = session.count_complexity()
    assert delivery.claimed_seconds <= delivery.seconds
    assert complexity.params == 48 * 27 + 48
    notices = {each.code: each.message for each in complexity.notices}
    assert "torch.Tensor.cuda" in notices["cuda-requests"]
    assert "torch.cuda.synchronize" in notices["cuda-requests"]
    assert notices["cuda-requests"].endswith("it got the CPU of this run instead")
    assert "(Net)" in notices["warm-up"]


def test_a_worker_names_what_needs_cuda(tmp_path):
    session, load = session_of(write_files(tmp_path, {"model.py": MODEL}), "model:WithStreams")
    with session, pytest.raises(WorkerError, match=r"torch\.cuda\.Stream needs CUDA") as caught:
        load()
    assert caught.value.advice is not None
    assert "--device cuda" in caught.value.advice


def test_a_kernel_that_is_compiled_for_cuda_is_named():
    kernel = torch.cuda.jiterator._create_jit_fn("template <typename T> T f(T x) { return x; }")
    with pytest.raises(AssertionError) as caught:
        kernel(torch.ones(1))
    assert needs_cuda(caught.value) == "torch.cuda.jiterator"


def test_a_requirement_that_only_runs_with_cuda_is_not_asked_to_be_installed():
    lacking = RegistrationError("team-net: mamba-ssm is not installed", advice="Install it.")
    lacking.__cause__ = ModuleNotFoundError("no such module", name="mamba_ssm")
    told = failure(lacking, "load-error")
    assert told["message"].startswith("mamba_ssm needs CUDA, which a run on the CPU does not have")
    assert "--device cuda" in told["advice"]
    lacking.__cause__ = ModuleNotFoundError("no such module", name="einops")
    assert failure(lacking, "load-error")["advice"] == "Install it."


@pytest.fixture
def noise_image():
    """A small LR image, uint8 (16, 16, 3)."""
    from builders import noise

    return noise(0, 16, 16)
