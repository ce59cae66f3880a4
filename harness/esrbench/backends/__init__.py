"""What runs a forward, one module each: a module that stands here is a backend.

A module is named as its backend, with ``_`` for ``-``, and holds it as ``BACKEND``. Its library is
imported only where a network is built or opened, in a worker: knowing a backend takes no torch.
A worker may be Python 3.8 with torch 1.13 and numpy, so backends need no more.
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
"""As torch names an overload of an operator: ``aten.relu.default``."""


COMPILED = "compiled.zip"
"""File that holds what ``Backend.compiled`` gave."""
INSTALL_COMPILER = "Install g++ where workers find it, as in /usr/bin."


@dataclass(frozen=True)
class Setting:
    """For what a network is opened.

    Attributes:
        device: where forwards run.
        threads: CPU threads of a forward.
        scale: pixels of the output's side for one of the input's.
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
    """A network as a backend runs it.

    Attributes:
        run: takes the network's input (1, C, H, W) in the policy's form, and gives its output
            (1, C, scale*H, scale*W) of a floating type.
        versions: of the libraries beside PyTorch that compute it, by name.
        options: that were set, by name, as the library gives them back.
    """

    run: Callable[[torch.Tensor], Any]
    versions: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Held:
    """The content of a backend's graph.

    Attributes:
        parameters: numbers of floating type in it.
        operators: how often each occurs, by name.
        float_products: convolutions and matrix products in it that compute in floating type though
            the graph is of integers, by name of the operator.
    """

    parameters: int
    operators: dict[str, int]
    float_products: dict[str, int] = field(default_factory=dict)


class Backend:
    """One way to run a forward.

    Attributes:
        name: by which it is chosen.
        title: its name in tables.
        devices: on which it runs.
        precisions: in which it computes.
        channels_last: it can keep weights and input channels-last.
        since: oldest version of torch that has it.
        packages: modules that it needs beside torch.
        quantisers: modules that ``quantise`` needs beside these.
        extra: of esrbench that installs both.
        files: of the graph that it runs in place of the network's code, by name in their folder;
            none where it runs that code.
        processes: building or running it starts a compiler.
        form: of these files, where others can use them; empty for none.
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
            example: an input, (1, C, H, W); height and width of others may differ.
            folder: receives ``files``.

        Raises:
            MeasurementError: what of the network it cannot take.
        """
        raise NotImplementedError

    def quantise(
        self, folder: Path, inputs: Sequence[torch.Tensor], precision: str, *, fp32_ends: bool
    ) -> Held:
        """Replace the graph in a folder by one of integers, in a worker; a backend may have none.

        Args:
            folder: of ``files``, as ``build`` wrote them.
            inputs: that show which values activations take, (1, C, H, W) each.
            precision: ``int8`` or ``int8-w16``.
            fp32_ends: leave the first and the last convolution in float32.

        Raises:
            MeasurementError: as of ``quantising`` and ``require_integers``.
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
            setting: for what.

        Raises:
            MeasurementError: it cannot be had as it is set.
        """
        raise NotImplementedError

    def needs(self, precision: str) -> tuple[str, ...]:
        """Modules beside torch by which a graph of a precision is built."""
        return self.packages + (self.quantisers if precision.startswith("int") else ())

    def missing(self, torch: str, *, precision: str = "fp32") -> tuple[str, str] | None:
        """What of an environment it cannot do without, in words, and what to do; None for nothing.

        Args:
            torch: version there; packages are looked for in this environment.
            precision: of a graph that is built there; one that was built needs no quantiser.
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
        """The part of a policy that it cannot follow, in words, or None."""
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
    """Refuse options that a library did not take over.

    Args:
        name: of the backend.
        asked: values by option.
        found: the same options as the library gives them back.

    Raises:
        MeasurementError: names each.
    """
    wrong = [
        f"{option} is {found.get(option, 'unknown')}, not {value}"
        for option, value in asked.items()
        if found.get(option) != value
    ]
    if wrong:
        raise MeasurementError(
            f"{name} did not apply all settings: {'; '.join(wrong)}",
            advice="Unset variables of the environment that configure it.",
        )


@contextmanager
def quantising(title: str) -> Iterator[None]:
    """Say in one line at what a library failed that quantises a graph.

    Args:
        title: of the backend.

    Raises:
        MeasurementError: in place of whatever was raised.
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
    """Refuse a graph of which nothing was quantised.

    Args:
        title: of the backend.
        floats: convolutions and matrix products in floating type, by name of the operator.
        products: all of them, likewise.

    Raises:
        MeasurementError: all are in floating type.
    """
    if floats == products:
        listed = ", ".join(floats) or "it has none"
        raise MeasurementError(
            f"{title} quantises none of its convolutions and matrix products: {listed}",
            advice="Measure it in fp32.",
        )


class UntranslatedError(MeasurementError):
    """A backend cannot take a network because of an operator, or of its code.

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
        MeasurementError: this torch cannot do it.
        Exception: what the network's code or torch raises where the code needs values or a size.
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
    """Name the operator that a translation of a program fails at, and where it was called.

    Args:
        program: of ``traced``.
        into: what it is translated into, for the message.

    Raises:
        UntranslatedError: in place of whatever was raised that is no error of ours.
    """
    try:
        yield
    except EsrbenchError:
        raise
    except Exception as error:
        said, cause = str(error), error.__cause__
        while cause is not None:
            said, cause = f"{said}\n{cause}", cause.__cause__
        # Told first by those who list several.
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
