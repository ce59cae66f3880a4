"""Backends run forwards. Every module in this folder is one backend.

A module has the name of its backend, with ``_`` for ``-``, and holds it as ``BACKEND``. It imports
its library only in a worker, where a network is built or opened, so listing backends needs no
torch. A worker may have no more than Python 3.8, torch 1.13 and numpy, so backends need no more.
"""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, Sequence

from esrbench.errors import EsrbenchError, MeasurementError, UsageError, did_you_mean
from esrbench.plaintext import series

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from esrbench.protocol import ForwardPolicy

OPERATOR = re.compile(r"(?:torch\.ops\.)?\b([a-z_]\w*\.[a-z_]\w*\.\w+)\b")
"""Torch's name of an operator's overload, such as ``aten.relu.default``."""


COMPILED = "compiled.zip"
"""File that holds what ``Backend.compiled`` gave."""
INSTALL_COMPILER = "Install g++ where workers find it, as in /usr/bin."


@dataclass(frozen=True)
class Setting:
    """Settings with which a network is opened.

    Attributes:
        device: where forwards run.
        threads: CPU threads of a forward.
        scale: upscaling factor.
        precision: of the policy, which networks and inputs have already.
        graph: folder of the files that ``Backend.build`` wrote, or of ``COMPILED``; None for none.
    """

    device: torch.device
    threads: int
    scale: int = 1
    precision: str = "fp32"
    graph: Path | None = None


@dataclass(frozen=True)
class Opened:
    """A network that is ready to run in a backend.

    Attributes:
        run: takes the network's input (1, C, H, W) in the policy's form, and gives its output
            (1, C, scale*H, scale*W) of a floating type.
        versions: versions of the libraries, other than PyTorch, that compute it, by name.
        options: options that were set, by name, as the library reports them.
    """

    run: Callable[[torch.Tensor], Any]
    versions: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Held:
    """The content of a backend's graph.

    Attributes:
        parameters: how many floating-point numbers it holds.
        operators: how often each operator occurs, by name.
        float_products: in a graph of integers, how many convolutions and matrix products still
            compute in floating point, by name of the operator.
    """

    parameters: int
    operators: dict[str, int]
    float_products: dict[str, int] = field(default_factory=dict)


class Backend:
    """One way to run a forward.

    Attributes:
        name: its name on the command line.
        title: its name in tables.
        devices: devices on which it runs.
        precisions: precisions in which it computes.
        channels_last: it can keep weights and input channels-last.
        since: oldest version of torch that has it.
        packages: modules that it needs in addition to torch.
        quantisers: modules that ``quantise`` needs in addition to these.
        extra: extra of esrbench that installs both.
        files: names of the files of the graph that it runs in place of the network's code; empty
            if it runs that code.
        processes: building or running it starts a compiler.
        form: format of these files, if other programs can use them; otherwise empty.
    """

    name: str
    title: str
    devices: tuple[str, ...] = ("cpu",)
    precisions: tuple[str, ...] = ("fp32",)
    channels_last = False
    since: tuple[int, int] = (1, 13)
    packages: tuple[str, ...] = ()
    quantisers: tuple[str, ...] = ()
    extra = ""
    files: tuple[str, ...] = ()
    processes = False
    form = ""

    def build(self, network: nn.Module, example: torch.Tensor, folder: Path) -> Held:
        """Write the graph of a network, in a worker.

        Args:
            network: in eval mode, on the CPU.
            example: an input, (1, C, H, W); other inputs may have another height and width.
            folder: receives ``files``.

        Raises:
            MeasurementError: names the part of the network that the backend cannot run.
        """
        raise NotImplementedError

    def quantise(
        self, folder: Path, inputs: Sequence[torch.Tensor], precision: str, *, fp32_ends: bool
    ) -> Held:
        """Replace the graph in a folder by one of integers, in a worker. Not every backend can.

        Args:
            folder: holds ``files``, as ``build`` wrote them.
            inputs: sample inputs, (1, C, H, W) each; they show the range of each activation.
            precision: ``int8`` or ``int8-w16``.
            fp32_ends: leave the first and the last convolution in float32.

        Raises:
            MeasurementError: see ``quantising`` and ``require_integers``.
        """
        raise NotImplementedError

    def compiled(self) -> bytes:
        """The output of the compiler in this process, as the content of ``COMPILED``.

        Another process of the same network that finds it in ``Setting.graph`` does not compile
        again. Empty for a backend that compiles nothing while it runs.
        """
        return b""

    def open(self, network: nn.Module, setting: Setting) -> Opened:
        """Make a network ready to run, in a worker.

        Args:
            network: in eval mode, on the device, in the policy's form.
            setting: device, threads and the other settings.

        Raises:
            MeasurementError: the library does not take these settings.
        """
        raise NotImplementedError

    def needs(self, precision: str) -> tuple[str, ...]:
        """Modules, in addition to torch, that building a graph of a precision needs."""
        return self.packages + (self.quantisers if precision.startswith("int") else ())

    def missing(self, torch: str, *, precision: str = "fp32") -> tuple[str, str] | None:
        """What it needs but an environment lacks, in words, and what to do; None for nothing.

        Args:
            torch: version of torch there; packages are looked for in this environment.
            precision: precision of a graph that is built there; a graph that exists already needs
                no quantiser.
        """
        if tuple(map(int, re.findall(r"\d+", torch)[:2])) < self.since:
            oldest = ".".join(map(str, self.since))
            needs = f"{self.name} needs torch {oldest} or newer, not {torch}"
            return needs, "Measure by another backend, or with a newer torch."
        absent = [name for name in self.needs(precision) if find_spec(name) is None]
        if not absent:
            return None
        install = f"Install them: pip install 'esrbench[{self.extra}]'."
        return f"{self.name} needs {series(absent)}", install

    def refuses(self, policy: ForwardPolicy, device: str) -> str | None:
        """The part of a policy that it does not support, in words, or None."""
        if device not in self.devices:
            return f"{self.name} does not run on {device}"
        if policy.precision not in self.precisions:
            return f"{self.name} computes in {' or '.join(self.precisions)}, not {policy.precision}"
        if policy.channels_last and not self.channels_last:
            return f"{self.name} chooses the layout in memory itself"
        return None


