"""LaTeX: a ``table`` environment that needs the package booktabs and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from esrbench.plaintext import line
from esrbench.reports.markup import Markup
from esrbench.reports.table import CELL_CHARACTERS

if TYPE_CHECKING:
    from esrbench.reports.table import Align, Heading, Table

_TIGHTEST: Final = (r"\scriptsize", r"\setlength{\tabcolsep}{2.5pt}")
_TIGHT: Final = {
    4: (r"\footnotesize", r"\setlength{\tabcolsep}{3pt}"),
    5: _TIGHTEST,
    6: (r"\scriptsize", r"\setlength{\tabcolsep}{0.5pt}"),
    7: (r"\small", r"\setlength{\tabcolsep}{4pt}"),
    10: (r"\scriptsize", r"\setlength{\tabcolsep}{4pt}"),
    12: _TIGHTEST,
    14: (r"\scriptsize", r"\setlength{\tabcolsep}{1.5pt}"),
}
"""Commands for a table, by its least number of columns. They make it small enough for one column of
a two-column article (3.25 in), or for the width of both."""
_BOTH_COLUMNS: Final = 7
"""A table with at least this many columns goes across both columns of a page."""
_ALIGN: Final[dict[Align, str]] = {"left": "l", "right": "r", "center": "c"}
_LETTERS: Final = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\N{REPLACEMENT CHARACTER}": "?",  # which pdflatex refuses
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",  # noqa: RUF001 - what is replaced
    "—": "---",
    "×": r"$\times$",  # noqa: RUF001 - what is replaced
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "±": r"$\pm$",
    "µ": r"$\mu$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "§": r"\S{}",
    "¶": r"\P{}",
    "•": r"$\bullet$",
    "→": r"$\rightarrow$",
}


def render(table: Table) -> str:
    r"""The environment, labelled for ``\ref``.

    Best figures are ``\textbf``, second best ``\underline``; the lead and the notes stand below in
    footnotesize.
    """
    float_ = "table*" if table.wide or len(table.headings) >= _BOTH_COLUMNS else "table"
    columns = "".join(_ALIGN[heading.align] for heading in table.headings)
    lines = [
        "% needs \\usepackage{booktabs}",
        rf"\begin{{{float_}}}[t]",
        r"\centering",
        rf"\caption{{{latex_text(table.caption)}}}",
        rf"\label{{{table.label}}}",
        *_tight(table),
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *_headings(table),
    ]
    for section in table.sections:
        lines.append(r"\midrule")
        lines += [
            " & ".join(map(MARKUP.cell, row)).lstrip() + r" \\" for row in table.rows(section)
        ]
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = [*MARKUP.lead(table), *MARKUP.notes(table)]
    if notes:
        lines += [
            r"\par\smallskip",
            r"\begin{minipage}{\linewidth}",
            r"\footnotesize\raggedright",
            *(rf"{note}\par" for note in notes),
            r"\end{minipage}",
        ]
    return "\n".join([*lines, rf"\end{{{float_}}}"]) + "\n"


def _tight(table: Table) -> tuple[str, ...]:
    fits = [how for least, how in _TIGHT.items() if len(table.headings) >= least]
    return _TIGHTEST if table.wide else fits[-1] if fits else ()


def _headings(table: Table) -> list[str]:
    """One line of headings, or two with rules under the groups."""
    if not any(heading.text for heading in table.headings):
        return []
    grouped = any(heading.group for heading in table.headings)
    stacked = not grouped and len(table.headings) >= _BOTH_COLUMNS
    names = " & ".join(_heading(heading, stacked=stacked) for heading in table.headings) + r" \\"
    if not grouped:
        return [names]
    cells, rules, at = [], [], 1
    for group, width in table.groups():
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{latex_text(group)}}}" if group else "")
        if group:
            rules.append(rf"\cmidrule(lr){{{at}-{at + width - 1}}}")
        at += width
    return [" & ".join(cells).lstrip() + r" \\", " ".join(rules), names]


def _heading(heading: Heading, *, stacked: bool) -> str:
    """A column's heading; above figures, ``stacked`` puts its words below one another."""
    words = heading.text.split()
    if not stacked or heading.align == "left" or len(words) < 2:  # noqa: PLR2004 - one is no stack
        return latex_text(heading.text)
    lines = "\\\\ ".join(map(latex_text, words))
    return rf"\shortstack[{_ALIGN[heading.align]}]{{{lines}}}"


def latex_text(text: str) -> str:
    """Text that LaTeX prints as it is; letters beyond ASCII need UTF-8 input, its default."""
    # Two hyphens would become a dash, as in --data.
    parts = line(text, CELL_CHARACTERS).split("--")
    told = "-{}-".join("".join(_LETTERS.get(letter, letter) for letter in part) for part in parts)
    # A line break would take these for its own options.
    return f"{{{told[0]}}}{told[1:]}" if told[:1] in {"[", "*"} else told


MARKUP: Final = Markup(
    text=latex_text,
    tones={"best": r"\textbf{%s}", "strong": r"\textbf{%s}", "second": r"\underline{%s}"},
    below=r"\textsubscript{%s}",
    marks={
        "": "",
        "published": r"$^{\dagger}$",
        "claimed": r"$^{\P}$",
        "demo": r"$^{\ddagger}$",
        "random": r"$^{\S}$",
    },
    cite=r"~\cite{%s}",
)
