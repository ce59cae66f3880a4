"""The arithmetic of every forward: set before the first, verified after each.

PyTorch has two interfaces for the precision of float32 operators: ``allow_tf32`` and related
flags, and ``fp32_precision`` since 2.9. If they contradict each other, reading the older one
raises an error. Both are set here, the older first, so a network's code reads consistent values.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from esrbench.devices import DEVICES, traits_of
from esrbench.errors import MeasurementError
from esrbench.torch_versions import autocast, has_flag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from torch import nn

    from esrbench.protocol import ForwardPolicy


DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "int8": torch.float32,
    "int8-w16": torch.float32,
}
"""Type of weights and input under each precision; integers are only in a backend's graph."""

FLOAT32_BYTES = 4
DENORMAL = 1e-40
"""A denormal: smaller than 1.2e-38, the smallest normal float32."""
PARALLEL_ELEMENTS = 2**15
"""Elements of an elementwise operator, for each thread that takes part."""


def _flags(precision: str, *, cudnn_benchmark: bool) -> dict[str, object]:
    """Values of the flags that are attributes, by name, in the order in which they are set.

    Flags that this version of PyTorch lacks are left out.
    """
    tf32 = precision == "tf32"
    on_gpu, on_cpu = "tf32" if tf32 else "ieee", "ieee"
    flags = {
        "torch.backends.fp32_precision": "none",
        "torch.backends.cudnn.fp32_precision": "none",
        "torch.backends.cudnn.allow_tf32": tf32,
        "torch.backends.cuda.matmul.allow_tf32": tf32,
        # Operators have their own precision flags, on CUDA and on CPU (oneDNN).
        "torch.backends.cudnn.conv.fp32_precision": on_gpu,
        "torch.backends.cudnn.rnn.fp32_precision": on_gpu,
        "torch.backends.cuda.matmul.fp32_precision": on_gpu,
        "torch.backends.mkldnn.conv.fp32_precision": on_cpu,
        "torch.backends.mkldnn.matmul.fp32_precision": on_cpu,
        "torch.backends.mkldnn.rnn.fp32_precision": on_cpu,
        "torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction": True,
        "torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction": True,
        "torch.backends.cuda.matmul.allow_fp16_accumulation": False,
        "torch.backends.cudnn.benchmark": cudnn_benchmark,
        "torch.backends.cudnn.deterministic": False,
        "torch.backends.cudnn.enabled": True,
        "torch.backends.mkldnn.deterministic": False,
        "torch.backends.mkldnn.enabled": True,
    }
    return {name: value for name, value in flags.items() if has_flag(name)}


def _place(name: str) -> tuple[Any, str]:
    """The object that holds a flag, and the flag's name there."""
    holder, _, attribute = name[len("torch.") :].rpartition(".")
    return attrgetter(holder)(torch), attribute


class PrecisionError(MeasurementError):
    """A network's code changed a setting that the protocol fixes."""


def apply_policy(policy: ForwardPolicy, device: torch.device) -> None:
    """Set the arithmetic of this process.

    float32 operators run in float32 (TF32 for ``tf32``). On CPU they run without oneDNN's bfloat16
    and TF32 shortcuts. Matrix products of fp16 and bf16 accumulate as PyTorch does by default.
    Deterministic algorithms that cost time are off, autocast is off, and denormals are kept.

    Args:
        policy: what is wanted.
        device: where forwards run.

    Raises:
        MeasurementError: an environment variable overrides it, or this torch does not support it.
    """
    _require_in_force(device)
    _require_kernels(policy, device)
    set_flags(policy)


def set_flags(policy: ForwardPolicy) -> None:
    """Set every flag of this process that ``PolicyGuard`` checks, except threads and CPUs."""
    flags = _flags(policy.precision, cudnn_benchmark=policy.cudnn_benchmark)
    for name, value in flags.items():
        setattr(*_place(name), value)
    if torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(mode=False)
    for kind in DEVICES:
        autocast(kind)[1](False)
    torch.set_default_dtype(torch.float32)
    torch.set_flush_denormal(False)


