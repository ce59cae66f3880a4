from __future__ import annotations

import itertools

import pytest
import torch

from harness.probes.counters import operators

SETS = {
    "MACS": frozenset(operators.MACS),
    "ELEMENTWISE": operators.ELEMENTWISE,
    "FREE": operators.FREE,
}
NAMED = SETS | {"NAMES_WITH_MACS": operators.NAMES_WITH_MACS}


@pytest.mark.parametrize("names", NAMED.values(), ids=NAMED)
def test_every_name_is_an_operator(names: frozenset[str]) -> None:
    assert names
    for name in names:
        namespace, _, operator = name.partition("::")
        assert namespace == "aten"
        assert hasattr(torch.ops.aten, operator), f"torch has no {name}"


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(SETS, 2)))
def test_an_operator_is_accounted_for_once(one: str, other: str) -> None:
    assert not SETS[one] & SETS[other]


@pytest.mark.parametrize(
    ("name", "plain"),
    [("aten::add_", "aten::add"), ("aten::add", "aten::add"), ("aten::__and__", "aten::__and__")],
)
def test_out_of_place(name: str, plain: str) -> None:
    assert operators.out_of_place(name) == plain


@pytest.mark.parametrize(
    ("name", "opaque"),
    [
        ("aten::mystery", False),
        ("prims::add", False),
        ("prim::PythonOp.Hidden", True),
        ("mylibrary::deform_conv2d", True),
    ],
)
def test_is_opaque(name: str, opaque: bool) -> None:
    assert operators.is_opaque(name) is opaque
