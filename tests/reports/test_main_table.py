"""The main table of a challenge's report."""

import shutil

import pytest
from builders import csv_rows, run

from esrbench.ranking.published import official_leaderboard
from esrbench.ranking.rules import RULES
from esrbench.reports.formats import render
from esrbench.reports.main_table import main_table


def headings(table):
    return [f"{each.group} {each.text}".strip() for each in table.headings]


def test_2026_has_a_column_for_each_split():
    table = main_table(official_leaderboard(RULES["ntire2026"]))
    assert headings(table) == [
        "Team",
        "Rank Main",
        "PSNR [dB] valid",
        "PSNR [dB] test",
        "Runtime [ms] valid",
        "Runtime [ms] test",
        "Runtime [ms] mean",
        "Params [M]",
        "FLOPs (fvcore) [G]",
        "Acts [M]",
        "GPU Mem. [MiB]",
        "#Conv",
    ]
    first, *_ = table.sections[0].rows
    assert [str(cell) for cell in first] == [
        *("22_SPANV2_ESR_C2*", "1", "26.92", "27.00", "5.69", "4.80", "5.24₁"),
        *("0.139₅", "1.59₁", "42.99", "417.51", "18"),
    ]
    assert [len(section.rows) for section in table.sections] == [13, 3]
    assert len(csv_rows(table)) == 16


def test_2022_has_the_mean_runtime_and_three_ranks():
    table = main_table(official_leaderboard(RULES["ntire2022"]))
    assert headings(table)[:6] == [
        *("Team", "Rank Main", "Rank Sub 1", "Rank Sub 2", "PSNR [dB] valid", "PSNR [dB] test")
    ]
    assert headings(table)[6] == "Runtime [ms]"
    first, *_ = table.sections[0].rows
    # As printed: ranks 1, 22 and 33 points, runtime 27.11 (1), 0.317 (11), 19.70 (11), 80.05 (6).
    assert [str(cell) for cell in first] == [
        *("ByteESR", "1", "11", "2", "29.00", "28.72", "27.11₁"),
        *("0.317₁₁", "19.70₁₁", "80.05₆", "377.91₄", "39"),
    ]


def test_only_the_notes_that_it_needs_stand_below():
    board = official_leaderboard(RULES["ntire2026"])
    notes = [note.text for note in main_table(board).notes]
    assert len(notes) == 6
    assert notes[0].startswith("Gate: ")
    assert notes[2].startswith("* ")
    assert "21_SAFMN is not ranked" in "".join(notes)


PAPER = r"""\documentclass[twocolumn,10pt]{article}
\usepackage[textwidth=6.875in,textheight=8.875in]{geometry}\usepackage{booktabs}
\begin{document}
%s
\end{document}
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not on PATH")
@pytest.mark.parametrize("edition", ["ntire2022", "ntire2023", "ntire2026"])
def test_it_compiles_as_it_is_and_fits_two_columns(tmp_path, edition):
    text = render(main_table(official_leaderboard(RULES[edition])), "latex")
    assert text.count(r"\begin{table*}") == 1
    (tmp_path / "paper.tex").write_text(PAPER % text)
    done = run("pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper", folder=tmp_path)
    assert "Overfull" not in done.stdout
    assert (tmp_path / "paper.pdf").stat().st_size > 0
