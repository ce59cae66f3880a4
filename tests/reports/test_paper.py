import shutil

import pytest
from builders import noise, record, run

from esrbench.data.crops import Crop
from esrbench.entries.registry import default_registry
from esrbench.reports.comparing import build_comparison
from esrbench.reports.comparison import comparison_table
from esrbench.reports.comparison_sources import Wanted, write_references
from esrbench.reports.crops import Panel, save_tabular
from esrbench.reports.figure_style import save
from esrbench.reports.figures import pareto
from esrbench.reports.formats import render

PAPER = r"""\documentclass[twocolumn,10pt]{article}
\usepackage[letterpaper,textwidth=6.875in,columnsep=0.375in,textheight=9in]{geometry}
\usepackage{booktabs,graphicx}
\begin{document}
\input{table.tex}
\begin{figure}[t]\noindent\includegraphics{pareto.pdf}\end{figure}
\begin{figure}[t]\noindent\input{narrow.tex}\end{figure}
\begin{figure*}[t]\noindent\input{crops.tex}\end{figure*}
\bibliographystyle{plain}\bibliography{networks}
\end{document}
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not on PATH")
@pytest.mark.parametrize("scales", [(4,), (2, 4)])
def test_tables_and_figures_fit_a_paper_of_two_columns(scales, tmp_path):
    names = ("bicubic", "srcnn", "imdn", "rfdn-paper", "rcan")
    counts = {"params": 15.592e6, "macs_ntire2022": 1043.2e9, "macs_1280x720": 916.9e9}
    scores = {"psnr_y": 26.82, "ssim_y": 0.8087}
    known = {"data": "urban100", "title": "Urban100", "verified": True}
    runs = [record("rcan", counts | scores, scale=scale, **known) for scale in scales]
    wanted = Wanted(entries=names, data=("urban100",), scales=scales, published=True)
    comparison = build_comparison(runs, wanted, default_registry())
    (tmp_path / "table.tex").write_text(render(comparison_table(comparison), "latex"))
    write_references(tmp_path / "networks.bib")
    chart = Wanted(data=("urban100",), scales=(4,), columns=("params", "psnr_y"), published=True)
    save(pareto(build_comparison([], chart, default_registry())), tmp_path / "pareto.pdf")
    panels = [Panel(name, "26.11/0.7858", noise(1)) for name in ("HR", "a_b & c", "\\x", "50 %")]
    whole, box = Panel("image_1", "", noise(2, 96, 120)), Crop("image_1", 0, 0, 48, 36)
    save_tabular(panels, tmp_path / "crops.tex", whole=whole, box=box)
    save_tabular(panels, tmp_path / "narrow.tex", whole=whole, box=box, columns=1)
    (tmp_path / "paper.tex").write_text(PAPER)
    latex = ("pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper")
    run(*latex, folder=tmp_path)
    run("bibtex", "paper", folder=tmp_path)
    run(*latex, folder=tmp_path)
    done = run(*latex, folder=tmp_path)
    assert "Overfull" not in done.stdout
    assert "undefined" not in done.stdout
    assert "Jie Tang" in (tmp_path / "paper.bbl").read_text()
