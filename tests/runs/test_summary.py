"""Figures that fail closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from esrbench.probes.complexity import measure_complexity
from esrbench.records import Absent, Complexity, Value, WeightsIdentity
from esrbench.runs.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Callable

ATEN = ("macs_aten", "activations_aten", "conv_calls_aten")
SKIPPED = Absent(kind="skipped", reason="not asked for")


class Step(nn.Module):
    """A convolution and what is done to its features."""

    def __init__(self, run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.run = run

    def forward(self, image: Tensor) -> Tensor:
        return self.run(self.conv(image))


def values(run: Callable[[Tensor], Tensor], **changes: Any) -> dict[str, Value | Absent]:
    complexity: Complexity = measure_complexity(
        lambda: Step(run), input_size=(8, 6), counters=("ntire2022", "aten")
    )
    return summarise(
        complexity=complexity.model_copy(update=changes),
        quality=SKIPPED,
        latency=SKIPPED,
        memory=SKIPPED,
        weights=WeightsIdentity(source="random"),
    )


def hidden(features: Tensor) -> Tensor:
    return torch.from_numpy(features.numpy() * 2)


def test_a_whole_count_is_a_value() -> None:
    found = values(torch.relu)
    assert [found[key] for key in ATEN] == [
        Value(value=12 * 48),
        Value(value=4 * 48),
        Value(value=1),
    ]
    assert found["effective_constants"] == Value(value=16)


@pytest.mark.parametrize(
    ("run", "missed", "constants"),
    [
        (lambda x: torch.fft.fft2(x).real, "aten::_fft_c2c", True),
        (lambda x: (x[:, None] * x[:, :, None]).sum(1), "aten::mul (summed)", True),
        (hidden, "Tensor.numpy", False),
    ],
    ids=["unknown", "summed products", "out of sight"],
)
def test_an_incomplete_count_is_absent(
    run: Callable[[Tensor], Tensor], missed: str, constants: bool
) -> None:
    found = values(run)
    for key in ATEN:
        absent = found[key]
        assert isinstance(absent, Absent), key
        assert missed in absent.reason
        assert "aten::sum" not in absent.reason
    assert isinstance(found["effective_constants"], Value) is constants
    assert found["macs_ntire2022"] == Value(value=12 * 48)


def test_without_an_audit_there_is_no_figure() -> None:
    failed = Absent(kind="failed", reason="the network could not be audited: too high")
    found = values(torch.relu, audit=failed)
    assert [found[key] for key in (*ATEN, "effective_constants")] == [failed] * 4


def less_without_values(features: Tensor) -> Tensor:
    return features if features.is_meta else features.flatten(2).mT @ features.flatten(2)


def test_nothing_found_without_values_is_a_figure_where_values_find_otherwise() -> None:
    found = values(less_without_values)
    keys = ("macs_ntire2022", "activations_ntire2022", "conv_calls_ntire2022", *ATEN)
    for key in (*keys, "effective_constants"):
        absent = found[key]
        assert isinstance(absent, Absent), key
        assert "576 multiply-accumulates" in absent.reason
        assert "9,792 " in absent.reason
    assert found["params"] == Value(value=16)