def adapt_network(network: nn.Module, policy: ForwardPolicy) -> nn.Module:
    """Convert a network to the policy's precision and layout.

    Args:
        network: network in eval mode, with its weights; it is changed in place.
        policy: what is wanted.

    Returns:
        The network with floating weights and buffers of ``DTYPES``, channels-last if asked for.

    Raises:
        MeasurementError: ``fp32`` or ``tf32`` with weights of lower precision.
    """
    dtype = DTYPES[policy.precision]
    if dtype == torch.float32:
        for name, tensor in _tensors(network):
            if tensor.is_floating_point() and tensor.element_size() < FLOAT32_BYTES:
                raise MeasurementError(
                    f"{name} is {tensor.dtype} in a network that runs as {policy.precision}",
                    advice="Keep the weights in float32, or measure it as fp16 or bf16.",
                )
    else:
        network = network.to(dtype=dtype)
    if policy.channels_last:
        # nn.Module.to has no overload for it in PyTorch's own types.
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def adapt_input(tensor: torch.Tensor, policy: ForwardPolicy) -> torch.Tensor:
    """Convert an input to the policy's precision and layout.

    Args:
        tensor: float32 (1, C, H, W).
        policy: what is wanted.

    Returns:
        The same values as ``DTYPES``, channels-last if asked for. If the tensor already has this
        form, the tensor itself.
    """
    layout = torch.channels_last if policy.channels_last else torch.preserve_format
    return tensor.to(dtype=DTYPES[policy.precision], memory_format=layout)


def counted_form(policy: ForwardPolicy, tensor: torch.Tensor) -> torch.Tensor:
    """Copy a parameter or buffer of an adapted network for counting: float32, plain, on the CPU.

    Args:
        policy: to which ``adapt_network`` brought the network.
        tensor: of that network.
    """
    plain = tensor.detach().to("cpu", copy=True)
    if plain.is_floating_point() and DTYPES[policy.precision] != torch.float32:
        plain = plain.to(torch.float32)
    return plain.contiguous() if policy.channels_last else plain


class _CastAsCounted(TorchFunctionMode):
    """Turns casts to a type of lower precision into casts to float32."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.casts = {torch.float16: torch.Tensor.half, torch.bfloat16: torch.Tensor.bfloat16}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is self.casts[self.dtype]:
            func = torch.Tensor.float
        given = [torch.float32 if each is self.dtype else each for each in args]
        named = {
            name: torch.float32 if each is self.dtype else each
            for name, each in (kwargs or {}).items()
        }
        return func(*given, **named)


def cast_as_counted(policy: ForwardPolicy) -> AbstractContextManager[Any]:
    """Run a copy in ``counted_form`` even if its code casts to the type of its class.

    A half-precision network may call ``x.half()`` in its forward. Its float32 copy would then
    multiply two types.

    Args:
        policy: policy of the network.
    """
    dtype = DTYPES[policy.precision]
    return nullcontext() if dtype == torch.float32 else _CastAsCounted(dtype)


class PolicyGuard:
    """Remembers the settings of arithmetic, and finds changes by a network's code.

    It is made after the network is loaded, and first sets all flags again. So changes made by
    importing and building the network are undone, and changes by its forwards are errors. A forward
    may change a flag and set it back. This is not noticed here, but the operator-level audit names
    the types of the products.

    Args:
        network: network from ``adapt_network``.
        policy: policy that ``apply_policy`` has set.

    Raises:
        PrecisionError: denormals are flushed in threads in which that cannot be undone.
    """

    def __init__(self, network: nn.Module, policy: ForwardPolicy) -> None:
        set_flags(policy)
        if not _keeps_denormals():
            raise PrecisionError(
                "the network's code started threads that flush denormals to zero",
                advice="Remove torch.set_flush_denormal from its code: the protocol keeps them.",
            )
        self.network = network
        self.flags = {**_read_flags(), **FORWARD_MODES}
        self.dtypes = [tensor.dtype for _, tensor in _tensors(network)]

    def verify(self) -> None:
        """Check everything, in about 0.2 ms for 130 weights. Call it in ``inference_mode``.

        Raises:
            PrecisionError: a flag or the type of a weight has changed; all changes are named.
        """
        found = _read_flags()
        dtypes = [
            tensor.dtype
            for module in self.network.modules()
            for group in (module._parameters, module._buffers)  # noqa: SLF001 - half the time of buffers()
            for tensor in group.values()
            if tensor is not None
        ]
        if found == self.flags and dtypes == self.dtypes:
            return
        changes = [
            f"{name} from {self.flags[name]} to {value}"
            for name, value in found.items()
            if value != self.flags[name]
        ]
        if dtypes != self.dtypes:
            changes.append(self._changed_weights())
        raise PrecisionError(
            f"the network's forward changed {'; '.join(changes)}",
            advice="Remove that from its code: the protocol fixes arithmetic and threads.",
        )

    def _changed_weights(self) -> str:
        now = [(name, tensor.dtype) for name, tensor in _tensors(self.network)]
        if len(now) != len(self.dtypes):
            return f"its number of weights from {len(self.dtypes)} to {len(now)}"
        return ", ".join(
            f"{name} from {before} to {dtype}"
            for before, (name, dtype) in zip(self.dtypes, now)
            if dtype != before
        )


FORWARD_MODES: dict[str, object] = {
    "torch.is_grad_enabled": False,
    "torch.is_inference_mode_enabled": True,
}
"""Values in every forward; they may differ when the guard is made."""


def _tensors(network: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Weights and buffers by name, module by module."""
    for prefix, module in network.named_modules():
        for group in (module._parameters, module._buffers):  # noqa: SLF001 - shared ones too
            for name, tensor in group.items():
                if tensor is not None:
                    yield f"{prefix}.{name}".lstrip("."), tensor


