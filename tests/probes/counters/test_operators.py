import itertools

import pytest
import torch

from esrbench.probes.counters import operators
from esrbench.records.counts import LIGHT

SETS = {
    "MACS": frozenset(operators.MACS),
    "ELEMENTWISE": operators.ELEMENTWISE,
    "FREE": operators.FREE,
    "LIGHT": LIGHT,
}
NAMED = SETS | {"NAMES_WITH_MACS": operators.NAMES_WITH_MACS}


@pytest.mark.parametrize("names", NAMED.values(), ids=NAMED)
def test_every_name_is_an_operator(names):
    assert names
    for name in names:
        namespace, _, operator = name.partition("::")
        assert namespace == "aten"
        assert hasattr(torch.ops.aten, operator), f"torch has no {name}"


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(SETS, 2)))
def test_an_operator_is_accounted_for_once(one, other):
    assert not SETS[one] & SETS[other]


@pytest.mark.parametrize(
    ("name", "plain"),
    [("aten::add_", "aten::add"), ("aten::add", "aten::add"), ("aten::__and__", "aten::__and__")],
)
def test_out_of_place(name, plain):
    assert operators.out_of_place(name) == plain


@pytest.mark.parametrize(
    ("name", "opaque"),
    [
        ("aten::mystery", False),
        ("prims::add", False),
        ("prim::PythonOp.Hidden", False),  # its operators are seen
        ("profiler::_record_function_enter_new", False),
        ("profiler::_record_function_exit", False),
        ("profiler::mystery", True),
        ("mylibrary::deform_conv2d", True),
    ],
)
def test_is_opaque(name, opaque):
    assert operators.is_opaque(name) is opaque


def meta(*shape):
    return torch.empty(shape, device="meta")


# A 2x4x3x3 weight meets 5x7 positions: 72 * 35 = 2,520. Transposed, a 4x2x3x3 weight the same.
IMAGE, RESULT, WEIGHT, TRANSPOSED = (
    meta(1, 4, 5, 7),
    meta(1, 2, 5, 7),
    meta(2, 4, 3, 3),
    (4, 2, 3, 3),
)
GROWN = meta(1, 2, 11, 15)


@pytest.mark.parametrize(
    ("name", "args", "out", "macs"),
    [
        ("convolution", (IMAGE, WEIGHT, None, [1], [1], [1], False, [0], 1), RESULT, 2520),
        (
            "convolution",
            (IMAGE, meta(2, 2, 3, 3), None, [1], [1], [1], False, [0], 2),
            RESULT,
            1260,
        ),
        ("convolution", (IMAGE, meta(*TRANSPOSED), None, [2], [0], [1], True, [0], 1), GROWN, 2520),
        ("mkldnn_convolution", (IMAGE, WEIGHT, None, [1], [1], [1], 1), RESULT, 2520),
        ("cudnn_convolution_transpose", (IMAGE, meta(*TRANSPOSED)), GROWN, 2520),
        ("slow_conv_transpose2d", (IMAGE, meta(*TRANSPOSED), [3, 3]), GROWN, 2520),
        # 6 steps of 2 sequences, a kernel of 3 over 4 channels, 5 filters
        ("conv_tbc", (meta(8, 2, 4), meta(3, 4, 5), meta(5)), meta(6, 2, 5), 6 * 2 * 3 * 4 * 5),
        ("_int_mm", (meta(4, 5), meta(5, 6)), meta(4, 6), 120),
        ("_addmm_activation", (meta(6), meta(4, 5), meta(5, 6)), meta(4, 6), 120),
        ("_weight_int8pack_mm", (meta(4, 5), meta(6, 5), meta(6)), meta(4, 6), 120),
        ("mkldnn_linear", (meta(2, 4, 5), meta(6, 5), None), meta(2, 4, 6), 240),
        ("addr", (meta(4, 5), meta(4), meta(5)), meta(4, 5), 20),
        ("vdot", (meta(5), meta(5)), meta(), 5),
        # 48 pairs of 3 and 4 features, 5 results: a term for each of 48*5*3*4
        (
            "_trilinear",
            (meta(48, 3), meta(5, 3, 4), meta(48, 4), [1, 3], [0], [1, 2], [2, 3]),
            meta(48, 5),
            48 * 5 * 3 * 4,
        ),
        # 3 projections in, 1 out, of 48*4*4; scores and their use 48*48*4 each
        (
            "_native_multi_head_attention",
            (meta(1, 48, 4), meta(1, 48, 4), meta(1, 48, 4), 4, 2),
            meta(1, 48, 4),
            4 * 48 * 16 + 2 * 48 * 48 * 4,
        ),
        # the same, and two linear layers of 4 to 8 features and back
        (
            "_transformer_encoder_layer_fwd",
            (meta(1, 48, 4), 4, 2, *[None] * 11, meta(8, 4), None, meta(4, 8), None),
            meta(1, 48, 4),
            4 * 48 * 16 + 2 * 48 * 48 * 4 + 2 * 48 * 4 * 8,
        ),
        (
            "_scaled_dot_product_fused_attention_overrideable",
            (meta(1, 2, 8, 6), meta(1, 2, 9, 6), meta(1, 2, 9, 7)),
            meta(1, 2, 8, 7),
            2 * 8 * 9 * (6 + 7),
        ),
    ],
)
def test_costs_computed_by_hand(name, args, out, macs):
    assert operators.MACS[f"aten::{name}"](args, out) == macs
