"""OpenVINO on the CPU, of a graph that is converted from what torch exports."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from esrbench.backends import Backend, Held, Opened, naming_operators, require_set, traced

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from esrbench.backends import Setting

GRAPH = "network.xml"


class OpenVino(Backend):
    """OpenVINO's CPU plugin in float32, which it leaves by itself for bfloat16 where it can."""

    name = "openvino"
    title = "OpenVINO"
    packages = ("openvino",)
    extra = "openvino"
    files = (GRAPH, "network.bin")
    form = "openvino"

    def build(self, network: nn.Module, example: torch.Tensor, folder: Path) -> Held:
        """Write OpenVINO's two files, weights in float32.

        Raises:
            UntranslatedError: OpenVINO lacks an operator.
            Exception: as of ``traced``.
        """
        import openvino

        program = traced(network, example)
        with naming_operators(program, "OpenVINO"):
            model = openvino.convert_model(program)
        openvino.save_model(model, folder / GRAPH, compress_to_fp16=False)
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

    def open(self, network: nn.Module, setting: Setting) -> Opened:  # noqa: ARG002 - the graph holds it
        """A request of as many threads as the protocol has."""
        import openvino
        import torch

        if setting.graph is None:
            raise AssertionError("openvino runs a graph")
        asked = {
            "INFERENCE_PRECISION_HINT": "f32",
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


def _text(value: object) -> str:
    """A property's value: enumerations and types print their name in several ways."""
    names = {"<Type: 'float32'>": "f32", "float": "f32"}
    return names.get(str(value), str(value))


BACKEND = OpenVino()
