"""PyTorch's ahead-of-time compiler: it makes one library of what ``torch.export`` traces."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from esrbench.backends import INSTALL_COMPILER, Backend, Held, Opened, naming_operators, traced
from esrbench.errors import MeasurementError

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from esrbench.backends import Setting

PACKAGE = "network.pt2"
OPTIONS = {
    # Otherwise the number of threads of the build is compiled in.
    "cpp.dynamic_threads": True,
    # The compiler must not build test programs to find the CPU's instructions.
    "cpp.vec_isa_ok": True,
}
"""Options of the compiler, by name; all others keep their defaults."""


class AotInductor(Backend):
    """AOTInductor on the CPU: one build for images of any size, with this CPU's instructions."""

    name = "aot-inductor"
    title = "AOTInductor"
    files = (PACKAGE,)
    processes = True
    since = (2, 8)

    def build(self, network: nn.Module, example: torch.Tensor, folder: Path) -> Held:
        """Write a package of machine code and weights.

        Raises:
            UntranslatedError: the compiler does not support an operator.
            MeasurementError: this torch has no such compiler, or there is no C++ compiler.
            Exception: see ``traced``.
        """
        import torch
        from torch import _inductor as inductor

        program = traced(network, example)
        patched = inductor.config.patch(OPTIONS)
        with naming_operators(program, self.title), torch.no_grad(), patched:
            try:
                inductor.aoti_compile_and_package(program, package_path=str(folder / PACKAGE))
            except RuntimeError as error:
                if "No working C++ compiler" not in str(error):
                    raise
                message = f"{self.name} found no working C++ compiler"
                raise MeasurementError(message, advice=INSTALL_COMPILER) from error
        tensors = (*program.state_dict.values(), *program.constants.values())
        floating = (each for each in tensors if each.is_floating_point())
        # Other operators compute sizes.
        kinds = Counter(
            str(node.target)
            for node in program.graph.nodes
            if node.op == "call_function" and isinstance(node.meta.get("val"), torch.Tensor)
        )
        return Held(sum(each.numel() for each in floating), dict(kinds.most_common()))

    def open(self, network: nn.Module, setting: Setting) -> Opened:  # noqa: ARG002 - the package holds it
        """The package, which computes with as many threads as PyTorch is set to."""
        from torch._C._aoti import AOTIModelPackageLoader

        if setting.graph is None:
            raise AssertionError("aot-inductor runs a package")
        # This replaces torch's own function, which calls the C++ compiler to name the CPU's
        # instructions.
        model = AOTIModelPackageLoader(str(setting.graph / PACKAGE), "model", False, 1, -1)

        def run(pixels: torch.Tensor) -> torch.Tensor:
            return model.run([pixels])[0]

        return Opened(run, options=dict(model.get_metadata()))


BACKEND = AotInductor()
