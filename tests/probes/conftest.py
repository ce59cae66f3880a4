"""What tests of the audit share: networks made of a function, and what is found in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from esrbench.records import Audit


class Step(nn.Module):
    """A forward given as a function of the module and its input."""

    def __init__(self, run: Callable[[Any, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


@pytest.fixture(scope="session")
def step() -> type[Step]:
    return Step


@pytest.fixture(scope="session")
def audited() -> Callable[..., Audit]:
    """The audit of a network at some sizes, 8x6 unless they are given."""
    from esrbench.probes.audit import measure_audit

    def audit(network: nn.Module, *sizes: tuple[int, int], channels: int = 3) -> Audit:
        return measure_audit(network.eval(), input_sizes=sizes or ((8, 6),), channels=channels)

    return audit


@pytest.fixture(scope="session")
def codes() -> Callable[[Audit, nn.Module], list[str]]:
    """Codes of the notices that an audit of a network gives rise to."""
    from esrbench.probes.notices import notices_of

    def found(audit: Audit, network: nn.Module) -> list[str]:
        params = sum(parameter.numel() for parameter in network.parameters())
        return [notice.code for notice in notices_of(audit, params)]

    return found


@pytest.fixture(scope="session")
def without_meta() -> Callable[[Tensor], Tensor]:
    """The image, in a forward that needs its values."""

    def need_values(image: Tensor) -> Tensor:
        image.tolist()
        return image

    return need_values
