import os
import re
from functools import partial
from operator import attrgetter

import pytest
import torch
from builders import python, step
from torch import nn

from esrbench.environment import cpus_available
from esrbench.errors import MeasurementError
from esrbench.probes.complexity import measure_complexity
from esrbench.probes.devices import open_device
from esrbench.probes.precision import (
    READERS,
    PolicyGuard,
    PrecisionError,
    adapt_input,
    adapt_network,
    apply_policy,
    cast_as_counted,
    set_flags,
)
from esrbench.protocol import COUNTERS, ForwardPolicy
from esrbench.torch_versions import VERSION, has_flag

CPU = torch.device("cpu")
BACKENDS = torch.backends
FP32 = ForwardPolicy()
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
pytestmark = pytest.mark.usefixtures("as_before")


def tampering(tamper=lambda: None):
    """A network whose forward does what the test wants once it has convolved."""

    def run(network, pixels):
        features = network.conv(pixels)
        network.tamper()
        return features

    network = step(run, conv=nn.Conv2d(3, 3, 3, padding=1), tamper=tamper)
    network.register_buffer("steps", torch.zeros(2, dtype=torch.int64))
    return network


def assign(name, value):
    holder, _, attribute = name.removeprefix("torch.").rpartition(".")
    setattr(attrgetter(holder)(torch), attribute, value)


def drop_a_cpu():
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) == 1:
        pytest.skip("a single CPU cannot be dropped")
    os.sched_setaffinity(0, cpus[1:])


ATTRIBUTES = {
    "torch.backends.cudnn.conv.fp32_precision": "tf32",
    "torch.backends.cudnn.rnn.fp32_precision": "tf32",
    "torch.backends.cuda.matmul.fp32_precision": "tf32",
    "torch.backends.mkldnn.conv.fp32_precision": "bf16",
    "torch.backends.mkldnn.matmul.fp32_precision": "bf16",
    "torch.backends.mkldnn.rnn.fp32_precision": "bf16",
    "torch.backends.fp32_precision": "tf32",
    "torch.backends.cudnn.fp32_precision": "tf32",
    "torch.backends.cudnn.allow_tf32": True,
    "torch.backends.cuda.matmul.allow_tf32": True,
    "torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction": False,
    "torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction": False,
    "torch.backends.cuda.matmul.allow_fp16_accumulation": True,
    "torch.backends.cudnn.benchmark": True,
    "torch.backends.cudnn.deterministic": True,
    "torch.backends.cudnn.enabled": False,
    "torch.backends.mkldnn.deterministic": True,
    "torch.backends.mkldnn.enabled": False,
}
SINCE = {"fp32_precision": (2, 9), "allow_fp16_accumulation": (2, 7)}
"""Of PyTorch, by the last part of a flag's name."""
TAMPERINGS = {
    **{
        name: partial(assign, name, value)
        for name, value in ATTRIBUTES.items()
        if SINCE.get(name.rpartition(".")[2], VERSION) <= VERSION and has_flag(name)
    },
    "torch.float32_matmul_precision": lambda: torch.set_float32_matmul_precision("medium"),
    "torch.are_deterministic_algorithms_enabled": lambda: torch.use_deterministic_algorithms(
        mode=True
    ),
    "torch.is_autocast_enabled('cpu')": lambda: torch.set_autocast_enabled("cpu", True),
    "torch.is_autocast_enabled('cuda')": lambda: torch.set_autocast_enabled("cuda", True),
    "torch.get_default_dtype": lambda: torch.set_default_dtype(torch.float64),
    "torch.get_num_threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "os.sched_getaffinity": drop_a_cpu,
    "denormals kept": lambda: torch.set_flush_denormal(True),
    "torch.is_grad_enabled": lambda: torch.set_grad_enabled(True),
    "torch.is_inference_mode_enabled": lambda: torch._C._InferenceMode(False),
}


def test_a_precision_that_this_torch_does_not_compute_in_is_named(monkeypatch):
    def refuse(*_):
        message = "\"slow_conv2d_cpu\" not implemented for 'Half'"
        raise RuntimeError(message)

    monkeypatch.setattr(torch, "conv2d", refuse)
    with pytest.raises(MeasurementError, match="no convolution in fp16 on the CPU"):
        apply_policy(ForwardPolicy(precision="fp16"), CPU)


def test_every_flag_that_is_watched_is_tampered_with():
    assert TAMPERINGS.keys() == READERS.keys()


def test_an_honest_forward_passes_under_every_policy_for_cpus():
    for policy in (FP32, ForwardPolicy(precision="bf16"), ForwardPolicy(channels_last=True)):
        apply_policy(policy, CPU)
        network = adapt_network(tampering(), policy)
        guard = PolicyGuard(network, policy)
        with torch.inference_mode():
            network(adapt_input(torch.rand(1, 3, 8, 8), policy))
            guard.verify()


