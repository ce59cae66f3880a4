"""Quantising ONNX graphs: which operators become integers, and what cannot."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esrbench.backends import Setting, get_backend
from esrbench.errors import MeasurementError

pytestmark = pytest.mark.slow
BACKEND = get_backend("onnxruntime")
INPUTS = [torch.rand(1, 3, 12, 16) for _ in range(3)]


@pytest.fixture
def onnx():
    pytest.importorskip("onnxruntime", reason="onnxruntime is an extra, and not installed here")
    return pytest.importorskip("onnx", reason="onnxruntime is an extra, and not installed here")


@pytest.fixture
def write(onnx, tmp_path):
    """Writes a graph of operators of three channels one after the other."""

    def make(*kinds):
        nodes, weights, last = [], [], "lr"
        for index, kind in enumerate(kinds):
            name = f"w{index}"
            given, fields = [last], {}
            if kind == "Conv":
                values = np.random.default_rng(index).normal(0, 0.3, (3, 3, 3, 3))
                weights.append(onnx.numpy_helper.from_array(values.astype(np.float32), name))
                given, fields = [last, name], {"pads": [1, 1, 1, 1]}
            elif kind == "Add":
                given = [last, last]
            last = "sr" if index == len(kinds) - 1 else f"t{index}"
            node = onnx.helper.make_node(kind, given, [last], name=f"{kind}{index}", **fields)
            nodes.append(node)
        sides = [1, 3, "h", "w"]
        ends = [
            onnx.helper.make_tensor_value_info(each, onnx.TensorProto.FLOAT, sides)
            for each in ("lr", "sr")
        ]
        graph = onnx.helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
        opset = [onnx.helper.make_opsetid("", 18)]
        path = tmp_path / "network.onnx"
        onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), path)
        return path

    return make


@pytest.mark.parametrize(
    ("precision", "ends", "floats", "activations"),
    [
        ("int8", False, {}, "UINT8"),
        ("int8", True, {"Conv": 2}, "UINT8"),
        ("int8-w16", False, {}, "INT16"),
    ],
)
def test_weights_are_int8_and_activations_as_asked(
    onnx, write, precision, ends, floats, activations
):
    path = write("Conv", "Relu", "Conv", "Relu", "Conv")
    held = BACKEND.quantise(path.parent, INPUTS, precision, fp32_ends=ends)
    assert held.float_products == floats
    assert held.operators["Conv"] == 3
    model = onnx.load(path)
    types = {onnx.TensorProto.DataType.Name(each.data_type) for each in model.graph.initializer}
    assert {"INT8", activations} <= types


@pytest.mark.parametrize(("last", "gives"), [("Add", "Add"), ("Sigmoid", "DequantizeLinear")])
def test_sums_stay_in_floats(onnx, write, last, gives):
    path = write("Conv", last)
    BACKEND.quantise(path.parent, INPUTS, "int8", fp32_ends=False)
    (node,) = (each for each in onnx.load(path).graph.node if "sr" in each.output)
    assert node.op_type == gives


@pytest.mark.usefixtures("onnx")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")  # torch's own
def test_a_graph_holds_what_the_code_did_when_it_was_traced(tmp_path):
    class Tires(torch.nn.Conv2d):
        """Works at its first forwards alone, which may be warm-up or scored."""

        calls = 0

        def forward(self, lr):
            self.calls += 1
            sr = super().forward(lr)
            return sr if self.calls <= 2 else sr * 0

    network = Tires(3, 3, 3, padding=1).eval()
    honest = torch.nn.Conv2d.forward(network, INPUTS[0])
    BACKEND.build(network, torch.rand(1, 3, 48, 64), tmp_path)
    opened = BACKEND.open(network, Setting(torch.device("cpu"), 1, graph=tmp_path))
    for _ in range(5):
        torch.testing.assert_close(opened.run(INPUTS[0]), honest)


def test_integers_give_nearly_what_floats_give(write):
    def output(path):
        setting = Setting(torch.device("cpu"), 1, graph=path.parent)
        return BACKEND.open(None, setting).run(INPUTS[0])

    path = write("Conv", "Relu", "Conv")
    expected = output(path)
    BACKEND.quantise(path.parent, INPUTS, "int8", fp32_ends=False)
    found = output(path)
    assert not torch.equal(found, expected)
    # Also on processors whose fast integer kernels would saturate.
    assert (found - expected).abs().mean() < 0.05 * expected.abs().mean()


@pytest.mark.parametrize(
    ("kinds", "ends", "said"),
    [
        (("Relu", "Exp"), False, "matrix products: it has none"),
        (
            ("Conv", "Relu", "Conv"),
            True,
            "quantises none of its convolutions and matrix products: Conv",
        ),
    ],
)
def test_a_graph_of_which_nothing_becomes_integers_is_refused(write, kinds, ends, said):
    path = write(*kinds)
    with pytest.raises(MeasurementError, match=said) as caught:
        BACKEND.quantise(path.parent, INPUTS, "int8", fp32_ends=ends)
    assert caught.value.advice == "Measure it in fp32."


def test_what_the_library_fails_at_is_said(write):
    path = write("Conv")
    path.write_bytes(b"no graph")
    with pytest.raises(MeasurementError, match="ONNX Runtime cannot quantise it: "):
        BACKEND.quantise(path.parent, INPUTS, "int8", fp32_ends=False)
