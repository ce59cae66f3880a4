"""Networks that do something else without pixel values than with them."""

import pytest
import torch
from builders import step
from torch import nn
from torch.overrides import _get_current_function_mode

from esrbench.probes.audit import measure_audit
from esrbench.probes.complexity import measure_complexity
from esrbench.probes.notices import notices_of
from esrbench.protocol import COUNTERS
from esrbench.records import Absent

HEAD, BODY = 3 * 4 * 9, 4 * 4 * 9
"""Multiply-accumulates of a pixel."""


def net(works):
    """A convolution, and another one where it is told to work."""

    def run(module, lr):
        features = module.head(lr)
        return module.body(features) if works(module, lr) else features

    head = nn.Conv2d(3, 4, 3, padding=1, bias=False)
    return step(run, head=head, body=nn.Conv2d(4, 4, 3, padding=1, bias=False))


def recount_of(network, *sizes, channels=3):
    return measure_audit(network.eval(), input_sizes=sizes, channels=channels).recount


def noticed(found):
    (notice,) = (notice for notice in found.notices if notice.code == "counted-otherwise")
    return notice.message


def reads(_, lr):
    """A value can be read."""
    try:
        lr.mean().item()
    except RuntimeError:
        return False
    return True


def finite(_, lr):
    try:
        return bool(lr.isfinite().all())
    except (RuntimeError, NotImplementedError):
        return False


LOOKS = {
    "is_meta": lambda _, lr: not lr.is_meta,
    "device": lambda _, lr: lr.device.type != "meta",
    "device of the weights": lambda net, _: net.head.weight.device.type == "cpu",
    "item": reads,
    "comparison": finite,
    "on meta only": lambda _, lr: lr.is_meta,
}


def counted(works, size=(48, 40)):
    return measure_complexity(lambda: net(works), input_size=size, counters=COUNTERS)


@pytest.mark.parametrize("look", LOOKS)
def test_no_figure_stands_of_a_network_that_looks_for_values(look):
    found = counted(LOOKS[look])
    recount = found.audit.recount
    assert recount.with_values.input_size == recount.without_values.input_size == (48, 40)
    expected = [HEAD * 1920, (HEAD + BODY) * 1920]
    calls = [1, 2]
    if look == "on meta only":
        expected, calls = expected[::-1], calls[::-1]
    assert [recount.without_values.macs, recount.with_values.macs] == expected
    assert list(recount.conv_calls) == calls
    assert not recount.agrees
    assert not found.audit.complete
    assert all(isinstance(result, Absent) for result in found.counters.values())
    message = noticed(found)
    assert all(f"{macs:,}" in message for macs in expected)
    assert "48x40" in message


def test_the_same_work_is_no_matter():
    found = counted(lambda *_: True)
    assert found.audit.complete
    recount = found.audit.recount
    assert recount.with_values == recount.without_values
    assert (recount.agrees, recount.conv_calls) == (True, (2, 2))
    assert found.notices == ()
    assert not any(isinstance(result, Absent) for result in found.counters.values())


def test_a_network_that_needs_values_is_not_counted_again():
    found = counted(lambda _, lr: bool(lr.mean() < 2))
    assert (found.audit.by_values, found.audit.recount) == (True, None)
    assert found.audit.complete


def test_one_that_works_without_values_only_where_it_is_counted_again():
    audit = measure_audit(
        net(lambda _, lr: not lr.is_meta or max(lr.shape[2:]) == 64).eval(),
        input_sizes=[(96, 128), (160, 128)],
    )
    assert audit.recount.agrees
    (notice,) = notices_of(audit, HEAD + BODY)
    assert notice.code == "size-dependent-cost"
    assert f"{HEAD + BODY} at 64x64, {HEAD} at 96x128" in notice.message


def test_as_many_multiplications_by_other_convolutions():
    def run(module, lr):
        lr = torch.cat([lr, lr[:, :1]], 1)
        if lr.is_meta:
            return module.whole(lr)
        parts = torch.split(module.whole.weight, 1)
        return torch.cat([torch.conv2d(lr, part) for part in parts], 1)

    recount = recount_of(step(run, whole=nn.Conv2d(4, 4, 1, bias=False)), (8, 6))
    assert recount.with_values == recount.without_values
    assert (recount.conv_calls, recount.agrees) == ((1, 4), False)


