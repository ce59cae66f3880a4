import copy

import pytest
import torch
from builders import Buffer, step
from torch import nn
from torch.nn import functional

from esrbench.entries.networks import build_network
from esrbench.entries.registry import default_registry
from esrbench.errors import MeasurementError
from esrbench.probes.complexity import audited_sizes, found_to_differ, measure_complexity
from esrbench.probes.counters import COUNTERS as BY_COUNTER
from esrbench.probes.counters.operators import NAMES_WITH_MACS
from esrbench.probes.forward import PixelConversion
from esrbench.protocol import COUNTERS
from esrbench.records import Complexity, CounterResult


def measured(network, *, input_size=(8, 6), counters=COUNTERS):
    return measure_complexity(
        lambda: copy.deepcopy(network), input_size=input_size, counters=counters
    )


# Network, parameters and the counters' columns at a 3x256x256 input and x4: NTIRE FLOPs,
# fvcore, ptflops (pytorch), ptflops (aten) = MACs + bias, torch FlopCounterMode = 2 MACs,
# activations and #Conv. IMDN, RFDN and ARFDN are in the published NTIRE 2022 table.
EXACT = [
    (
        "srresnet",
        1_517_571,
        (166_362_873_856, 166_220_267_520, 166_725_681_152, 166_500_237_312, 332_415_369_216),
        292_552_704,
        37,
    ),
    (
        "imdn-challenge",
        893_936,
        (58_531_512_320, 58_430_849_024, 58_685_652_992, 58_584_989_696, 116_861_698_048),
        154_140_672,
        43,
    ),
    (
        "rfdn",
        433_448,
        (27_102_622_560, 27_046_231_296, 27_218_738_096, 27_145_682_624, 54_067_296_768),
        112_034_240,
        64,
    ),
    (
        "aidn-challenge",
        241_548,
        (14_506_603_360, 14_430_551_296, 14_662_040_496, 14_569_324_224, 28_835_936_768),
        151_355_840,
        100,
    ),
    (
        "aidn",
        339_498,
        (20_268_961_040, 20_156_521_344, 20_495_628_680, 20_358_192_672, 40_275_293_952),
        220_545_696,
        148,
    ),
]


@pytest.mark.parametrize(
    ("name", "params", "figures", "activations", "conv_calls"), EXACT, ids=[row[0] for row in EXACT]
)
def test_published_networks_to_the_last_unit(name, params, figures, activations, conv_calls):
    descriptor = default_registry().get(name)
    sizes = measure_complexity(
        lambda: build_network(descriptor, 4), input_size=(256, 256), counters=COUNTERS
    )
    ntire, fvcore, ptflops, aten = (sizes.counters[counter] for counter in COUNTERS)
    biases = activations
    assert sizes.params == sizes.trainable_params == params
    assert (ntire.macs, fvcore.macs, ptflops.macs) == figures[:3]
    assert (aten.macs + biases, 2 * aten.macs) == figures[3:]
    assert {each.activations for each in (ntire, fvcore, aten)} == {activations}
    assert (ntire.conv_calls, aten.conv_calls) == (conv_calls, conv_calls)
    for counter in (ntire, aten, ptflops):
        assert not counter.uncounted.keys() & NAMES_WITH_MACS
    assert sizes.notices == ()