@pytest.mark.usefixtures("all_cpus")
@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_forward_that_changes_a_flag_is_refused_by_its_name(name):
    kept = []
    network = tampering(lambda: kept.append(TAMPERINGS[name]()))
    apply_policy(FP32, CPU)
    guard = PolicyGuard(network, FP32)
    with torch.inference_mode():
        network(torch.rand(1, 3, 8, 8))
        with pytest.raises(PrecisionError, match=re.escape(name)) as caught:
            guard.verify()
        kept.clear()
    assert caught.value.advice is not None


def halve(network):
    network.half()


def replace(network):
    network.conv.weight = nn.Parameter(network.conv.weight.detach().bfloat16())


def remove(network):
    network.conv.bias = None


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (halve, "conv.weight from torch.float32 to torch.float16"),
        (replace, "conv.weight from torch.float32 to torch.bfloat16"),
        (remove, "its number of weights from 3 to 2"),
    ],
)
def test_a_forward_that_changes_its_weights_is_refused(tamper, message):
    network = tampering()
    network.tamper = lambda: tamper(network)
    guard = PolicyGuard(network, FP32)
    with torch.inference_mode():
        network(torch.rand(1, 3, 8, 8))
        with pytest.raises(PrecisionError, match=re.escape(message)):
            guard.verify()


def test_what_loading_a_network_changed_is_undone():
    apply_policy(FP32, CPU)
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("medium")
    guard = PolicyGuard(tampering(), FP32)
    assert not torch.backends.cudnn.benchmark
    assert torch.get_float32_matmul_precision() == "highest"
    with torch.inference_mode():
        guard.verify()


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
def test_both_interfaces_to_float32_precision_agree(precision):
    set_flags(ForwardPolicy(precision=precision))
    tf32 = precision == "tf32"
    # These raise where they contradict fp32_precision.
    assert BACKENDS.cudnn.allow_tf32 is tf32
    assert BACKENDS.cuda.matmul.allow_tf32 is tf32
    assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")
    if not has_flag("torch.backends.fp32_precision"):
        return
    for operator in (BACKENDS.cudnn.conv, BACKENDS.cudnn.rnn, BACKENDS.cuda.matmul):
        assert operator.fp32_precision == ("tf32" if tf32 else "ieee")
    for operator in (BACKENDS.mkldnn.conv, BACKENDS.mkldnn.matmul, BACKENDS.mkldnn.rnn):
        assert operator.fp32_precision == "ieee"


@pytest.mark.parametrize(
    "policy", [ForwardPolicy(precision="tf32"), ForwardPolicy(cudnn_benchmark=True)]
)
def test_a_cpu_refuses_what_only_gpus_have(policy):
    with pytest.raises(MeasurementError, match="exists only on CUDA") as caught:
        open_device("cpu", threads=None, policy=policy)
    assert caught.value.advice is not None


@pytest.mark.parametrize(
    ("variable", "value", "policy", "device"),
    [
        ("ONEDNN_DEFAULT_FPMATH_MODE", "BF16", FP32, "cpu"),
        ("DNNL_DEFAULT_FPMATH_MODE", "any", FP32, "cpu"),
        ("NVIDIA_TF32_OVERRIDE", "1", FP32, "cuda"),
    ],
)
def test_an_environment_that_overrides_the_policy_is_refused(
    variable, value, policy, device, monkeypatch
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(MeasurementError, match=f"{variable}={value}") as caught:
        apply_policy(policy, torch.device(device))
    assert caught.value.advice == f"Unset {variable}."


def test_strict_modes_in_the_environment_are_fine(monkeypatch):
    monkeypatch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", "strict")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")  # means nothing on CPU
    apply_policy(FP32, CPU)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)]
)
def test_weights_and_input_are_cast_and_integers_left_alone(precision, dtype):
    policy = ForwardPolicy(precision=precision)
    network = adapt_network(tampering(), policy)
    assert {name: tensor.dtype for name, tensor in network.state_dict().items()} == {
        "conv.weight": dtype,
        "conv.bias": dtype,
        "steps": torch.int64,
    }
    assert adapt_input(torch.rand(1, 3, 8, 8), policy).dtype == dtype


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_weights_of_lower_precision_do_not_pass_for_float32(precision):
    network = tampering().bfloat16()
    with pytest.raises(MeasurementError, match=r"conv\.weight is torch\.bfloat16 in .* as [ft]"):
        adapt_network(network, ForwardPolicy(precision=precision))


def test_channels_last_reaches_weights_and_input_and_keeps_values():
    policy = ForwardPolicy(channels_last=True)
    plain = tampering()
    pixels = torch.rand(1, 3, 4, 5)
    expected = plain(pixels)
    network = adapt_network(plain, policy)
    adapted = adapt_input(pixels, policy)
    assert adapted.stride() == (60, 1, 15, 3)
    assert network.get_parameter("conv.weight").stride() == (27, 1, 9, 3)
    torch.testing.assert_close(network(adapted), expected)


