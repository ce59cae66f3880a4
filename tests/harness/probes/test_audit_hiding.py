"""Weights and work out of the counters' sight: the audit finds or names them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import _disable_current_modes

from harness.probes.audit import measure_audit, notices_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.records import Audit


class Step(nn.Module):
    """A forward given as a function of the module and its input."""

    def __init__(self, run: Callable[[Any, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def audited(network: nn.Module) -> Audit:
    return measure_audit(network.eval(), input_sizes=[(8, 6)])


def codes(audit: Audit, network: nn.Module) -> list[str]:
    params = sum(parameter.numel() for parameter in network.parameters())
    return [notice.code for notice in notices_of(audit, params)]


def without_meta(image: Tensor) -> Tensor:
    """The image, in a forward that needs its values."""
    image.tolist()
    return image


# Two convolutions of 216 and 864 weights, kept in one way or another.
SHAPES = ((8, 3, 3, 3), (12, 8, 3, 3))
WEIGHTS = [
    torch.rand(shape, generator=torch.Generator().manual_seed(index))
    for index, shape in enumerate(SHAPES)
]


def sr(image: Tensor, weights: list[Tensor]) -> Tensor:
    for weight in weights:
        image = functional.conv2d(image, weight, padding=1)
    return functional.pixel_shuffle(image, 2)


class Keeps(nn.Module):
    """Keeps its weights as parameters, or where counters of parameters do not look."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where
        flat = torch.cat([weight.flatten() for weight in WEIGHTS])
        if where == "parameters":
            self.kept: Any = nn.ParameterList(WEIGHTS)
        elif where == "buffers":
            self.register_buffer("first", WEIGHTS[0])
            self.register_buffer("second", WEIGHTS[1])
        elif where == "one buffer":
            self.register_buffer("flat", flat)
        elif where == "attributes":
            self.kept = list(WEIGHTS)
        elif where == "arrays":
            self.kept = [weight.numpy() for weight in WEIGHTS]
        elif where == "lists":
            self.kept = [weight.tolist() for weight in WEIGHTS]

    def forward(self, x: Tensor) -> Tensor:
        if self.where == "buffers":
            return sr(x, [self.first, self.second])
        if self.where == "one buffer":
            return sr(
                x,
                [part.view(s) for part, s in zip(self.flat.split([216, 864]), SHAPES, strict=True)],
            )
        if self.where == "arrays":
            return sr(x, [torch.from_numpy(array) for array in self.kept])
        if self.where == "lists":
            return sr(x, [torch.tensor(values, device=x.device) for values in self.kept])
        if self.where == "seeds":
            generator = torch.Generator().manual_seed(0)
            return sr(x, [torch.randn(shape, generator=generator) for shape in SHAPES])
        return sr(x, list(self.kept))


@pytest.mark.parametrize(
    "where", ["parameters", "buffers", "one buffer", "attributes", "arrays", "lists", "seeds"]
)
def test_weights_count_the_same_wherever_they_are(where: str) -> None:
    network = Keeps(where)
    audit = audited(network)
    assert audit.sizes[0].macs == 1080 * 48
    assert (audit.effective_constants, audit.constant_bytes) == (1080, 4320)
    assert audit.complete
    notices = list(notices_of(audit, sum(each.numel() for each in network.parameters())))
    if where == "parameters":
        assert notices == []
    else:
        (notice,) = notices
        assert notice.code == "hidden-constants"
        assert "1,080 constants meet the image, of which 0 are parameters" in notice.message


def test_a_few_constants_are_no_hidden_weights() -> None:
    audit = audited(Keeps("buffers"))
    assert [list(notices_of(audit, params)) for params in (80, 1080)] == [[], []]
    assert [notice.code for notice in notices_of(audit, 79)] == ["hidden-constants"]
    large = audit.model_copy(update={"effective_constants": 1_010_000})
    assert list(notices_of(large, 1_000_000)) == []
    assert [notice.code for notice in notices_of(large, 999_999)] == ["hidden-constants"]


def by_numpy(image: Tensor) -> Tensor:
    return torch.from_numpy(np.repeat(np.repeat(image.numpy(), 2, 2), 2, 3))


def by_thread(image: Tensor) -> Tensor:
    results: list[Tensor] = []
    worker = threading.Thread(target=lambda: results.append(sr(image, WEIGHTS)))
    worker.start()
    worker.join()
    return results[0]


def without_modes(image: Tensor) -> Tensor:
    with _disable_current_modes():
        return sr(image, WEIGHTS)


def without_dispatch(image: Tensor) -> Tensor:
    with torch._C._DisableTorchDispatch():
        return sr(image, WEIGHTS)


@pytest.mark.parametrize("work", [by_numpy, by_thread, without_modes, without_dispatch])
def test_work_out_of_sight(work: Callable[[Tensor], Tensor]) -> None:
    network = Step(lambda _, x: work(without_meta(x)))
    audit = audited(network)
    assert (audit.derived_output, audit.complete) == (False, False)
    assert audit.sizes[0].macs == 0
    assert "hidden-work" in codes(audit, network)


def test_work_out_of_sight_that_is_added_to_the_image_is_a_constant() -> None:
    network = Step(
        lambda _, x: functional.interpolate(x, scale_factor=8) + by_numpy(by_numpy(by_numpy(x)))
    )
    audit = audited(network)
    assert audit.effective_constants == 3 * 64 * 48
    assert audit.opaque == {"Tensor.numpy": 1}
    assert not audit.complete
    assert codes(audit, network) == ["hidden-constants", "opaque-operator"]


def test_pixels_that_leave_torch_are_named() -> None:
    def writes(_: nn.Module, image: Tensor) -> Tensor:
        enlarged = functional.interpolate(image, scale_factor=2)
        enlarged.numpy()[...] = 0.5  # whatever was computed elsewhere
        return enlarged

    audit = audited(Step(writes))
    assert (audit.derived_output, audit.complete) == (True, False)
    assert audit.opaque == {"Tensor.numpy": 1}


@pytest.mark.parametrize(
    ("product", "named"),
    [
        (lambda w, x: (x.unsqueeze(1) * w).sum(2), True),
        (lambda w, x: (x.unsqueeze(1).expand(1, 5, 3, 8, 6) * w).sum(2), True),
        (lambda w, x: x * w[:, 0], False),
        (lambda w, x: w[0] * w[:, :1] + x[:, :1], False),
    ],
    ids=["convolution by broadcast", "expanded first", "scale of channels", "of constants"],
)
def test_a_convolution_in_elementwise_clothes_is_named(
    product: Callable[[Tensor, Tensor], Tensor], named: bool
) -> None:
    network = Step(
        lambda m, x: product(m.c.weight[..., None, None], x), c=nn.Linear(3, 5 if named else 1)
    )
    audit = audited(network)
    assert ("aten::mul (outer product)" in audit.uncounted) is named
    assert audit.complete is not named


def test_tensors_that_answer_operators_themselves_are_opaque() -> None:
    class Hides(Tensor):
        @classmethod
        def __torch_dispatch__(
            cls, func: Any, _types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            plain = [arg.as_subclass(Tensor) if isinstance(arg, cls) else arg for arg in args]
            return func(*plain, **(kwargs or {}))

    network = Step(lambda _, x: torch.neg(torch.Tensor._make_subclass(Hides, x)))
    audit = audited(network)
    assert "aten::neg of Hides" in audit.opaque
    assert not audit.complete
