"""Habits of honest networks: counted whole, and nothing said that accuses."""

import numpy as np
import pytest
import torch
from builders import Buffer, step
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from esrbench.probes.complexity import measure_complexity
from esrbench.protocol import COUNTERS

ACCUSING = {
    "content-dependent",
    "counted-otherwise",
    "elementwise-work",
    "hidden-constants",
    "hidden-work",
    "mixed-precision",
    "opaque-operator",
    "size-dependent-cost",
}
WIDTH = 24
PIXELS = 64 * 64
ENDS = 9 * WIDTH * (3 + 48) * PIXELS
"""Multiply-accumulates of the convolutions around a body, at 64x64."""


def around(*body):
    """A network of one body: 3 channels to 24, and to a picture four times as large."""
    head, tail = nn.Conv2d(3, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, 48, 3, padding=1)
    return nn.Sequential(head, *body, tail, nn.PixelShuffle(4))


def conv(kernel=3, **options):
    return nn.Conv2d(WIDTH, WIDTH, kernel, padding=kernel // 2, **options)


def cut(x, side):
    """(B, H, W, C) into windows (B * n, side * side, C)."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // side, side, width // side, side, channels)
    return x.transpose(2, 3).reshape(-1, side * side, channels)


def join(windows, side, height, width):
    """The opposite."""
    x = windows.view(-1, height // side, width // side, side, side, windows.shape[-1])
    return x.transpose(2, 3).reshape(-1, height, width, windows.shape[-1])


def relative_positions(side):
    """Which of (2 side - 1)^2 biases each pair of places has: int64 (side^2, side^2)."""
    axes = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    places = torch.stack(axes).flatten(1)
    distance = places[:, :, None] - places[:, None, :] + side - 1
    return distance[0] * (2 * side - 1) + distance[1]


def mask_of_shift(height, width, side):
    """-100 between places of a shifted window that are no neighbours: (n, side^2, side^2)."""
    regions = torch.zeros(1, height, width, 1)
    steps = (slice(0, -side), slice(-side, -side // 2), slice(-side // 2, None))
    for index, (rows, columns) in enumerate((r, c) for r in steps for c in steps):
        regions[:, rows, columns] = index
    windows = cut(regions, side).squeeze(-1)
    apart = windows[:, None] - windows[:, :, None]
    return apart.masked_fill(apart != 0, -100.0).masked_fill(apart == 0, 0.0)


class ShiftedWindows(nn.Module):
    """Attention within shifted windows, with a bias of relative positions."""

    def __init__(self, side=8, mask="buffer", *, pads=False):
        super().__init__()
        self.side, self.pads = side, pads
        self.norm, self.qkv = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.bias = nn.Parameter(torch.zeros((2 * side - 1) ** 2, 2))
        self.register_buffer("table", relative_positions(side))
        self.mask = None
        if mask == "buffer":
            del self.mask
            self.register_buffer("mask", mask_of_shift(64, 64, side), persistent=False)
        elif mask == "attribute":
            self.mask = mask_of_shift(64, 64, side)
        elif mask == "array":
            self.mask = mask_of_shift(64, 64, side).numpy()

    def mask_for(self, height, width, x):
        if self.mask is None or (height, width) != (64, 64):
            return mask_of_shift(height, width, self.side).to(x.device)
        if isinstance(self.mask, np.ndarray):
            return torch.from_numpy(self.mask).to(x.device)
        kept = self.mask
        return kept.to(x.device)

    def forward(self, x):
        side, (wanted, across) = self.side, x.shape[2:]
        if self.pads:
            x = functional.pad(x, (0, -across % side, 0, -wanted % side), mode="reflect")
        height, width = x.shape[2:]
        shift = -(side // 2)
        features = torch.roll(self.norm(x.permute(0, 2, 3, 1)), (shift, shift), (1, 2))
        split = self.qkv(cut(features, side)).view(-1, side * side, 3, 2, WIDTH // 2)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        table = self.table
        bias = self.bias[table.view(-1)].view(side * side, side * side, 2).permute(2, 0, 1)
        scores = query * (WIDTH // 2) ** -0.5 @ key.mT + bias
        scores = scores + self.mask_for(height, width, x)[:, None]
        attended = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
        joined = join(self.out(attended), side, height, width)
        back = torch.roll(joined, (-shift, -shift), (1, 2)).permute(0, 3, 1, 2)
        return (x + back)[..., :wanted, :across]


def attention(side):
    """Its four projections and two products, at 64x64."""
    return PIXELS * (4 * WIDTH**2 + 2 * side**2 * WIDTH)


class Swish(torch.autograd.Function):
    """Saves memory in training."""

    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(context, *gradients):
        (x,) = context.saved_tensors
        return gradients[0] * torch.sigmoid(x)


class ChannelNorm(torch.autograd.Function):
    """Layer normalisation of channels, with a scale and a shift."""

    @staticmethod
    def forward(_context, x, scale, shift):
        centred = x - x.mean(1, keepdim=True)
        spread = (centred.pow(2).mean(1, keepdim=True) + 1e-6).sqrt()
        return scale[:, None, None] * centred / spread + shift[:, None, None]


def reparameterised(module, x):
    """Three branches folded into one kernel in the forward."""
    kernel = module.wide.weight + functional.pad(module.narrow.weight, (1, 1, 1, 1))
    unit = torch.eye(WIDTH, device=x.device)[:, :, None, None]
    kernel = kernel + functional.pad(unit, (1, 1, 1, 1))
    return functional.conv2d(x, kernel, module.wide.bias, padding=1)


def edges(module, x):
    """A branch whose kernel is a Sobel operator, scaled by a parameter."""
    sobel = module.sobel * module.scale[:, None]
    branches = module.wide(x) + functional.conv2d(x, sobel, padding=1, groups=WIDTH)
    return functional.gelu(module.norm(branches))


def low_rank(module, x):
    update = (module.up @ module.down).view_as(module.conv.weight)
    return functional.conv2d(x, module.conv.weight + update, padding=1)


def fourier(module, x):
    spectrum = torch.fft.rfft2(x, norm="ortho")
    real, imaginary = module.conv(torch.cat([spectrum.real, spectrum.imag], 1)).chunk(2, 1)
    complex_ = torch.complex(real, imaginary)
    return x + torch.fft.irfft2(complex_, s=x.shape[-2:], norm="ortho")


def coordinates(height, width, device="cpu"):
    axes = [torch.linspace(-1, 1, side, device=device) for side in (height, width)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def located(module, x):
    grid = module.grid if module.grid is not None else coordinates(*x.shape[2:], x.device)
    if grid.shape[1:] != x.shape[2:]:
        grid = coordinates(*x.shape[2:], x.device)
    return module.conv(torch.cat([x, grid.to(x.device)[None]], 1))


def marked(module, x):
    with torch.profiler.record_function("body"):
        return module.conv(x)


def tied(module, x):
    module.again.weight = module.conv.weight
    return module.again(module.conv(x).relu())


def encoded(module, x):
    windows = module.layer(cut(x.permute(0, 2, 3, 1), 8))
    return join(windows, 8, *x.shape[2:]).permute(0, 3, 1, 2)


def gated(module, x):
    one, other = module.wide(module.norm(x)).chunk(2, 1)
    product = one * other
    pooled = module.point(product.mean((2, 3), keepdim=True))
    return x + module.point(product * pooled) * module.scale


def in_place(module, x):
    x.sub_(0.5).mul_(2)
    return module.body(x).add_(0.5)


def channel_attention():
    layers = nn.Sequential(nn.Linear(WIDTH, 6), nn.ReLU(), nn.Linear(6, WIDTH), nn.Sigmoid())
    return step(lambda m, x: x * m.layers(x.mean((2, 3)))[:, :, None, None], layers=layers)


def encoder():
    return nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, batch_first=True)


def sobel():
    return Buffer(torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]]).repeat(WIDTH, 1, 1, 1))


CONV = 9 * WIDTH**2 * PIXELS

# How it is made, its multiply-accumulates by hand where a hand can tell, and what is not counted.
HABITS = {
    "masks in buffers": (lambda: around(ShiftedWindows()), attention(8)),
    "masks in attributes": (lambda: around(ShiftedWindows(mask="attribute")), attention(8)),
    "masks in arrays": (lambda: around(ShiftedWindows(mask="array")), attention(8)),
    "masks made in the forward": (lambda: around(ShiftedWindows(mask="none")), attention(8)),
    "large windows": (lambda: around(ShiftedWindows(16)), attention(16)),
    "padding to windows": (lambda: around(ShiftedWindows(mask="none", pads=True)), attention(8)),
    "coordinates in a buffer": (
        lambda: around(
            step(located, conv=nn.Conv2d(26, WIDTH, 1), grid=Buffer(coordinates(64, 64)))
        ),
        26 * WIDTH * PIXELS,
    ),
    "coordinates made in the forward": (
        lambda: around(step(located, conv=nn.Conv2d(26, WIDTH, 1), grid=None)),
        26 * WIDTH * PIXELS,
    ),
    "folded in the forward": (
        lambda: around(step(reparameterised, wide=conv(), narrow=conv(1, bias=False))),
        CONV,
    ),
    "edges": (
        lambda: around(
            step(edges, wide=conv(), norm=nn.BatchNorm2d(WIDTH), sobel=sobel(), scale=a_scale())
        ),
        CONV + 9 * WIDTH * PIXELS,
    ),
    "low rank": (
        lambda: around(
            step(
                low_rank,
                conv=conv(bias=False),
                up=nn.Parameter(torch.ones(WIDTH, 2)),
                down=nn.Parameter(torch.ones(2, 9 * WIDTH)),
            )
        ),
        CONV + 2 * 9 * WIDTH**2,
    ),
    "weight norm": (lambda: around(parametrizations.weight_norm(conv())), CONV),
    "spectral norm": (lambda: around(parametrizations.spectral_norm(conv())), None),
    "tied weights": (lambda: around(step(tied, conv=conv(), again=conv())), 2 * CONV),
    "an encoder layer": (
        lambda: around(step(encoded, layer=encoder())),
        attention(8) + 4 * WIDTH**2 * PIXELS,
    ),
    "an autograd.Function": (lambda: around(step(lambda _, x: apply(Swish, x))), 0),
    "an autograd.Function of parameters": (
        lambda: around(
            step(
                lambda m, x: apply(ChannelNorm, x, m.scale, m.shift),
                scale=nn.Parameter(torch.ones(WIDTH)),
                shift=nn.Parameter(torch.zeros(WIDTH)),
            )
        ),
        0,
    ),
    "channel attention by Linear": (lambda: around(channel_attention()), 2 * 6 * WIDTH),
    "gates": (
        lambda: around(
            *(
                step(
                    gated,
                    norm=nn.GroupNorm(1, WIDTH),
                    wide=nn.Conv2d(WIDTH, 2 * WIDTH, 1),
                    point=conv(1),
                    scale=a_scale(),
                )
                for _ in range(6)
            )
        ),
        6 * (3 * WIDTH**2 * PIXELS + WIDTH**2),
    ),
    "an input changed in place": (
        lambda: step(in_place, body=around(nn.ReLU(inplace=True))),
        0,
    ),
    "marks for a profiler": (lambda: around(step(marked, conv=conv())), CONV),
    "data parallel": (lambda: nn.DataParallel(around(conv())), CONV),
    "a compiled part": (lambda: around(torch.compile(conv(), backend="eager")), CONV),
    "compiled in place": (lambda: compiled(around(conv())), CONV),
    "compiled whole": (lambda: torch.compile(around(conv()), backend="eager"), CONV),
}


def a_scale():
    return nn.Parameter(torch.full((WIDTH, 1, 1), 0.1))


def apply(function, *args):
    return function.apply(*args)


def compiled(network):
    network.compile(backend="eager")
    return network


@pytest.mark.parametrize(("build", "macs"), HABITS.values(), ids=HABITS)
@pytest.mark.parametrize("needs_values", [False, True], ids=["without values", "with values"])
def test_an_honest_network_is_not_accused(build, macs, needs_values):
    network = build().eval()
    if needs_values:
        network = nn.Sequential(step(lambda _, x: x if x.mean().item() < 2 else -x), network)
    found = measure_complexity(
        network.eval, input_size=(64, 64), memory_input=(96, 128), counters=COUNTERS
    )
    assert found.audit.by_values is needs_values
    assert {notice.code for notice in found.notices} & ACCUSING == set(), found.notices
    assert found.audit.complete, (found.audit.uncounted, found.audit.opaque)
    counted = found.counters["aten"].macs
    assert macs is None or counted == ENDS + macs


def test_fourier_transforms_are_named_and_nobody_is_accused():
    network = around(step(fourier, conv=nn.Conv2d(2 * WIDTH, 2 * WIDTH, 1)))
    found = measure_complexity(lambda: network, input_size=(64, 64), counters=COUNTERS)
    codes = {notice.code for notice in found.notices}
    assert codes & ACCUSING == set()
    assert "uncounted-operator" in codes


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
def test_half_precision_in_a_run_of_half_precision_is_no_surprise(precision):
    network = step(lambda m, x: m.conv(x.half()).float(), conv=nn.Conv2d(3, 48, 1).half())
    found = measure_complexity(
        network.eval, input_size=(32, 32), counters=("aten",), precision=precision
    )
    codes = [notice.code for notice in found.notices]
    assert codes == ([] if precision == "fp16" else ["mixed-precision"])
