import pytest
import torch

from esrbench.probes.counters import fvcore

# Hand computation by fvcore's documented rules.
FIGURES = [
    ("conv", 108 * 48, 192, {}),
    ("grouped", 54 * 48, 288, {}),
    ("dilated and strided", 54 * 2, 4, {}),
    ("transposed", 96 * 48, 384, {}),
    ("1-D", 18 * 46, 92, {}),
    ("3-D", 54 * 24, 48, {}),
    ("linear NHWC", 48 * 15, 240, {}),
    ("functional conv", 108 * 24, 96, {}),
    ("matmul attention", 2 * 3 * 3 * 48, 9 + 144, {"aten::softmax": 1}),
    ("fused attention", 0, 0, {"aten::scaled_dot_product_attention": 1}),
    ("ReLU module", 108 * 48, 192, {}),
    ("LeakyReLU module", 108 * 48, 192, {"aten::leaky_relu_": 1}),
    ("batch norm", 2 * 144, 0, {}),
    ("plain batch norm", 144, 0, {}),
    ("interpolate", 4 * 576, 0, {}),
    ("same layer twice", 2 * 81 * 48, 288, {}),
    ("looks at pixels", 108 * 48, 192, {}),
]


@pytest.mark.parametrize(("name", "macs", "activations", "uncounted"), FIGURES)
def test_figures_computed_by_hand(*, network, lr, name, macs, activations, uncounted):
    result = fvcore.count(network(name), lr)
    assert (result.macs, result.activations, result.uncounted) == (macs, activations, uncounted)
    assert (result.conv_calls, result.elementwise) == (None, None)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [figures[0] for figures in FIGURES] + ["inference mode inside"])
def test_a_trace_without_values_gives_what_the_library_gives(network, lr, name):
    from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis

    flops = FlopCountAnalysis(network(name), lr)
    activations = ActivationCountAnalysis(network(name), lr)
    with torch.no_grad():
        expected = (flops.total(), activations.total(), dict(flops.unsupported_ops()))
    result = fvcore.count(network(name), lr)
    assert (result.macs, result.activations, result.uncounted) == expected


def test_a_moved_private_part_of_torch_costs_time_not_figures(network, lr, monkeypatch):
    def gone():
        raise AttributeError("module 'torch._C' has no attribute '_get_tracing_state'")

    monkeypatch.setattr(fvcore, "_tracing_state", gone)
    assert fvcore.count(network("ReLU module"), lr).macs == 108 * 48


def test_tracing_ends_with_the_count(network, lr):
    fvcore.count(network("conv"), lr)
    assert not torch.jit.is_tracing()
    # The dispatcher is as it was: a second trace sees its convolution.
    graph, _ = torch.jit._get_trace_graph(network("conv"), lr)
    assert "aten::_convolution" in {node.kind() for node in graph.nodes()}


def test_nothing_is_logged(network, lr, caplog):
    fvcore.count(network("LeakyReLU module"), lr)
    assert not caplog.records


def test_the_forwards_own_error_passes_through(network):
    with pytest.raises(RuntimeError, match=r"expected input.*to have 3 channels"):
        fvcore.count(network("conv"), torch.zeros(1, 2, 8, 6))