def backend_names() -> tuple[str, ...]:
    """Names of all backends; none is imported."""
    return tuple(module.name.replace("_", "-") for module in iter_modules(__path__))


def get_backend(name: str) -> Backend:
    """A backend by name.

    Raises:
        UsageError: unknown name; the message names the known ones.
    """
    known = backend_names()
    if name not in known:
        message = f"there is no backend {name!r}"
        raise UsageError(message, advice=f"{did_you_mean(name, known)}Known: {', '.join(known)}.")
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    backend: Backend = module.BACKEND
    return backend


def require_set(name: str, asked: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Raise an error if a library did not apply some options.

    Args:
        name: name of the backend.
        asked: wanted value of each option.
        found: value of each option as the library reports it.

    Raises:
        MeasurementError: options differ; each is named.
    """
    wrong = [
        f"{option} is {found.get(option, 'unknown')}, not {value}"
        for option, value in asked.items()
        if found.get(option) != value
    ]
    if wrong:
        raise MeasurementError(
            f"{name} did not apply all settings: {'; '.join(wrong)}",
            advice="Unset environment variables that configure it.",
        )


@contextmanager
def quantising(title: str) -> Iterator[None]:
    """Turn any failure of a library that quantises a graph into an error of one line.

    Args:
        title: title of the backend.

    Raises:
        MeasurementError: replaces any error in the block.
    """
    try:
        yield
    except Exception as error:
        first = next(filter(None, map(str.strip, str(error).splitlines())), "")
        raise MeasurementError(
            f"{title} cannot quantise it: {type(error).__name__}: {first}",
            advice="Measure it in fp32.",
        ) from error


def require_integers(title: str, floats: Mapping[str, int], products: Mapping[str, int]) -> None:
    """Raise an error if nothing in a graph was quantised.

    Args:
        title: title of the backend.
        floats: how many convolutions and matrix products are in floating point, by operator.
        products: how many there are in all, by operator.

    Raises:
        MeasurementError: all are in floating point.
    """
    if floats == products:
        listed = ", ".join(floats) or "it has none"
        raise MeasurementError(
            f"{title} quantises none of its convolutions and matrix products: {listed}",
            advice="Measure it in fp32.",
        )


class UntranslatedError(MeasurementError):
    """A backend cannot run a network because of one of its operators, or because of its code.

    Attributes:
        stack: the lines of code that caused it, as PyTorch reports them.
    """

    def __init__(self, message: str, *, stack: str, advice: str | None = None) -> None:
        advice = advice or "Replace that operator, or measure by another backend."
        super().__init__(message, advice=advice)
        self.stack = stack


def traced(network: nn.Module, example: torch.Tensor) -> Any:
    """The operators of a network for inputs of any height and width.

    Args:
        network: in eval mode, on the CPU.
        example: an input, (1, C, H, W), whose height and width differ.

    Returns:
        A ``torch.export.ExportedProgram``.

    Raises:
        MeasurementError: this version of torch cannot export.
        Exception: any error of the network's code or of torch, if the code depends on values or on
            one size.
    """
    import torch

    if not hasattr(torch, "export"):
        raise MeasurementError(
            f"torch {torch.__version__} exports no networks", advice="Use torch 2.4 or newer."
        )
    sizes = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    with torch.no_grad():
        return torch.export.export(network, (example,), dynamic_shapes=(sizes,), strict=False)


@contextmanager
def naming_operators(program: Any, into: str) -> Iterator[None]:
    """If a translation fails, name the operator that caused it, and the code that called it.

    Args:
        program: the result of ``traced``.
        into: the format that it is translated into, for the message.

    Raises:
        UntranslatedError: replaces any error in the block that is not esrbench's own.
    """
    try:
        yield
    except EsrbenchError:
        raise
    except Exception as error:
        said, cause = str(error), error.__cause__
        while cause is not None:
            said, cause = f"{said}\n{cause}", cause.__cause__
        # If several operators are named, those without a conversion rule come first.
        lacking = "\n".join(re.findall("No conversion rule found.*", said))
        named = OPERATOR.findall(f"{lacking}\n{said}")
        calls = _calls(program)
        operator = next((name for name in named if name in calls), None)
        if operator is None:
            first = next((line for line in str(error).splitlines() if line.strip()), "")
            message = f"{into} cannot be written: {type(error).__name__}: {first.strip()}"
            raise UntranslatedError(message, stack="") from error
        message = f"{into} has no operator for {operator}"
        raise UntranslatedError(message, stack=calls[operator]) from error


def _calls(program: Any) -> dict[str, str]:
    """The code that called each operator of a program, decomposed ones included."""
    graphs = [program.graph]
    with suppress(Exception):  # what cannot be decomposed has operators of its own
        graphs.insert(0, program.run_decompositions().graph)
    return {
        str(node.target): node.meta.get("stack_trace") or ""
        for graph in graphs
        for node in graph.nodes
    }