# NTIRE FLOPs and convolution MACs in G, activations in M, as far as they are published.
@pytest.mark.parametrize(
    ("name", "scale", "params", "flops", "macs", "activations"),
    [
        ("aidn", 2, 323_262, "19.2073", "19.0760", "218.186"),
        ("aidn", 3, 330_027, "19.6496", "19.5183", "219.169"),
        ("aidn", 4, 339_498, "20.2690", "20.1376", "220.546"),
        ("aidn-challenge", 2, 225_312, "13.445", None, "149.00"),
        ("aidn-challenge", 3, 232_077, "13.887", None, "149.98"),
        ("aidn-challenge", 4, 241_548, "14.507", None, "151.36"),
        ("srresnet", 2, 1_369_859, "97.24", "97.20", None),
        ("srresnet", 3, 1_554_499, "122.01", "121.93", None),
        ("srresnet", 4, 1_517_571, "166.36", "166.21", None),
        ("imdn", 2, 694_404, "45.240", "45.16", None),
        ("imdn", 3, 703_059, "45.806", "45.73", None),
        ("imdn", 4, 715_176, "46.599", "46.52", None),
        ("rfdn", 2, 417_212, "26.041", None, None),
        ("rfdn", 3, 423_977, "26.483", None, None),
    ],
)
def test_published_networks_at_every_scale(*, name, scale, params, flops, macs, activations):
    descriptor = default_registry().get(name)
    sizes = measure_complexity(
        lambda: build_network(descriptor, scale),
        input_size=(256, 256),
        counters=("ntire2022", "aten"),
    )
    ntire, aten = sizes.counters["ntire2022"], sizes.counters["aten"]
    assert sizes.params == params
    for figure, unit, printed in (
        (ntire.macs, 1e9, flops),
        (aten.macs, 1e9, macs),
        (ntire.activations, 1e6, activations),
    ):
        if printed is not None:
            digits = len(printed.partition(".")[2])
            assert f"{figure / unit:.{digits}f}" == printed


def test_state_is_counted_once():
    network = step(
        lambda m, x: m.again(x) + m.tied(x),
        one=nn.Conv2d(3, 4, 3),  # 112 parameters
        table=Buffer(torch.zeros(7, dtype=torch.int64)),
        unsaved=Buffer(torch.zeros(2), persistent=False),
    )
    network.again, network.tied = network.one, nn.Conv2d(3, 4, 3)
    network.tied.weight = network.one.weight  # 4 more: its bias
    network.frozen = nn.Parameter(torch.zeros(5), requires_grad=False)
    sizes = measured(network)
    assert (sizes.params, sizes.trainable_params) == (112 + 4 + 5, 112 + 4)
    assert sizes.buffer_elements == 7 + 2
    assert sizes.state_bytes == 4 * 121 + 8 * 7 + 4 * 2
    assert sizes.counters["ntire2022"].conv_calls == 2


def test_weights_hidden_in_a_buffer_show():
    weight = Buffer(torch.zeros(4, 3, 3, 3))
    sizes = measured(step(lambda m, x: functional.conv2d(x, m.weight), weight=weight))
    assert (sizes.params, sizes.buffer_elements, sizes.state_bytes) == (0, 108, 432)
    assert sizes.counters["ntire2022"].macs == 0
    assert sizes.counters["aten"].macs == 108 * 24
    spread, *missed = (notice.message for notice in sizes.notices)
    assert "an infinite ratio: ntire2022 0," in spread
    assert "aten 2,592" in spread
    assert [message.partition(",")[0] for message in missed] == [
        "ntire2022 does not count aten::convolution (1)",
        "ptflops does not count aten::convolution (1)",
    ]
    assert {notice.code for notice in sizes.notices[1:]} == {"uncounted-macs"}


@pytest.mark.parametrize(("hidden_convs", "spread"), [(0, None), (1, "100.0%"), (3, "300.0%")])
def test_a_spread_between_counters_is_noticed(hidden_convs, spread):
    def run(module, x):
        x = module.conv(x)
        for _ in range(hidden_convs):
            x = functional.conv2d(x, module.conv.weight, padding=1)
        return x

    network = step(run, conv=nn.Conv2d(3, 3, 3, padding=1, bias=False))
    messages = {notice.code: notice.message for notice in measured(network).notices}
    assert messages.keys() == ({"counter-spread", "uncounted-macs"} if spread else set())
    if spread:
        assert spread in messages["counter-spread"]


def test_a_spread_below_the_limit_is_none():
    # 81*48 MACs; ptflops adds a bias of 48*3: 3.7 %. With 48 channels it is 1 in 27*48.
    wide = nn.Sequential(nn.Conv2d(3, 48, 3, padding=1), nn.Conv2d(48, 48, 3, padding=1))
    assert [notice.code for notice in measured(nn.Conv2d(3, 3, 3, padding=1)).notices] == [
        "counter-spread"
    ]
    assert measured(wide).notices == ()


def fail(module, x):
    raise ValueError(f"no patch fits\n  into {module.conv(x).ndim} dimensions")


