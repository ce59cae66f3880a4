"""OpenVINO on the CPU. It runs a graph that is converted from what torch exports."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Iterable, Sequence

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

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from esrbench.backends import Setting

GRAPH = "network.xml"
FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}
"""Data type of all that is not quantised."""
CONVOLUTIONS = {"Convolution": "Convolution", "GroupConvolution": "Convolution"}
PRODUCTS = {
    **CONVOLUTIONS,
    "ConvolutionBackpropData": "ConvolutionBackpropData",
    "GroupConvolutionBackpropData": "ConvolutionBackpropData",
    "MatMul": "MatMul",
}
"""Operators that multiply their inputs by weights or by each other; values are names without
groups."""
NEAR_DB = 50.0
"""Sufficient PSNR of quantised SR against float32 SR. A network of 30 dB loses 0.04 dB then, if
both errors are independent."""
MOST_COMPARED = 4
"""Number of inputs, spread evenly over all, whose SR is compared. Each group of operators needs one
forward of each."""


class OpenVino(Backend):
    """OpenVINO's CPU plugin in float32. By default it would use bfloat16 where the CPU can."""

    name = "openvino"
    title = "OpenVINO"
    packages = ("openvino",)
    quantisers = ("nncf",)
    precisions = ("fp32", "int8")
    extra = "openvino"
    files = (GRAPH, "network.bin")
    form = "openvino"

    def build(self, network: nn.Module, example: torch.Tensor, folder: Path) -> Held:
        """Write OpenVINO's two files, weights in float32.

        Raises:
            UntranslatedError: OpenVINO lacks an operator.
            Exception: see ``traced``.
        """
        import openvino

        program = traced(network, example)
        with naming_operators(program, "OpenVINO"):
            model = openvino.convert_model(program)
        openvino.save_model(model, folder / GRAPH, compress_to_fp16=False)
        return held(model)

    def quantise(
        self,
        folder: Path,
        inputs: Sequence[torch.Tensor],
        precision: str,  # noqa: ARG002 - always int8
        *,
        fp32_ends: bool,
    ) -> Held:
        """Quantise by NNCF with accuracy control, in 8 bits.

        Groups of operators go back to float32, those that lower PSNR most first, until the PSNR of
        SR against float32 SR is ``NEAR_DB``.
        """
        import nncf
        import openvino

        core = openvino.Core()
        core.set_property({"ENABLE_MMAP": False})  # the files are written over
        model = core.read_model(folder / GRAPH)
        ordered = [node for node in model.get_ordered_ops() if node.get_type_name() in CONVOLUTIONS]
        ends = [*ordered[:1], *ordered[-1:]] if fp32_ends else []
        images = [each.numpy() for each in inputs]
        with quantising(self.title):
            model = nncf.quantize_with_accuracy_control(
                model,
                nncf.Dataset(images),
                nncf.Dataset(_with_sr(core.compile_model(model, "CPU", FLOAT32), images)),
                _psnr,
                max_drop=0.0,
                target_device=nncf.TargetDevice.CPU,
                subset_size=len(images),
                ignored_scope=nncf.IgnoredScope(names=[node.get_friendly_name() for node in ends]),
                advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
                    num_ranking_workers=1
                ),
            )
        products = [node for node in model.get_ops() if node.get_type_name() in PRODUCTS]
        kinds, floats = (
            Counter(PRODUCTS[node.get_type_name()] for node in nodes)
            for nodes in (products, filter(_multiplies_floats, products))
        )
        require_integers(self.title, floats, kinds)
        openvino.save_model(model, folder / GRAPH, compress_to_fp16=False)
        return replace(held(model), float_products=dict(floats.most_common()))

    def open(self, network: nn.Module, setting: Setting) -> Opened:  # noqa: ARG002 - the graph holds it
        """An inference request with the protocol's number of threads."""
        import openvino
        import torch

        if setting.graph is None:
            raise AssertionError("openvino runs a graph")
        asked = {
            **FLOAT32,
            "INFERENCE_NUM_THREADS": setting.threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
            "CPU_DENORMALS_OPTIMIZATION": False,
        }
        core = openvino.Core()
        compiled = core.compile_model(setting.graph / GRAPH, "CPU", asked)
        found = {name: _text(compiled.get_property(name)) for name in asked}
        require_set(self.name, {name: _text(value) for name, value in asked.items()}, found)
        request = compiled.create_infer_request()

        def run(pixels: torch.Tensor) -> torch.Tensor:
            channels, height, width = pixels.shape[1:]
            shape = (1, channels, height * setting.scale, width * setting.scale)
            output = torch.empty(shape, dtype=torch.float32)
            request.set_input_tensor(openvino.Tensor(pixels.numpy(), shared_memory=True))
            request.set_output_tensor(openvino.Tensor(output.numpy(), shared_memory=True))
            request.infer()
            return output

        return Opened(run, {"openvino": openvino.__version__}, found)


def held(model: Any) -> Held:
    """What an OpenVINO model holds."""
    nodes = model.get_ops()
    kinds = Counter(node.get_type_name() for node in nodes)
    sizes = (
        node.get_element_type().is_real() * node.data.size
        for node in nodes
        if node.get_type_name() == "Constant"
    )
    parameters = int(sum(sizes))
    for plumbing in ("Constant", "Parameter", "Result"):
        kinds.pop(plumbing, None)
    return Held(parameters=parameters, operators=dict(kinds.most_common()))


def _multiplies_floats(product: Any) -> bool:
    """Whether the second factor of a product (its weights, if it has any) is not quantised."""
    node = product.input_value(1).get_node()
    while node.get_type_name() in {"Convert", "Multiply", "Reshape", "Subtract", "Transpose"}:
        node = node.input_value(0).get_node()
    if node.get_type_name() == "Constant":
        return bool(node.get_element_type().is_real())
    return bool(node.get_type_name() != "FakeQuantize")


def _with_sr(exact: Any, images: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Some of the inputs, each with its SR in float32, both (1, C, H, W)."""
    chosen = images[:: -(-len(images) // MOST_COMPARED)]
    return [(each, exact(each)[0]) for each in chosen]


def _psnr(compiled: Any, pairs: Iterable[tuple[Any, Any]]) -> tuple[float, None]:
    """PSNR in dB of a model's SR against float32 SR, at most ``NEAR_DB``, in the form for NNCF.

    The peak is the greatest value of the float32 SR, because data ranges differ.
    """
    import numpy as np

    compared = [(compiled(lr)[0], sr) for lr, sr in pairs]
    peak = max(np.abs(sr).max() for _, sr in compared)
    error = np.mean([np.square(found - sr).mean() for found, sr in compared])
    return min(NEAR_DB, 10 * np.log10(peak**2 / error)) if error else NEAR_DB, None


def _text(value: object) -> str:
    """A property's value: enumerations and types print their name in several ways."""
    names = {"<Type: 'float32'>": "f32", "float": "f32"}
    return names.get(str(value), str(value))


BACKEND = OpenVino()
