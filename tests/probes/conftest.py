"""What tests of the audit share: networks made of a function, and what is found in them."""

from __future__ import annotations

import pytest
from torch import nn


class Step(nn.Module):
    """A forward given as a function of the module and its input."""

    def __init__(self, run, **layers):
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self.run(self, x)


@pytest.fixture(scope="session")
def step():
    return Step


@pytest.fixture(scope="session")
def audited():
    """The audit of a network at some sizes, 8x6 unless they are given."""
    from esrbench.probes.audit import measure_audit

    def audit(network, *sizes, channels=3):
        return measure_audit(network.eval(), input_sizes=sizes or ((8, 6),), channels=channels)

    return audit


@pytest.fixture(scope="session")
def codes():
    """Codes of the notices that an audit of a network gives rise to."""
    from esrbench.probes.notices import notices_of

    def found(audit, network):
        params = sum(parameter.numel() for parameter in network.parameters())
        return [notice.code for notice in notices_of(audit, params)]

    return found


@pytest.fixture(scope="session")
def without_meta():
    """The image, in a forward that needs its values."""

    def need_values(image):
        image.tolist()
        return image

    return need_values