def test_a_failing_forward_leaves_every_counter_absent_and_torch_whole():
    originals = {
        name: getattr(functional, name) for name in ("conv2d", "relu", "interpolate", "max_pool2d")
    }
    multiply, methods = torch.mul, dict(vars(torch.Tensor))
    sizes = measured(step(fail, conv=nn.Conv2d(3, 4, 3)))
    assert sizes.params == 112
    for absent in (sizes.counters[counter] for counter in COUNTERS):
        assert absent.kind == "failed"
        assert "ValueError: no patch fits into 4 dimensions" in absent.reason
        assert absent.advice
    assert sizes.notices == ()
    for name, original in originals.items():
        assert getattr(functional, name) is original
    assert torch.mul is multiply
    assert dict(vars(torch.Tensor)) == methods
    assert not torch.jit.is_tracing()


def test_control_flow_on_pixels_is_followed():
    conv = nn.Conv2d(3, 4, 3, padding=1)
    sizes = measured(step(lambda m, x: x if x.mean() > 2 else m.conv(x), conv=conv))
    for counter in ("ntire2022", "fvcore", "aten"):
        assert sizes.counters[counter].macs == 108 * 48
    assert sizes.counters["ptflops"].macs == 108 * 48 + 192


def test_counters_leave_no_trace_on_the_network():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.PixelShuffle(2)).eval()
    before = [(dict(vars(module)), len(module._forward_hooks)) for module in network.modules()]
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    first = measure_complexity(lambda: network, input_size=(8, 6), counters=COUNTERS)
    again = measure_complexity(lambda: network, input_size=(8, 6), counters=COUNTERS)
    assert first == again
    for (attributes, hooks), module in zip(before, network.modules(), strict=True):
        assert set(vars(module)) == set(attributes)
        assert len(module._forward_hooks) == hooks == 0
    assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())


def test_networks_are_counted_in_eval_mode():
    def run(module, x):
        assert not module.training
        return x.relu()

    sizes = measured(step(run).train())
    assert sizes.counters["aten"].elementwise == 144


def test_blocks_sum_to_the_audited_count():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1))
    sizes = measured(network)
    whole, *parts = sizes.blocks
    assert whole.macs == sum(part.macs for part in parts) == sizes.counters["aten"].macs
    assert [part.name for part in parts] == ["0", "1"]


def test_blocks_that_do_not_sum_to_the_count_are_absent():
    """Whoever is watched module by module and does less has no blocks."""

    def run(module, x):
        watched = len(module.conv._forward_hooks)
        return module.conv(x) if watched else module.conv(module.conv(x))

    network = step(run, conv=nn.Conv2d(3, 3, 3, padding=1))
    sizes = measured(network, counters=("aten",))
    assert isinstance(sizes.counters["aten"], CounterResult)
    assert sizes.blocks.kind == "unavailable"
    assert f"{81 * 48:,} multiply-accumulates" in sizes.blocks.reason


def test_only_the_counters_asked_for_are_asked():
    sizes = measured(nn.Conv2d(3, 4, 3), counters=("aten",))
    assert sizes.counters.keys() == {"aten"}


def test_layers_that_compute_values_while_built_are_no_obstacle():
    def build():
        rates = [rate.item() for rate in torch.linspace(0, 0.1, 3)]
        mean = torch.tensor([0.4, 0.4, 0.4]).view(1, 3, 1, 1)
        return step(lambda m, x: (x - m.mean.type_as(x)) * m.rates[1], rates=rates, mean=mean)

    sizes = measure_complexity(build, input_size=(8, 6), counters=COUNTERS)
    assert sizes.counters["aten"].elementwise == 2 * 144


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: 1 / 0, "could not be built: ZeroDivisionError: division by zero"),
        (dict, "is a dict, expected a torch.nn.Module"),
    ],
)
def test_a_network_that_cannot_be_built_is_an_error(made, message):
    with pytest.raises(MeasurementError, match=message):
        measure_complexity(made, input_size=(8, 6), counters=COUNTERS)


def test_lazy_parameters_are_an_error():
    with pytest.raises(MeasurementError, match="lazy parameters"):
        measured(nn.LazyConv2d(4, 3))


