from __future__ import annotations

from esrbench.entries.registry import default_registry
from esrbench.reports.comparison_sources import published_figures, quality_rows


def test_published_quality_is_plausible_and_agrees_with_descriptors() -> None:
    registry = default_registry()
    rows = list(quality_rows())
    assert len(rows) == 33 * 8
    declared = published_figures(registry)
    psnr: dict[tuple[str, int, str | None], float] = {}
    for entry, figure in rows:
        assert entry in registry
        assert figure.scale in registry.get(entry).scales
        assert declared[entry, figure.metric, figure.scale, figure.data].value == figure.value
        if figure.metric == "psnr_y":
            psnr[entry, figure.scale, figure.data] = figure.value
    for (entry, scale, data), value in psnr.items():
        if entry != "bicubic":
            assert 0.5 < value - psnr["bicubic", scale, data] < 7
