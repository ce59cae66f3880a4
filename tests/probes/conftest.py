"""What is found in the networks of the tests of the audit."""

import os

import pytest


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


@pytest.fixture
def mystery():
    """An operator of its own that negates."""
    import torch

    with torch.library._scoped_library("esrbench_test", "FRAGMENT") as library:
        library.define("mystery(Tensor x) -> Tensor")
        library.impl("mystery", torch.neg, "CompositeExplicitAutograd")
        yield torch.ops.esrbench_test.mystery


@pytest.fixture
def as_before():
    """Leave this process as it was for other tests."""
    import torch

    from esrbench.probes.precision import set_flags
    from esrbench.protocol import ForwardPolicy

    threads, cpus = torch.get_num_threads(), os.sched_getaffinity(0)
    yield
    set_flags(ForwardPolicy())
    torch.set_num_threads(threads)
    os.sched_setaffinity(0, cpus)