def test_an_input_in_form_already_is_not_copied():
    pixels = torch.rand(1, 3, 4, 5)
    assert adapt_input(pixels, FP32).data_ptr() == pixels.data_ptr()


@pytest.mark.cuda
@needs_cuda
@pytest.mark.parametrize(
    ("precision", "least", "most"),
    # Rounding of the inputs: 2**-24 of float32, 2**-11 of TF32's 10 stored bits.
    [("fp32", 0.0, 2e-6), ("tf32", 2e-5, 2e-3)],
)
def test_cuda_convolves_and_multiplies_in_the_precision_asked_for(precision, least, most):
    policy = ForwardPolicy(precision=precision)
    try:
        device = open_device("cuda", threads=None, policy=policy).device
    except MeasurementError as error:
        pytest.skip(error.message)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(1, 64, 64, 64, generator=generator)
    kernel = torch.rand(64, 64, 3, 3, generator=generator)
    matrix = torch.rand(512, 512, generator=generator)
    for ours, exact in (
        (
            nn.functional.conv2d(pixels.to(device), kernel.to(device)),
            nn.functional.conv2d(pixels.double(), kernel.double()),
        ),
        (matrix.to(device) @ matrix.to(device), matrix.double() @ matrix.double()),
    ):
        error = float(((ours.cpu().double() - exact) / exact).abs().max())
        assert least <= error <= most


THREADS = """
import sys
import torch
from torch import nn
from esrbench.errors import MeasurementError
from esrbench.probes.complexity import measure_complexity
from esrbench.probes.devices import open_device
from esrbench.protocol import COUNTERS, ForwardPolicy

policy = ForwardPolicy()
device = open_device("cpu", threads=2, policy=policy)
network = nn.Conv2d(3, 3, 1)
try:
    if sys.argv[1] == "loads":
        torch.set_flush_denormal(True)
        (torch.ones(1 << 20) * 2).sum()
    guard = device.guard(network)
    with torch.inference_mode():
        if sys.argv[1] == "forward":
            torch.set_flush_denormal(True)
        guard.verify()
    tiny = torch.full((1 << 17,), 1e-40)
    print("kept" if bool((tiny * 1.0 > 0).all()) else "flushed")
except MeasurementError as error:
    print(error.message)
"""


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("nothing", "kept"),
        ("loads", "kept"),  # what loading changed is undone
        ("forward", "the network's forward changed denormals kept from True to False"),
    ],
)
def test_denormals_are_kept_in_every_thread(what, says):
    if cpus_available() < 2:
        pytest.skip("one CPU has no second thread")
    assert python(THREADS, what) == says


TAINTED = """
import torch
from torch import nn
from esrbench.errors import MeasurementError
from esrbench.probes.precision import PolicyGuard, apply_policy
from esrbench.protocol import COUNTERS, ForwardPolicy

torch.set_num_threads(2)
apply_policy(ForwardPolicy(), torch.device("cpu"))
torch.set_flush_denormal(True)
(torch.ones(1 << 20) * 2).sum()  # starts the other thread, which inherits it
try:
    PolicyGuard(nn.Conv2d(3, 3, 1), ForwardPolicy())
except MeasurementError as error:
    print(error.message)
"""


def test_threads_that_flush_denormals_for_good_are_noticed():
    said = "the network's code started threads that flush denormals to zero"
    assert python(TAINTED) == said


def casting(cast):
    """A network that expects and returns its own type, wherever its input comes from."""
    return step(
        lambda m, pixels: nn.functional.pixel_shuffle(m.conv(cast(pixels)), 4),
        conv=nn.Conv2d(3, 48, 3, padding=1),
    )


CASTS = {
    "half": lambda pixels: pixels.half(),
    "to": lambda pixels: pixels.to(torch.float16),
    "to by name": lambda pixels: pixels.to(dtype=torch.float16),
    "type": lambda pixels: pixels.type(torch.float16),
}


@pytest.mark.parametrize("cast", CASTS)
def test_a_network_that_casts_to_its_class_is_counted_like_one_that_does_not(cast):
    policy = ForwardPolicy(precision="fp16")
    found = []
    for network in (casting(CASTS[cast]), casting(lambda pixels: pixels)):
        with cast_as_counted(policy):
            complexity = measure_complexity(
                network.eval(), input_size=(32, 32), counters=COUNTERS, precision="fp16"
            )
        counts = {name: each.macs for name, each in complexity.counters.items()}
        found.append((counts, [notice.code for notice in complexity.notices]))
    assert found[1][0]["aten"] == 27 * 48 * 32 * 32
    assert found[0] == found[1]


def test_casts_to_another_type_than_the_class_has_are_left_alone():
    with cast_as_counted(ForwardPolicy(precision="bf16")):
        assert torch.ones(1).half().dtype == torch.float16
        assert torch.ones(1).bfloat16().dtype == torch.float32
    with cast_as_counted(FP32):
        assert torch.ones(1).half().dtype == torch.float16
    assert torch.ones(1).bfloat16().dtype == torch.bfloat16
