"""The forms of a ``Grid``: terminal, GitHub markdown, LaTeX with booktabs, HTML fragment."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Final

from esrbench.plaintext import line
from esrbench.reports.grid import DAGGERS, Grid, Heading

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType
    from rich.text import Text

    from esrbench.records import Notice
    from esrbench.reports.grid import Align, Cell, Mark, Span, Tone

STYLES: Final[dict[Tone, str]] = {
    "plain": "",
    "best": "bold",
    "second": "underline",
    "good": "green",
    "doubtful": "yellow",
    "wrong": "bold red",
    "faint": "dim",
}
"""Styles of a terminal."""

PLACES: Final[dict[Tone, str]] = {"best": "\N{SUPERSCRIPT ONE}", "second": "\N{SUPERSCRIPT TWO}"}
"""What stands for bold and underlined where nothing can be."""


def grid_terminal(grid: Grid, *, styled: bool) -> RenderableType:
    """A rich table, followed by its notes.

    Args:
        grid: the table.
        styled: bold and underlined text can be shown; superscripts mark places otherwise.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, heading in enumerate(grid.headings):
        # A unit stands on a line of its own, so that 100 columns suffice.
        lines = f"{heading.group}\n{heading.text}" if heading.group else heading.text
        text = lines.replace(" [", "\n[")
        table.add_column(Text(text), justify=heading.align, overflow="fold", no_wrap=index < 2)  # noqa: PLR2004 - labels and names
    apart = any(len(section.rows) > 1 for section in grid.sections)
    for section in grid.sections:
        for index, row in enumerate(section.rows):
            cells = [Text(section.label if index == 0 else "")]
            cells += [_terminal_cell(cell, styled=styled) for cell in row]
            table.add_row(*cells, end_section=apart and index == len(section.rows) - 1)
    parts: list[RenderableType] = [Text(grid.caption, style="bold"), table]
    if grid.ranked:
        best, second = ("bold", "underlined") if styled else (PLACES["best"], PLACES["second"])
        parts.append(Text(f"- {_legend(best, second)}", style="dim"))
    notes = [_led(DAGGERS[note.mark], note.text) for note in grid.notes]
    parts += [Text(f"- {note}", style="dim") for note in notes]
    return Group(*parts)


def _terminal_cell(cell: Cell, *, styled: bool) -> Text:
    from rich.text import Text

    text = Text()
    for index, span in enumerate(cell.spans):
        text.append("/" if index else "")
        text.append(span.text, style=STYLES[span.tone])
        if not styled:
            text.append(PLACES.get(span.tone, ""))
    return text.append(DAGGERS[cell.mark])


def _legend(best: str, second: str) -> str:
    return f"Best of a scale {best}, second best {second}; figures that print alike share it."


def _led(mark: str, text: str) -> str:
    return f"{mark} {text}" if mark else text


def grid_markdown(grid: Grid) -> str:
    """GitHub markdown: best figures bold, second best underlined (``<ins>``), notes as a list."""
    from tabulate import tabulate

    rows = [
        [markdown_text(section.label), *(_joined(cell, _markdown_span, _markdown) for cell in row)]
        for section in grid.sections
        for row in section.rows
    ]
    headings = [markdown_text(f"{each.group} {each.text}".strip()) for each in grid.headings]
    table = tabulate(
        rows,
        headings,
        tablefmt="pipe",
        colalign=[heading.align for heading in grid.headings],
        disable_numparse=True,
    )
    legend = [_legend("**bold**", "<ins>underlined</ins>")] if grid.ranked else []
    notes = [_led(DAGGERS[note.mark], markdown_text(note.text)) for note in grid.notes]
    lines = [f"**{markdown_text(grid.caption)}**", "", table, ""]
    return "\n".join([*lines, *(f"- {note}" for note in (*legend, *notes))]) + "\n"


def markdown_text(text: str) -> str:
    """Text that GitHub shows as it is, also within a table: no markup, link, image or mention."""
    flat = html.escape(line(text, CELL_CHARACTERS), quote=False)
    escaped = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", flat)
    marked = _MARKDOWN_START.sub(r"\1\\\2", escaped)
    return _MARKDOWN_LINK.sub("<!-- -->", marked)