def test_custom_operators_are_noticed(mystery):
    sizes = measured(step(lambda _, x: mystery(x)))
    assert sizes.counters["aten"].uncounted == {"esrbench_test::mystery": 1}
    notices = {notice.code: notice.message for notice in sizes.notices}
    assert "esrbench_test::mystery (1)" in notices["opaque-operator"]


def test_a_result_survives_the_record():
    sizes = measured(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    assert Complexity.model_validate_json(sizes.model_dump_json()) == sizes


def test_the_audit_is_of_the_counted_size_among_others():
    sizes = measured(nn.Conv2d(3, 4, 3, bias=False))
    (count,) = sizes.audit.sizes
    assert (count.input_size, count.macs) == ((8, 6), sizes.counters["aten"].macs)
    assert sizes.audit.effective_constants == sizes.params == 108
    assert audited_sizes((256, 256), (510, 510)) == ((256, 256), (339, 510), (510, 510))
    assert audited_sizes((256, 256), None) == ((256, 256), (128, 192))
    assert audited_sizes((126, 256), None) == ((126, 256),)


def test_a_network_that_fails_at_another_size_has_counts_and_no_audit():
    def run(_, x):
        if x.shape[2] > 8:
            raise ValueError("too high")
        return x.relu()

    size, larger = (8, 6), (16, 16)
    sizes = measure_complexity(
        lambda: step(run), input_size=size, counters=("aten",), memory_input=larger
    )
    assert sizes.counters["aten"].elementwise == 144
    assert sizes.audit.kind == "failed"
    assert "ValueError: too high" in sizes.audit.reason
    assert "8x6, 16x16" in str(sizes.audit.advice)


def test_what_the_audit_finds_is_noticed():
    def run(module, x):
        x = module.head(x)
        return functional.conv2d(x, module.weight) if x.shape[2] > 192 else x

    network = step(run, weight=Buffer(torch.zeros(48, 48, 3, 3)), head=nn.Conv2d(3, 48, 1))
    sizes = measure_complexity(lambda: network, input_size=(256, 256), counters=("aten",))
    assert sizes.params == 48 * 4
    assert [notice.code for notice in sizes.notices] == ["size-dependent-cost", "hidden-constants"]
    assert "20,928 constants" in sizes.notices[1].message


# Printed for an SR image of 1280x720 by the papers of IMDN and CARN, and by later ones of VDSR.
# At x3 they count 240 x 426 2/3 LR pixels, as 320x320 has.
@pytest.mark.parametrize(
    ("name", "scale", "printed"),
    [
        *(("imdn", 4, "40.9"), ("carn", 2, "222.8"), ("carn", 3, "118.8"), ("carn", 4, "90.9")),
        ("vdsr", 3, "612.6"),
    ],
)
def test_macs_for_1280x720_are_those_of_papers(name, scale, printed):
    descriptor = default_registry().get(name)
    conversion = PixelConversion.of(descriptor, scale, descriptor.data_range)
    with torch.device("meta"):
        network = build_network(descriptor, scale)
        image = torch.empty(1, conversion.channels, *conversion.size_for_1280x720)
        found = BY_COUNTER["aten"](network, image)
    assert f"{found.macs / 1e9:.1f}" == printed


def test_the_count_for_1280x720_stands_beside_the_others_and_falls_with_them():
    conv = nn.Conv2d(3, 4, 1)
    found = measure_complexity(
        lambda: conv, input_size=(8, 6), input_for_1280x720=(10, 20), counters=("ntire2022",)
    )
    assert found.at_1280x720.macs == 12 * 200
    assert found.at_1280x720.input_shape == (1, 3, 10, 20)
    assert found_to_differ(found, "twofold").at_1280x720.kind == "unavailable"
    spared = measured(conv)
    assert spared.at_1280x720.kind == "skipped"
    old = spared.model_dump(exclude={"at_1280x720"})
    assert Complexity.model_validate(old).at_1280x720.advice == "Run it again."


def test_no_size_for_1280x720_where_the_scale_divides_no_side():
    sizes = {n: PixelConversion(scale=n).size_for_1280x720 for n in (4, 6, 7)}
    assert sizes == {4: (180, 320), 6: (160, 160), 7: None}
