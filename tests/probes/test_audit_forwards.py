"""What an audit of several forwards tells: content, index tables, what is kept between."""

import pytest
import torch
from builders import Buffer, step
from torch import nn

from esrbench.probes.notices import notices_of


def test_content_that_decides_is_noticed(audited):
    def run(module, image):
        features = module.head(image)
        rough = (image[..., 1:] - image[..., :-1]).abs().mean() > 0.2
        return features if rough else module.body(features)

    network = step(run, head=nn.Conv2d(3, 4, 1, bias=False), body=nn.Conv2d(4, 5, 1, bias=False))
    audit = audited(network)
    assert audit.by_values
    assert [count.macs for count in audit.sizes] == [12 * 48]
    assert [count.macs for count in audit.smooth_sizes] == [32 * 48]
    assert audit.effective_constants == 32
    (notice,) = notices_of(audit, 32)
    assert notice.code == "content-dependent"
    assert "576 and 1,536 at 8x6" in notice.message


def test_values_that_decide_nothing_are_recorded(audited, codes, without_meta):
    network = step(lambda m, x: m.c(without_meta(x)), c=nn.Conv2d(3, 4, 1))
    audit = audited(network)
    assert (audit.by_values, audit.smooth_sizes) == (True, audit.sizes)
    assert codes(audit, network) == []
    assert not audited(nn.Conv2d(3, 4, 1)).by_values


def windows(*tables):
    """Looks up a bias of its own by the same table in each of its layers."""

    def run(module, x):
        x = module.head(x)
        for bias, table in zip(module.biases, module.buffers(), strict=True):
            x = x + bias[table.view(-1)].view(8, 6, 3).permute(2, 0, 1)
        return x

    named = {f"table{index}": Buffer(table) for index, table in enumerate(tables)}
    biases = nn.ParameterList(torch.rand(9, 3) for _ in tables)
    return step(run, head=nn.Conv2d(3, 3, 1), biases=biases, **named)


def test_index_tables_built_alike_count_once(audited):
    table = torch.arange(48).view(8, 6) % 9
    alike = audited(windows(table, table.clone(), table.clone()))
    assert (alike.effective_constants, alike.index_constants) == (12 + 3 * 27 + 48, 48)
    different = audited(windows(table, table + 1 - 1, table.flip(0)))
    assert different.index_constants == 2 * 48
    # A code book: indices beyond a tenth of the parameters are weights.
    large = alike.model_copy(update={"index_constants": 4096, "effective_constants": 50_000})
    assert list(notices_of(large, 45_904)) == []
    large = alike.model_copy(update={"index_constants": 40_960, "effective_constants": 50_000})
    assert [notice.code for notice in notices_of(large, 9_040)] == ["hidden-constants"]


def test_an_index_used_as_a_weight_is_no_index(audited):
    table = torch.arange(48).view(8, 6)
    audit = audited(step(lambda _, x: x * table.to(x.dtype).to(x.device) + x.flatten()[table]))
    assert (audit.effective_constants, audit.index_constants) == (48, 0)


@pytest.mark.parametrize("needs_values", [False, True])
def test_what_a_network_keeps_of_earlier_sizes_is_what_it_was(needs_values, audited, without_meta):
    def run(module, x):
        if needs_values:
            without_meta(x)
        if 6 not in module.grids:
            module.grids[6] = torch.arange(6.0, device=x.device) / 6
        return module.conv(torch.cat([x, module.grids[6].expand_as(x[:, :1])], 1))

    network = step(run, conv=nn.Conv2d(4, 3, 1), grids={})
    # 15 parameters, the 6 of arange and the 6 of the division.
    assert audited(network, (8, 6), (10, 6)).effective_constants <= 15 + 6
    assert network.grids == {}


def test_randomised_relus_are_elementwise(audited):
    audit = audited(nn.RReLU())
    assert (audit.complete, audit.uncounted) == (True, {})