def markdown_notice(notice: Notice) -> str:
    """A typed warning as an item of a list."""
    said = markdown_text(f"{notice.message}. {notice.advice}")
    return f"- **{markdown_text(notice.code)}**: {said}"


def _markdown_span(span: Span) -> str:
    text = markdown_text(span.text)
    return {"best": f"**{text}**", "second": f"<ins>{text}</ins>"}.get(span.tone, text)


def _markdown(mark: Mark) -> str:
    return DAGGERS[mark]


CELL_CHARACTERS: Final = 3000
"""Most of a text in a table or below it."""
_MARKDOWN_START: Final = re.compile(r"^(\d*)([#+.)-])(?=[#\s]|$)")
"""What would begin a heading or a list."""
_MARKDOWN_LINK: Final = re.compile(
    r"(?<=@)(?=\w)|(?<=:)(?=//)|(?i:(?<=www)(?=\.))|(?<=#)(?=\d)|(?<=GH-)(?=\d)"
)
"""Where a mention, an address or an issue is cut in two by an empty comment.

GitHub makes links of them even from escaped characters.
"""

_LATEX: Final = {
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
}
_LATEX_MARKS: Final[dict[Mark, str]] = {
    "": "",
    "published": r"$^{\dagger}$",
    "demo": r"$^{\ddagger}$",
    "random": r"$^{\S}$",
}
WIDE: Final = 6
"""Columns beyond which LaTeX sets a table smaller and closer, to fit the width of two columns."""

_LATEX_TIGHT: Final = (r"\small", r"\setlength{\tabcolsep}{4pt}")
_LATEX_ALIGN: Final[dict[Align, str]] = {"left": "l", "right": "r", "center": "c"}


def grid_latex(grid: Grid, *, label: str) -> str:
    r"""A ``table`` environment that needs ``\usepackage{booktabs}`` and nothing else.

    Best figures are ``\textbf``, second best ``\underline``; notes stand below in footnotesize.

    Args:
        grid: the table.
        label: for ``\ref``; letters, digits and ``:._-`` only.
    """
    columns = "".join(_LATEX_ALIGN[heading.align] for heading in grid.headings)
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{latex_text(grid.caption)}}}",
        rf"\label{{{label}}}",
        *(_LATEX_TIGHT if len(grid.headings) > WIDE else []),
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *_latex_headings(grid),
    ]
    for section in grid.sections:
        lines.append(r"\midrule")
        for index, row in enumerate(section.rows):
            label_cell = latex_text(section.label) if index == 0 else ""
            cells = [label_cell, *(_joined(cell, _latex_span, _LATEX_MARKS.get) for cell in row)]
            lines.append(" & ".join(cells).lstrip() + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = [_led(_LATEX_MARKS[note.mark], latex_text(note.text)) for note in grid.notes]
    if grid.ranked:
        notes.insert(0, _legend(r"\textbf{bold}", r"\underline{underlined}"))
    if notes:
        lines += [
            r"\par\smallskip",
            r"\begin{minipage}{\linewidth}",
            r"\footnotesize\raggedright",
            *(rf"{note}\par" for note in notes),
            r"\end{minipage}",
        ]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _latex_headings(grid: Grid) -> list[str]:
    """One line of headings, or two with rules under the groups."""
    names = " & ".join(latex_text(heading.text) for heading in grid.headings) + r" \\"
    if not any(heading.group for heading in grid.headings):
        return [names]
    cells, rules, at = [], [], 1
    for group, width in grid.groups():
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{latex_text(group)}}}" if group else "")
        if group:
            rules.append(rf"\cmidrule(lr){{{at}-{at + width - 1}}}")
        at += width
    return [" & ".join(cells).lstrip() + r" \\", " ".join(rules), names]


def latex_text(text: str) -> str:
    """Text that LaTeX prints as it is; letters beyond ASCII need UTF-8 input, its default."""
    # Two hyphens would become a dash, as in --data.
    parts = line(text, CELL_CHARACTERS).split("--")
    told = "-{}-".join("".join(_LATEX.get(letter, letter) for letter in part) for part in parts)
    # A line break would take these for its own options.
    return f"{{{told[0]}}}{told[1:]}" if told[:1] in {"[", "*"} else told