def _affinity() -> tuple[int, ...] | None:
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else None


def start_pool() -> None:
    """Start the threads of PyTorch's pool, confined as this one is, before a network can.

    A thread inherits the treatment of denormals from the thread that starts it. This cannot be
    changed later.
    """
    _keeps_denormals()


def _keeps_denormals() -> bool:
    """Whether a product of denormals is kept in every thread of PyTorch's pool.

    PyTorch can only set this, not read it, and each thread has its own register.
    """
    elements = PARALLEL_ELEMENTS * torch.get_num_threads()
    return bool(torch.all(torch.full((elements,), DENORMAL, dtype=torch.float32) * 1.0))


READERS: dict[str, Callable[[], object]] = {
    **{name: partial(getattr, *_place(name)) for name in _flags("fp32", cudnn_benchmark=False)},
    "torch.float32_matmul_precision": torch.get_float32_matmul_precision,
    "torch.are_deterministic_algorithms_enabled": torch.are_deterministic_algorithms_enabled,
    **{f"torch.is_autocast_enabled('{kind}')": autocast(kind)[0] for kind in DEVICES},
    "torch.get_default_dtype": torch.get_default_dtype,
    "torch.get_num_threads": torch.get_num_threads,
    "os.sched_getaffinity": _affinity,
    "denormals kept": _keeps_denormals,
    "torch.is_grad_enabled": torch.is_grad_enabled,
    "torch.is_inference_mode_enabled": torch.is_inference_mode_enabled,
}
"""The settings that are checked, by the name under which each is set or read."""


def _read_flags() -> dict[str, object]:
    found: dict[str, object] = {}
    for name, read in READERS.items():
        try:
            found[name] = read()
        except RuntimeError:  # noqa: PERF203 - Python 3.11 tries at no cost
            found[name] = "contradicting values"
    return found


def _require_kernels(policy: ForwardPolicy, device: torch.device) -> None:
    """Raise if torch has no convolution of this type, as 1.13 has none in fp16 on the CPU."""
    if device.type != "cpu":
        return
    tiny = torch.zeros(1, 1, 1, 1, dtype=DTYPES[policy.precision])
    try:
        torch.conv2d(tiny, tiny)
    except RuntimeError:
        message = f"torch {torch.__version__} has no convolution in {policy.precision} on the CPU"
        advice = "Run it with --precision fp32, or in an environment with a newer torch."
        raise MeasurementError(message, advice=advice) from None


def _require_in_force(device: torch.device) -> None:
    """Raise if an environment variable would override what is set here."""
    for variable, harmless in traits_of(device).overrides.items():
        value = os.environ.get(variable)
        if value is not None and value.upper() not in harmless:
            raise MeasurementError(
                f"the environment's {variable}={value} overrides what the protocol sets",
                advice=f"Unset {variable}.",
            )
