"""TensorRT on an NVIDIA GPU. It runs the same graph as ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esrbench.backends import Backend, Held, Opened, UntranslatedError, require_set
from esrbench.backends.onnxruntime import GRAPH, export, held
from esrbench.errors import MeasurementError

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from esrbench.backends import Setting

SIDES = (8, 256, 1024)
"""Sides of an input in pixels: the smallest, the one that kernels are chosen for, the largest."""


class TensorRt(Backend):
    """An engine for all sizes, built for the GPU where it is opened; tensors stay on the GPU."""

    name = "tensorrt"
    title = "TensorRT"
    devices = ("cuda",)
    precisions = ("fp32", "tf32")
    packages = ("tensorrt", "onnx", "onnxscript")
    extra = "tensorrt"
    files = (GRAPH,)

    def build(self, network: nn.Module, example: torch.Tensor, folder: Path) -> Held:
        """Write an ONNX file that holds the weights; for errors see ``onnxruntime.export``."""
        return held(export(network, example, folder / GRAPH))

    def open(self, network: nn.Module, setting: Setting) -> Opened:  # noqa: ARG002 - the graph holds it
        """An engine and its context, with a stream of its own.

        Raises:
            UntranslatedError: TensorRT lacks an operator.
            MeasurementError: no engine can be built; and from a forward, a size that the engine
                was not built for.
        """
        import tensorrt
        import torch

        if setting.graph is None:
            raise AssertionError("tensorrt runs a graph")
        logger = tensorrt.Logger(tensorrt.Logger.WARNING)
        engine, found = _engine(logger, setting.graph / GRAPH, setting)
        context = engine.create_execution_context()
        # On the default stream, TensorRT waits for the device.
        stream = torch.cuda.Stream(setting.device)  # type: ignore[no-untyped-call]

        def run(pixels: torch.Tensor) -> torch.Tensor:
            given = pixels.contiguous()
            channels, height, width = given.shape[1:]
            shape = (1, channels, height * setting.scale, width * setting.scale)
            output = torch.empty(shape, dtype=torch.float32, device=given.device)
            around = torch.cuda.current_stream(given.device)
            stream.wait_stream(around)
            ran = (
                context.set_input_shape("lr", tuple(given.shape))
                and context.set_tensor_address("lr", given.data_ptr())
                and context.set_tensor_address("sr", output.data_ptr())
                and context.execute_async_v3(stream.cuda_stream)
            )
            around.wait_stream(stream)
            if not ran:
                raise MeasurementError(
                    f"TensorRT did not run an input of {width}x{height} pixels; its engine takes "
                    f"{SIDES[0]} to {SIDES[-1]} a side",
                    advice="Measure smaller images, or by another backend.",
                )
            return output

        return Opened(run, {"tensorrt": tensorrt.__version__}, {**found, "bound": "yes"})


def _engine(logger: Any, graph: Path, setting: Setting) -> tuple[Any, dict[str, str]]:
    """The engine of an ONNX file, and the options as its builder reports them."""
    import tensorrt

    builder = tensorrt.Builder(logger)
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(graph.read_bytes()):
        said = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))
        raise UntranslatedError(f"TensorRT cannot read its ONNX graph: {said}", stack="")
    config = builder.create_builder_config()
    config.builder_optimization_level = 3
    flag = tensorrt.BuilderFlag.TF32  # set by default
    (config.set_flag if setting.precision == "tf32" else config.clear_flag)(flag)
    profile = builder.create_optimization_profile()
    channels = network.get_input(0).shape[1]
    profile.set_shape("lr", *((1, channels, side, side) for side in SIDES))
    config.add_optimization_profile(profile)
    asked = {"TF32": str(setting.precision == "tf32"), "builder_optimization_level": "3"}
    found = {
        "TF32": str(config.get_flag(flag)),
        "builder_optimization_level": str(config.builder_optimization_level),
    }
    require_set(TensorRt.name, asked, found)
    plan = builder.build_serialized_network(network, config)
    engine = None if plan is None else tensorrt.Runtime(logger).deserialize_cuda_engine(plan)
    if engine is None:
        raise MeasurementError(
            "TensorRT built no engine of its ONNX graph; the worker's log says why",
            advice="Measure it by another backend.",
        )
    return engine, {**found, "sides": "-".join(map(str, SIDES))}


BACKEND = TensorRt()
