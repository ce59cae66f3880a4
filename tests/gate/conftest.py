"""Figures and races made by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from esrbench.environment import describe_environment
from esrbench.gate.figures import (
    EntryFigures,
    Measured,
    Scores,
    Terms,
    WeightsFigure,
    terms_of,
)
from esrbench.protocol import PairDesign, Protocol, digest_of
from esrbench.records import (
    EntryIdentity,
    PairedBatch,
    PairedProcess,
    RaceRecord,
    WeightsIdentity,
)
from esrbench.statistics import judge

if TYPE_CHECKING:
    from collections.abc import Callable

COUNTS = {"params": 1000, "macs_aten": 50_000, "macs_fvcore": 50_100, "predicted_peak_bytes": 4096}
SCORES = {"psnr_rgb": 27.5, "psnr_y": 29.1, "ssim_y": 0.83}
SOFTWARE = {"torch": "2.13.0", "fvcore": "0.1.5", "ptflops": "0.7.5"}


@pytest.fixture
def terms() -> Terms:
    return terms_of(Protocol(latency=None), SOFTWARE)


@pytest.fixture
def figures(terms: Terms) -> EntryFigures:
    """Of an entry with trained weights, scored on ``demo``."""
    return EntryFigures(
        terms=terms.digest,
        weights=WeightsFigure(source="demo", sha256="a" * 64),
        counts=dict(COUNTS),
        scores={"demo": Scores(digest="d" * 64, values=dict(SCORES))},
    )


@pytest.fixture
def measured(terms: Terms, figures: EntryFigures) -> Callable[..., Measured]:
    """What was just measured: the figures above but for what is given."""

    def build(
        name: str = "net",
        *,
        counts: dict[str, float] | None = None,
        scores: dict[str, float] | None = None,
        weights: WeightsFigure | None = None,
        **fields: Any,
    ) -> Measured:
        update: dict[str, Any] = {"counts": {**COUNTS, **(counts or {})}}
        if scores is not None:
            update["scores"] = {"demo": Scores(digest="d" * 64, values={**SCORES, **scores})}
        if weights is not None:
            update["weights"] = weights
        found = fields.pop("figures", figures.model_copy(update=update))
        return Measured(name, 4, found, fields.pop("terms", terms), **fields)

    return build


@pytest.fixture
def make_race() -> Callable[..., RaceRecord]:
    """A race of pairs about a ratio, 1 % to either side, judged by the rule."""

    def build(
        ratio: float,
        *,
        names: tuple[str, str] = ("net", "reference"),
        self_half: float = 0.001,
        set_aside: str | None = None,
        **environment: Any,
    ) -> RaceRecord:
        pairs = tuple((ratio * (1.01 if i % 2 else 1 / 1.01), 1.0) for i in range(90))
        twins = tuple((1 + self_half if i % 2 else 1 / (1 + self_half), 1.0) for i in range(45))
        design = PairDesign(first_look=90, look_every=90, max_pairs=90)
        if set_aside:
            judgement = judge((), (), design, set_aside=90)
        else:
            judgement = judge(pairs, twins, design)
        assert judgement is not None
        described = describe_environment(threads=2, accelerator=None).model_copy(
            update={"cpu": "a processor", "packages": {"torch": "2.13.0"}, **environment}
        )
        identities = [
            EntryIdentity(
                name=name,
                scale=4,
                factory="somewhere:Net",
                origin="tests",
                code_sha256=None,
                role="network",
                weights=WeightsIdentity(source="random"),
            )
            for name in names
        ]
        return RaceRecord(
            race_id=f"race-{names[0]}",
            created=datetime(2026, 1, 1, tzinfo=UTC),
            duration_seconds=12.4,
            candidate=identities[0],
            baseline=identities[1],
            protocol=Protocol(counted_input=(48, 48)),
            design=design,
            environment=described,
            environment_digest=digest_of(described),
            processes=(
                PairedProcess(
                    cpus=(0,),
                    batches=(PairedBatch(pairs=pairs, self_pairs=twins, set_aside=set_aside),),
                ),
            ),
            estimate=judgement.estimate,
            self_check=judgement.self_check,
            verdict=judgement.verdict,
            reason=judgement.reason,
        )

    return build


@pytest.fixture(autouse=True)
def _more_than_one_cpu(all_cpus: None) -> None:
    """Two threads or processes are part of what is tested here."""
