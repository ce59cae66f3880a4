from __future__ import annotations

from esrbench.reports.formats import grid_latex, grid_markdown
from esrbench.reports.paper_grid import paper_grid
from esrbench.reports.paper_table import ComparedRow, PrintedRow


def row(scale: int, flops: str) -> ComparedRow:
    """IMDN of the paper's table 3; its counts are those of the challenge's counter and aten's."""
    printed = PrintedRow(
        system="IMDN",
        scale=scale,
        params_k="715",
        flops_g=flops,
        params_entry="imdn",
        flops_entry="imdn-challenge",
        carn_720p_g="",
    )
    return ComparedRow(
        printed=printed,
        params=715_176,
        params_verdict="exact",
        flops_origin="ntire2022",
        flops_by_paper=58_531_512_320,
        flops_verdict="inconsistent" if flops else "not printed",
        macs=46_520_000_000,
        remark="FLOPs are of imdn-challenge",
    )


def test_rows_of_a_system_stand_together_with_both_figures_and_verdicts() -> None:
    grid = paper_grid([row(3, ""), row(4, "58.53")], caption="Table 3")
    (section,) = grid.sections
    assert section.label == "IMDN"
    cells = [[span.text for cell in each for span in cell.spans] for each in section.rows]
    assert cells[1] == [
        *("×4", "715", "715.2", "exact", "58.53", "58.53"),  # noqa: RUF001 - as printed
        *("46.52", "ntire2022", "inconsistent", "FLOPs are of imdn-challenge"),
    ]
    assert cells[0][4] == "–"  # noqa: RUF001 - as printed
    assert section.rows[1][8].spans[0].tone == "wrong"
    assert "Params [K]" in {heading.group for heading in grid.headings}


def test_it_takes_the_forms_of_comparison_tables() -> None:
    grid = paper_grid([row(4, "58.53")], caption="Table 3")
    assert "- rule ntire2022: the challenge's counter" in grid_markdown(grid)
    assert r"\multicolumn{5}{c}{FLOPs [G]}" in grid_latex(grid, label="tab:complexity")
    assert "best" not in grid_markdown(grid)
