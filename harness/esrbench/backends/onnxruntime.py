"""ONNX Runtime on the CPU. It runs a graph that torch exports for any height and width."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Sequence

from esrbench.backends import (
    Backend,
    Held,
    Opened,
    naming_operators,
    quantising,
    require_integers,
    require_set,
    traced,
)
from esrbench.errors import MeasurementError

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from esrbench.backends import Setting

GRAPH = "network.onnx"
ENTRIES = {
    # Threads that spin when idle slow others down and look like hidden work.
    "session.intra_op.allow_spinning": "0",
    "session.inter_op.allow_spinning": "0",
    "session.set_denormal_as_zero": "0",
    # Without VNNI, sums of int8 would saturate: RFDN lost 3.7 dB. The exact kernels are slower.
    "session.x64quantprecision": "1",
}
"""Options of the session's configuration."""


class OnnxRuntime(Backend):
    """ONNX Runtime's CPU provider; input and output are bound, so that nothing is copied."""

    name = "onnxruntime"
    title = "ONNX Runtime"
    packages = ("onnxruntime", "onnx", "onnxscript")
    precisions = ("fp32", "int8", "int8-w16")
    extra = "onnx"
    files = (GRAPH,)
    form = "onnx"

    def build(self, network: nn.Module, example: torch.Tensor, folder: Path) -> Held:
        """Write an ONNX file that holds the weights; for errors see ``export``."""
        return held(export(network, example, folder / GRAPH))

    def quantise(
        self, folder: Path, inputs: Sequence[torch.Tensor], precision: str, *, fp32_ends: bool
    ) -> Held:
        """Quantise by the range from the least to the greatest value; weights by channel.

        Activations are unsigned, because this CPU's kernels take no others. Sums stay in float32:
        rounding both terms of a residual costs quality (RFDN: 0.13 dB) and saves no time.
        """
        import onnx
        from onnxruntime.quantization import QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        path = str(folder / GRAPH)
        with quantising(self.title):
            # Symbolic shapes fail at some upsampling operators; torch has written shapes already.
            quant_pre_process(path, path, skip_symbolic_shape=True)
            nodes = onnx.load(path).graph.node
            convolutions = [node.name for node in nodes if node.op_type == "Conv"]
            floats = [node.name for node in nodes if node.op_type == "Add"]
            if fp32_ends:
                floats += [convolutions[0], convolutions[-1]]
            quantize_static(
                path,
                path,
                _Inputs(inputs),
                per_channel=True,
                activation_type=QuantType.QUInt8 if precision == "int8" else QuantType.QInt16,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=floats,
            )
        return _held_integers(onnx.load(path))

    def open(self, network: nn.Module, setting: Setting) -> Opened:  # noqa: ARG002 - the graph holds it
        """A session with the protocol's number of threads."""
        import numpy as np
        import onnxruntime
        import torch

        if setting.graph is None:
            raise AssertionError("onnxruntime runs a graph")
        options = onnxruntime.SessionOptions()
        # With a given number, it does not pin threads: they inherit the CPUs of this process.
        options.intra_op_num_threads = setting.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        for name, value in ENTRIES.items():
            options.add_session_config_entry(name, value)
        path = str(setting.graph / GRAPH)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        asked = {
            "intra_op_num_threads": str(setting.threads),
            "inter_op_num_threads": "1",
            "execution_mode": "ORT_SEQUENTIAL",
            "graph_optimization_level": "ORT_ENABLE_ALL",
            "provider": "CPUExecutionProvider",
            **ENTRIES,
        }
        found = _options(session)
        require_set(self.name, asked, found)
        (source,), (target,) = session.get_inputs(), session.get_outputs()
        binding = session.io_binding()

        def run(pixels: torch.Tensor) -> torch.Tensor:
            channels, height, width = pixels.shape[1:]
            shape = (1, channels, height * setting.scale, width * setting.scale)
            output = torch.empty(shape, dtype=torch.float32)
            binding.bind_input(
                source.name, "cpu", 0, np.float32, tuple(pixels.shape), pixels.data_ptr()
            )
            binding.bind_output(target.name, "cpu", 0, np.float32, shape, output.data_ptr())
            session.run_with_iobinding(binding)
            return output

        return Opened(run, {"onnxruntime": onnxruntime.__version__}, {**found, "bound": "yes"})


def _options(session: Any) -> dict[str, str]:
    """The options of a session, as it reports them."""
    taken = session.get_session_options()
    return {
        "intra_op_num_threads": str(taken.intra_op_num_threads),
        "inter_op_num_threads": str(taken.inter_op_num_threads),
        "execution_mode": taken.execution_mode.name,
        "graph_optimization_level": taken.graph_optimization_level.name,
        "provider": session.get_providers()[0],
        **{name: taken.get_session_config_entry(name) for name in ENTRIES},
    }


def export(network: nn.Module, example: torch.Tensor, path: Path) -> Any:
    """Write a network as ONNX, float32, any height and width.

    Args:
        network: in eval mode, on the CPU.
        example: an input, (1, C, H, W).
        path: the file to write.

    Returns:
        The ``onnx.ModelProto`` that was written.

    Raises:
        UntranslatedError: ONNX lacks an operator.
        Exception: see ``traced``.
    """
    import onnx
    import torch

    program = traced(network, example)
    with naming_operators(program, "ONNX"):
        torch.onnx.export(
            program,
            (),
            str(path),
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=["lr"],
            output_names=["sr"],
        )
    model = onnx.load(str(path))
    for value in (*model.graph.input, *model.graph.output):
        sides = value.type.tensor_type.shape.dim[2:]
        if any(side.HasField("dim_value") for side in sides):
            raise MeasurementError(
                "its ONNX graph works for one image size only",
                advice="Take height and width from the input's shape in the network's code.",
            )
    return model


def held(model: Any) -> Held:
    """What an ONNX model holds."""
    import onnx

    operators = Counter(node.op_type for node in model.graph.node)
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE}
    sizes = (_size(each) for each in model.graph.initializer if each.data_type in floats)
    return Held(parameters=sum(sizes), operators=dict(operators.most_common()))


PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum"})
"""Operators that multiply their inputs by weights or by each other."""


class _Inputs:
    """Gives a quantiser one input after the other. The quantiser asks for no base class."""

    def __init__(self, inputs: Sequence[torch.Tensor]) -> None:
        self._left = iter(inputs)

    def get_next(self) -> dict[str, Any] | None:
        """The next input by its name, or None."""
        found = next(self._left, None)
        return None if found is None else {"lr": found.numpy()}


def _held_integers(model: Any) -> Held:
    """The content of an ONNX model of integers.

    Raises:
        MeasurementError: every product in it is one of floats.
    """
    nodes = model.graph.node
    integers = {
        name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output
    }
    products = Counter(node.op_type for node in nodes if node.op_type in PRODUCTS)
    floats = Counter(
        node.op_type
        for node in nodes
        if node.op_type in PRODUCTS and not integers.issuperset(node.input[:2])
    )
    require_integers(OnnxRuntime.title, floats, products)
    return replace(held(model), float_products=dict(floats.most_common()))


def _size(tensor: Any) -> int:
    size = 1
    for side in tensor.dims:
        size *= side
    return size


BACKEND = OnnxRuntime()
