"""One network by each backend that is installed: its SR against eager torch's, and its runtime."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from esrbench.environment import package_version
from esrbench.protocol import ForwardPolicy
from gpu_steps.day import reason
from gpu_steps.networks import WARM_UP, open_network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gpu_steps.day import Day, Found
    from gpu_steps.networks import OpenedNetwork

    Forward = Callable[[np.ndarray], np.ndarray]

NETWORK = "rfdn"
SIDE = 256
ROUNDS = 30


def onnxruntime(opened: OpenedNetwork, example: torch.Tensor, folder: Path) -> tuple[str, Forward]:
    """ONNX Runtime on the first provider it has for the device."""
    import onnxruntime as ort

    wanted = ["CUDAExecutionProvider"] if example.is_cuda else []
    providers = [name for name in wanted if name in ort.get_available_providers()]
    path = folder / f"{NETWORK}.onnx"
    torch.onnx.export(opened.network, (example,), str(path), dynamo=True, verbose=False)
    options = ort.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(path), options, [*providers, "CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return session.get_providers()[0], lambda pixels: session.run(None, {name: pixels})[0]


def openvino(opened: OpenedNetwork, example: torch.Tensor, _folder: Path) -> tuple[str, Forward]:
    """OpenVINO on the CPU in float32."""
    import openvino as ov

    model = ov.convert_model(opened.network.cpu(), example_input=example.cpu())
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return "CPU", lambda pixels: compiled([pixels])[0]


def aot_inductor(opened: OpenedNetwork, example: torch.Tensor, folder: Path) -> tuple[str, Forward]:
    """torch.export, compiled ahead of time."""
    from torch._inductor import aoti_compile_and_package, aoti_load_package

    program = torch.export.export(opened.network, (example,))
    path = aoti_compile_and_package(program, package_path=str(folder / f"{NETWORK}.pt2"))
    loaded = aoti_load_package(path)

    def forward(pixels: np.ndarray) -> np.ndarray:
        sr: torch.Tensor = loaded(torch.from_numpy(pixels).to(example.device))
        return sr.cpu().numpy()

    return str(example.device), forward


def eager(opened: OpenedNetwork, example: torch.Tensor, _folder: Path) -> tuple[str, Forward]:
    """What the others are compared with."""

    def forward(pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            sr: torch.Tensor = opened.network(torch.from_numpy(pixels).to(example.device))
            return sr.cpu().numpy()

    return str(example.device), forward


BACKENDS: dict[str, tuple[str, Callable[[OpenedNetwork, torch.Tensor, Path], tuple[str, Forward]]]]
BACKENDS = {
    "torch": ("torch", eager),
    "onnxruntime": ("onnxruntime", onnxruntime),
    "openvino": ("openvino", openvino),
    "aot-inductor": ("torch", aot_inductor),
}
"""The package that a backend needs, and what prepares it. All take and give arrays on the host."""
NOT_TRIED = ("tensorrt", "torch_tensorrt")
COLUMNS = ("version", "runs_on", "prepared_s", "median_ms", "largest_difference", "absent")


def measure(day: Day) -> Iterator[Found]:
    """A row a backend; times hold the copies to and from the host."""
    empty = dict.fromkeys(COLUMNS)
    side, rounds = (24, 3) if day.tiny else (SIDE, ROUNDS)
    pixels = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    expected: np.ndarray | None = None
    for name, (package, prepare) in BACKENDS.items():
        row: dict[str, object] = {"backend": name} | empty | {"version": package_version(package)}
        if find_spec(package) is None or (day.tiny and name != "torch"):
            yield "backends", row | {"absent": "not installed" if not day.tiny else "not tried"}
            continue
        if not day.left():
            return
        try:
            opened = open_network(day, NETWORK, day.device, ForwardPolicy())
            example = torch.from_numpy(pixels).to(opened.device.device)
            start = time.monotonic()
            where, forward = prepare(opened, example, day.out)
            sr = forward(pixels)
            row |= {"runs_on": where, "prepared_s": time.monotonic() - start}
            expected = sr if expected is None else expected
            row |= {"largest_difference": float(np.abs(sr - expected).max())}
            row |= {"median_ms": _median_ms(forward, pixels, rounds), "absent": ""}
        except Exception as error:  # noqa: BLE001 - a backend that fails is a finding
            row |= {"absent": reason(error)}
        yield "backends", row
    for name in NOT_TRIED:
        said = "installed, but not tried" if find_spec(name) else "not installed"
        yield "backends", {"backend": name} | empty | {"absent": said}


def _median_ms(forward: Forward, pixels: Any, rounds: int) -> float:
    times = []
    for _ in range(WARM_UP + rounds):
        start = time.perf_counter()
        forward(pixels)
        times.append(time.perf_counter() - start)
    return float(np.median(times[WARM_UP:])) * 1e3
