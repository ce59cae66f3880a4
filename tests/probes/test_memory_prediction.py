"""Where no prediction of memory holds, and Linears with forwards of their own."""

import pytest
import torch
from builders import step
from torch import nn
from torch.nn import functional

from esrbench.entries.networks import build_network
from esrbench.entries.registry import default_registry
from esrbench.probes.forward import PixelConversion
from esrbench.probes.memory import predict_memory, unpredicted
from esrbench.probes.precision import adapt_network
from esrbench.protocol import ForwardPolicy, Protocol
from esrbench.records import PredictedMemory
from esrbench.worker.measured import MeasuredNetwork
from esrbench.worker.own import count

FEATURES = 16 * 64 * 64 * 4


class Own(nn.Linear):
    """Keeps its product beside the sum."""

    def forward(self, features):
        product = functional.linear(features, self.weight)
        total = product + self.bias
        return total * product


class Bias(nn.Linear):
    """Adds its bias to its very input, which nobody allocated in the forward."""

    def forward(self, features):
        return features + self.bias


@pytest.mark.parametrize(
    ("linear", "alive"),
    [
        (lambda: Own(16, 16), 4),  # input, product, sum, result
        (lambda: nn.Linear(16, 16), 2),  # input and the product, in which the bias is added
        (lambda: Bias(16, 16), 2),  # input and sum
    ],
    ids=["its own", "torch's", "bias alone"],
)
def test_sums_of_a_linear(linear, alive):
    # A Linear on features that lie last.
    around = step(lambda m, image: m.linear(image.permute(0, 2, 3, 1)), linear=linear())
    predicted = predict_memory(around.eval(), input_size=(64, 64), channels=16)
    assert predicted.peak_bytes - predicted.weights_bytes == alive * FEATURES


@pytest.mark.parametrize(
    ("policy", "holds"),
    [
        (ForwardPolicy(), True),
        (ForwardPolicy(precision="tf32", cudnn_benchmark=True), True),
        (ForwardPolicy(precision="fp16"), False),
        (ForwardPolicy(precision="bf16"), False),
        (ForwardPolicy(channels_last=True), False),
        (ForwardPolicy(backend="torch-compile"), False),
    ],
    ids=lambda value: value.label if isinstance(value, ForwardPolicy) else "",
)
def test_a_prediction_holds_for_one_class(policy, holds):
    absent = unpredicted(policy)
    assert (absent is None) is holds
    descriptor = default_registry().get("fsrcnn")
    protocol = Protocol(counters=(), forward=policy, counted_input=(64, 64), memory_input=(66, 66))
    conversion = PixelConversion.of(descriptor, 4, 1.0)
    adapted = adapt_network(build_network(descriptor, 4), policy)
    measured = MeasuredNetwork(adapted, adapted, protocol, conversion, torch.device("cpu"), 1)
    memory = count(measured).predicted_memory
    if holds:
        assert isinstance(memory, PredictedMemory)
    else:
        assert memory == absent
        assert memory.kind == "unavailable"
        assert policy.label in memory.reason
        assert memory.advice