def test_what_hides_only_with_values_is_found():
    def run(module, lr):
        lr = module.conv(lr)
        if lr.device.type == "meta":
            return lr
        return torch.from_numpy(lr.numpy() * 2) + module.secret.flatten()[:6]

    network = step(run, conv=nn.Conv2d(3, 3, 1, bias=False), secret=torch.ones(40, 50))
    audit = measure_audit(network.eval(), input_sizes=[(8, 6)])
    assert audit.recount.agrees
    assert (audit.derived_output, audit.complete) == (False, False)
    assert audit.opaque["Tensor.numpy"] == 1


def test_one_that_fails_with_values():
    class Fails(nn.Conv2d):
        def forward(self, lr):
            if not lr.is_meta:
                raise ValueError("no\npixels")
            return super().forward(lr)

    found = measure_complexity(
        lambda: Fails(3, 4, 1), input_size=(8, 6), counters=COUNTERS, memory_input=(8, 6)
    )
    valued = found.audit.recount.with_values
    assert valued.reason == "the forward raises ValueError: no pixels"
    assert not found.audit.complete
    absent = [*found.counters.values(), found.predicted_memory]
    assert all(isinstance(each, Absent) and "576 multiply-acc" in each.reason for each in absent)
    assert [notice.code for notice in found.notices][-1:] == ["counted-otherwise"]


def test_one_that_does_less_for_the_counters_than_for_the_audit():
    def watched(*_):
        return _get_current_function_mode() is not None

    found = counted(watched)
    assert isinstance(found.audit, Absent)
    assert all(isinstance(result, Absent) for result in found.counters.values())
    message = noticed(found)
    for macs in (HEAD, HEAD + BODY):
        assert f"{macs * 1920:,}" in message


def test_what_is_computed_once_is_in_both_counts():
    def run(module, lr):
        if module.fused is None:
            module.fused = (module.left @ module.right)[:, :, None, None]
        return torch.conv2d(lr, module.fused)

    left, right = (nn.Parameter(torch.ones(3, 3)) for _ in range(2))
    recount = recount_of(step(run, left=left, right=right, fused=None), (64, 80), (96, 80))
    assert recount.agrees
    assert recount.without_values.macs == 27 + 9 * 64 * 64


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        # Fused on the CPU: one operator a layer, 4 gates of 4 inputs and 5 states at 48 steps.
        (nn.LSTM(4, 5, batch_first=True), 48 * 4 * 5 * (4 + 5)),
        (nn.GRU(4, 5, batch_first=True), 48 * 3 * 5 * (4 + 5)),
        # Projections of 4x4, both products of 48x48 scores by 4 channels, two linear layers.
        (
            nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
            48 * (4 * 16 + 2 * 4 * 8) + 2 * 48 * 48 * 4,
        ),
    ],
    ids=["LSTM", "GRU", "transformer"],
)
def test_operators_that_are_fused_with_values_count_as_without(layer, macs):
    def run(module, lr):
        out = module.layer(lr.flatten(2).mT)
        return out[0] if isinstance(out, tuple) else out

    recount = recount_of(step(run, layer=layer), (8, 6), channels=4)
    assert [recount.without_values.macs, recount.with_values.macs] == [macs, macs]


@pytest.mark.parametrize(
    ("width", "layers", "side"),
    # 0.04, 1.2 and 23 million multiply-accumulates a pixel; from 1 million on 64 over the root.
    [(8, 8, 64), (120, 1, 56), (200, 7, 16)],
)
def test_the_image_of_a_costly_network_is_smaller(width, layers, side):
    body = [nn.Conv2d(width, width, 9, padding=4) for _ in range(layers)]
    network = nn.Sequential(nn.Conv2d(3, width, 1), *body)
    recount = recount_of(network, (400, 410))
    assert recount.agrees
    assert recount.without_values.input_size == (side, side)


@pytest.mark.parametrize(("least", "size"), [(60, (64, 64)), (70, (128, 128)), (129, (140, 150))])
def test_the_image_of_one_that_takes_no_small_ones_is_larger(least, size):
    def run(_, lr):
        if min(lr.shape[2:]) < least:
            raise ValueError("too small")
        return lr.relu()

    recount = recount_of(step(run), (140, 150), (160, 170))
    assert recount.agrees
    assert recount.without_values.input_size == size
