"""Figures and races made by hand."""

import builders
import pytest

from esrbench.gate.figures import (
    EntryFigures,
    Measured,
    Scores,
    WeightsFigure,
    terms_of,
)
from esrbench.protocol import Protocol

COUNTS = {"params": 1000, "macs_aten": 50_000, "macs_fvcore": 50_100, "predicted_peak_bytes": 4096}
SCORES = {"psnr_rgb": 27.5, "psnr_y": 29.1, "ssim_y": 0.83}
SOFTWARE = {"torch": "2.13.0", "fvcore": "0.1.5", "ptflops": "0.7.5"}


@pytest.fixture
def terms():
    return terms_of(Protocol(latency=None), SOFTWARE)


@pytest.fixture
def figures(terms):
    """Of an entry with trained weights, scored on ``demo``."""
    return EntryFigures(
        terms=terms.digest,
        weights=WeightsFigure(source="demo", sha256="a" * 64),
        counts=dict(COUNTS),
        scores={"demo": Scores(digest="d" * 64, values=dict(SCORES))},
    )


@pytest.fixture
def measured(terms, figures):
    """What was just measured: the figures above but for what is given."""

    def build(name="net", *, counts=None, scores=None, weights=None, **fields):
        update = {"counts": {**COUNTS, **(counts or {})}}
        if scores is not None:
            update["scores"] = {"demo": Scores(digest="d" * 64, values={**SCORES, **scores})}
        if weights is not None:
            update["weights"] = weights
        found = fields.pop("figures", figures.model_copy(update=update))
        return Measured(name, 4, found, fields.pop("terms", terms), **fields)

    return build


@pytest.fixture
def make_race():
    return builders.race


@pytest.fixture(autouse=True)
def _more_than_one_cpu(all_cpus):
    """Two threads or processes are part of what is tested here."""
