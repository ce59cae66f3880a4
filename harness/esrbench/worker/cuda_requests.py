"""Requests for CUDA in an entry's code, redirected to the device of the run.

Many entries call ``.cuda()`` in their constructor or name ``"cuda"`` in their forward. While an
entry is built, a torch mode sees every call of torch. In a forward, a mode would slow down each
operator. So there, only functions that take a device are replaced, and only after a forward has
failed because it needs CUDA.

Workers of other environments run this file too: it needs Python 3.8, torch 1.13, and nothing else.
"""

from __future__ import annotations

import linecache
import re
import traceback
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode, resolve_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CUDA = re.compile(r"cuda(?::(\d+))?")
CUDA_TYPE = re.compile(r"torch\.cuda\.(\w+Tensor)")

FACTORIES = (
    *("arange", "as_tensor", "empty", "empty_like", "eye", "full", "full_like", "linspace"),
    *("logspace", "ones", "ones_like", "rand", "rand_like", "randint", "randint_like", "randn"),
    *("randn_like", "randperm", "tensor", "zeros", "zeros_like"),
)
"""Functions of ``torch`` that take a device."""
METHODS = ("cuda", "new_empty", "new_full", "new_ones", "new_tensor", "new_zeros", "to", "type")
"""Methods of tensors that take a device."""
WITHOUT_EFFECT = {
    "current_device": 0,
    "empty_cache": None,
    "ipc_collect": None,
    "reset_max_memory_allocated": None,
    "reset_peak_memory_stats": None,
    "set_device": None,
    "synchronize": None,
}
"""Functions of ``torch.cuda`` that have no effect on a CPU, and the values they return there."""

LACKS = {"cpu": re.compile(r"(?i)cuda|nvidia"), "cuda": re.compile(r"invalid device ordinal")}
"""Error text if a forward asked for a GPU that is missing, by kind of device."""
CUDA_MODULES = re.compile(
    r"(?i).*(cuda|cupy|triton).*|apex|causal_conv1d|flash_attn|mamba_ssm|natten|xformers"
)
"""Modules that need CUDA."""