def _latex_span(span: Span) -> str:
    text = latex_text(span.text)
    return {"best": rf"\textbf{{{text}}}", "second": rf"\underline{{{text}}}"}.get(span.tone, text)


def grid_html(grid: Grid) -> str:
    """A ``div`` with the table and its notes, ASCII only, without style sheets or scripts.

    Alignment and rules between sections are inline styles, so that it reads well anywhere. Best
    figures are ``strong``, second best ``u``; headers have scopes, and classes
    (``esrbench-table``, ``figure``, ``best``, ``second``, ``notes``) are there to be styled.
    """
    lines = [
        '<div class="esrbench-table">',
        '<table style="border-collapse:collapse">',
        f"<caption>{html_text(grid.caption)}</caption>",
        "".join(f'<colgroup span="{width}"></colgroup>' for _, width in grid.groups()),
        "<thead>",
        *_html_headings(grid),
        "</thead>",
    ]
    for section in grid.sections:
        lines.append('<tbody style="border-top:1px solid">')
        for index, row in enumerate(section.rows):
            cells = []
            if index == 0:
                cells.append(
                    f'<th scope="rowgroup" rowspan="{len(section.rows)}" '
                    'style="vertical-align:top">'
                    f"{html_text(section.label)}</th>"
                )
            name, *figures = (_joined(cell, _html_span, _html_mark) for cell in row)
            cells.append(f'<th scope="row" style="text-align:left">{name}</th>')
            for heading, figure in zip(grid.headings[2:], figures, strict=True):
                cells.append(f"<td {_html_attributes(heading)}>{figure}</td>")
            lines.append(f"<tr>{''.join(cells)}</tr>")
        lines.append("</tbody>")
    lines.append("</table>")
    notes = [_led(_html_mark(note.mark), html_text(note.text)) for note in grid.notes]
    if grid.ranked:
        best, second = '<strong class="best">bold</strong>', '<u class="second">underlined</u>'
        notes.insert(0, _legend(best, second))
    if notes:
        lines += ['<ul class="notes">', *(f"<li>{note}</li>" for note in notes), "</ul>"]
    return "\n".join([*lines, "</div>"]) + "\n"


_PADDED: Final = 'style="padding:0 .5em"'


def _html_attributes(heading: Heading) -> str:
    kind = "text" if heading.align == "left" else "figure"
    return f'class="{kind}" style="text-align:{heading.align};padding:0 .5em"'


def _html_headings(grid: Grid) -> list[str]:
    """One row of headings, or two where columns are grouped."""
    if not any(heading.group for heading in grid.headings):
        cells = [
            f'<th scope="col" {_PADDED}>{html_text(heading.text)}</th>' for heading in grid.headings
        ]
        return [f"<tr>{''.join(cells)}</tr>"]
    top, below, at = [], [], 0
    for group, width in grid.groups():
        if group:
            scope = f'scope="colgroup" colspan="{width}"' if width > 1 else 'scope="col"'
            top.append(f"<th {scope} {_PADDED}>{html_text(group)}</th>")
            texts = [heading.text for heading in grid.headings[at : at + width]]
            below += [f'<th scope="col" {_PADDED}>{html_text(text)}</th>' for text in texts]
        else:
            text = html_text(grid.headings[at].text)
            top.append(f'<th scope="col" rowspan="2" {_PADDED}>{text}</th>')
        at += width
    return [f"<tr>{''.join(top)}</tr>", f"<tr>{''.join(below)}</tr>"]


def html_text(text: str) -> str:
    """Text that a browser shows as it is, whatever encoding the page around it has."""
    flat = html.escape(line(text, CELL_CHARACTERS))
    return flat.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _html_span(span: Span) -> str:
    text = html_text(span.text)
    return {
        "best": f'<strong class="best">{text}</strong>',
        "second": f'<u class="second">{text}</u>',
    }.get(span.tone, text)


def _html_mark(mark: Mark) -> str:
    return f'<sup class="{mark}">{html_text(DAGGERS[mark])}</sup>' if mark else ""


def _joined(
    cell: Cell, of_span: Callable[[Span], str], of_mark: Callable[[Mark], str | None]
) -> str:
    return "/".join(map(of_span, cell.spans)) + (of_mark(cell.mark) or "")