class CudaRequests:
    """Redirects requests for CUDA in an entry's code to the device of the run.

    Args:
        device: device of the run.

    Attributes:
        made: names of functions that were called with CUDA, in the order of their first calls.
        forwards: classes of the entry's modules that ran while the entry was built.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.made: dict[str, None] = {}
        self.forwards: dict[str, None] = {}
        self._in_forwards = False

    @contextmanager
    def while_built(self) -> Iterator[None]:
        """Redirect all requests of the code that runs in this block."""
        with ExitStack() as undone:
            for holder, name, function in self._beside_functions():
                undone.callback(setattr, holder, name, getattr(holder, name))
                setattr(holder, name, function)
            undone.callback(register_module_forward_pre_hook(self._note_forward).remove)
            undone.enter_context(_Mode(self.call))
            yield

    def running(self, forward: Callable[[], Any]) -> Any:
        """Run a forward; if it needs a missing GPU, redirect its requests and run it again.

        Args:
            forward: called once or twice.

        Returns:
            The result of the forward. Its errors pass through.
        """
        try:
            return forward()
        except Exception as error:
            if self._in_forwards or not LACKS[self.device.type].search(str(error)):
                raise
        self._lead_forwards()
        return forward()

    def call(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call a function of torch; if it names another GPU, use the device of the run."""
        name = getattr(function, "__name__", "")
        if name == "cuda" and args and isinstance(args[0], torch.Tensor):
            asked = args[1] if len(args) > 1 else kwargs.get("device")
            if self._is_elsewhere("cuda" if asked is None else asked):
                self._note(function)
                return args[0].to(self.device)
        elif name == "to" and len(args) > 1 and self._is_elsewhere(args[1]):
            self._note(function)
            args = (args[0], self.device, *args[2:])
        elif name == "type" and len(args) > 1 and self.device.type != "cuda":
            match = CUDA_TYPE.search(str(args[1]))
            if match is not None:
                self._note(function)
                args = (args[0], f"torch.{match.group(1)}", *args[2:])
        if "device" in kwargs and self._is_elsewhere(kwargs["device"]):
            self._note(function)
            kwargs = dict(kwargs, device=self.device)
        return function(*args, **kwargs)

    def _is_elsewhere(self, device: object) -> bool:
        """Whether this names a GPU other than the device of the run."""
        if isinstance(device, bool) or not isinstance(device, (str, int, torch.device)):
            return False
        match = CUDA.fullmatch(f"cuda:{device}" if isinstance(device, int) else str(device))
        if match is None or self.device.type != "cuda":
            return match is not None
        return match.group(1) not in (None, str(self.device.index or 0))

    def _note(self, function: Callable[..., Any]) -> None:
        self.made[resolve_name(function) or f"torch.{function.__name__}"] = None

    def _note_forward(self, module: torch.nn.Module, _inputs: object) -> None:
        kind = type(module)
        if kind.__module__.partition(".")[0] != "torch":
            self.forwards[kind.__name__] = None

    def _beside_functions(self) -> Iterator[tuple[Any, str, Callable[..., Any]]]:
        """Functions that torch modes do not see, each as holder, name and replacement."""
        restore = torch.serialization.default_restore_location

        def restore_location(storage: Any, location: Any) -> Any:
            if self._is_elsewhere(location):
                self.made["torch.load"] = None
                location = str(self.device)
            return restore(storage, location)  # type: ignore[no-untyped-call]

        yield torch.serialization, "default_restore_location", restore_location
        if self.device.type != "cuda":
            for name, value in WITHOUT_EFFECT.items():
                yield torch.cuda, name, partial(self._without_effect, f"torch.cuda.{name}", value)

    def _without_effect(self, name: str, value: object, *_args: Any, **_kwargs: Any) -> object:
        self.made[name] = None
        return value

    def _lead_forwards(self) -> None:
        """Redirect requests of forwards from now on."""
        self._in_forwards = True
        resolve_name(
            torch.zeros
        )  # make its table now, because the first call is slow and would be timed
        for holder, name, function in self._beside_functions():
            setattr(holder, name, function)
        for holder, names in ((torch, FACTORIES), (torch.Tensor, METHODS)):
            for name in names:
                setattr(holder, name, self._led(getattr(holder, name)))

    def _led(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def led(*args: Any, **kwargs: Any) -> Any:
            return self.call(function, args, kwargs)

        return led


class _Mode(TorchFunctionMode):
    """Passes every call of torch to a function."""

    def __init__(self, call: Callable[..., Any]) -> None:
        super().__init__()
        self.call = call

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.call(func, args, kwargs or {})


def needs_cuda(error: BaseException) -> str | None:
    """The name of the part of an entry's code that needs CUDA; None if CUDA is not the cause.

    Args:
        error: the error that this code raised.
    """
    module = getattr(error, "name", None) if isinstance(error, ImportError) else None
    if module and CUDA_MODULES.fullmatch(module):
        return str(module)
    text = str(error)
    stand_in = re.search(r"dummy base class _?(?:Cuda)?(\w+?)(?:Base)?$", text)
    if stand_in is not None:
        return f"torch.cuda.{stand_in.group(1)}"
    if not re.search(r"(?i)cuda|nvcc|nvidia|triton", text):
        return None
    steps = list(traceback.walk_tb(error.__traceback__))
    while steps and steps[-1][0].f_code.co_name == "_lazy_init":
        steps.pop()
    if not steps:
        return "its code"
    frame, number = steps[-1]
    name, file = frame.f_code.co_name, frame.f_code.co_filename
    if re.search(r"torch[\\/]cuda", file):
        made = frame.f_locals.get("cls")  # the class, if its `__new__` failed
        called = frame.f_globals["__name__"] if name.startswith("__") else f"torch.cuda.{name}"
        return f"torch.cuda.{made.__name__}" if isinstance(made, type) else str(called)
    line = linecache.getline(file, number).strip()
    return f"`{line}`" if line else name
