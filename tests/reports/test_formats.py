import io
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from builders import run
from builders import shown as printed

from esrbench.cli.console import results
from esrbench.ranking.published import official_leaderboard, official_names
from esrbench.ranking.rules import RULES
from esrbench.reports.formats import render
from esrbench.reports.formats.html import html_text
from esrbench.reports.formats.latex import latex_text
from esrbench.reports.formats.markdown import markdown_text
from esrbench.reports.leaderboard import leaderboard_table
from esrbench.reports.table import Heading, Note, Section, Span, Table, TableCell, plain

HOSTILE = r'<script>a</script> & 50% | \x _y_ #1 ~z^ {b} $c$ `d` --data "e" – ×2'  # noqa: RUF001 - what is escaped


def table(name="net_1", note="a note", caption="A table"):
    """Two sections; a pair per data set, then one ungrouped and one wide group."""
    headings = (
        Heading("Scale"),
        Heading("Method"),
        Heading("Params [M]", "", "right"),
        Heading("PSNR/SSIM", "Set5", "right"),
        Heading("PSNR", "Set_14", "right"),
        Heading("Runtime [ms]", "Set_14", "right"),
    )
    pair = TableCell((Span("32.21", "best"), Span("0.8948", "second")), "published")
    rows = (
        (plain(name, mark="demo"), plain("0.715"), pair, plain("1"), plain("2")),
        (plain("other"), plain("–", "faint"), pair, plain("1"), plain("2")),  # noqa: RUF001
    )
    sections = (Section(rows, "×2"), Section(rows[:1], "×4"))  # noqa: RUF001
    return Table(
        headings=headings, sections=sections, caption=caption, notes=(Note(note, "published"),)
    )


ALL = table(HOSTILE, HOSTILE, HOSTILE)


def test_rows_must_be_as_wide_as_the_headings():
    with pytest.raises(ValueError, match="has 1 cells, expected 2"):
        Table(headings=tuple(map(Heading, "abc")), sections=(Section(((plain("x"),),), "s"),))


def shown(grid, *, styled):
    return printed(grid, width=100, styled=styled)


def test_a_terminal_shows_places_by_style_and_a_pipe_by_superscripts():
    assert "32.21¹/0.8948²†" in shown(table(), styled=False)
    assert "net_1‡" in shown(table(), styled=False)
    assert "\x1b[1m32.21\x1b[0m/\x1b[4m0.8948\x1b[0m†" in shown(table(), styled=True)
    assert "32.21/0.8948†" in re.sub(r"\x1b\[[0-9;]*m", "", shown(table(), styled=True))


def test_a_stream_without_the_signs_gets_ascii_in_straight_columns(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setenv("COLUMNS", "100")
    span = Span("27.11", "best", below="12")
    ranked = replace(
        table(),
        sections=(Section(((plain("n"), *[TableCell((span,), "demo")] * 4),), "×2"),),  # noqa: RUF001
    )
    results().print(render(ranked, "terminal"))
    stream.seek(0)
    text = stream.read()
    assert "27.11^1_12++" in text
    assert "-----" in text
    assert "?" not in text
    table_lines = [
        each for each in text.split("A table")[1].splitlines() if not each.startswith("-")
    ]
    assert len(set(map(len, filter(None, table_lines)))) == 1


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_figure_or_name_is_broken_where_a_table_has_sentences(width):
    headings = (
        Heading("run"),
        *(Heading(name, prose=True) for name in ("status", "created", "reason")),
    )
    cells = ("20310101T122547399Z-net-x4-demo", "busy-machine", "2031-01-01 12:25:47")
    reason = "other programs took most of the processor while this entry was timed"
    rows = (tuple(map(plain, (*cells, reason))),)
    text = printed(Table(headings=headings, sections=(Section(rows),)), width=width, styled=False)
    assert max(map(len, text.splitlines())) <= width
    assert all(cell in text for cell in cells)
    assert set(reason.split()) <= set(text.split())


def test_terminals_print_markup_as_text():
    assert "[bold]x[/bold]" in shown(table("[bold]x[/bold]"), styled=False)


def test_markdown_marks_and_repeats_the_section_in_each_row():
    text = render(table(), "markdown")
    assert text.count("**32.21**/<ins>0.8948</ins>†") == 3
    rows = [line for line in text.splitlines() if line.startswith("| ×2")]  # noqa: RUF001
    assert len(rows) == 2
    assert "| Set\\_14 Runtime \\[ms\\] |" in re.sub(r" +", " ", text)
    assert "- † a note" in text


def test_markdown_escapes_what_github_would_read():
    lines = [line for line in render(ALL, "markdown").splitlines() if line.startswith("|")]
    bars = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
    assert bars == {7}
    text = render(ALL, "markdown")
    assert "<script>" not in text
    assert r"&lt;script&gt;a&lt;/script&gt; &amp; 50% \| \\x \_y\_" in text


# LaTeX ------------------------------------------------------------------------------------------


KNOWN_COMMANDS = {
    *("begin", "end", "centering", "caption", "label", "par", "smallskip", "linewidth"),
    *("toprule", "midrule", "bottomrule", "cmidrule", "multicolumn", "textbf", "underline"),
    *(
        "dagger",
        "ddagger",
        "S",
        "times",
        "footnotesize",
        "scriptsize",
        "shortstack",
        "small",
        "setlength",
        "tabcolsep",
        "raggedright",
        "textbackslash",
    ),
    *("textasciitilde", "textasciicircum", "textless", "textgreater", "textbar"),
}
"""All of LaTeX itself or of booktabs."""


def environment_problems(body):
    """Environments that do not nest."""
    problems = []
    stack = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+\*?)\}", body):
        if kind == "begin":
            stack.append(name)
        elif not stack or stack.pop() != name:
            problems.append(f"{name} ends without beginning")
    problems += [f"{name} does not end" for name in stack]
    return problems


def latex_problems(text):
    """Unbalanced braces or environments, rows of a wrong width, bare special characters."""
    problems = []
    body = re.sub(r"(?<!\\)%.*", "", text)
    depth = 0
    for mark in re.findall(r"(?<!\\)(?:\\\\)*([{}])", body):
        depth += 1 if mark == "{" else -1
        if depth < 0:
            problems.append("a brace closes nothing")
    if depth:
        problems.append(f"{depth} braces stay open")
    problems += environment_problems(body)
    found = re.search(r"\\begin\{tabular\}\{([lcr]+)\}(.*?)\\end\{tabular\}", body, re.DOTALL)
    width, rows = len(found[1]), found[2].split(r"\\" + "\n")
    for row in rows[:-1]:
        wide = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", row))
        cells = len(re.findall(r"(?<!\\)&", row)) + 1 + wide
        if cells != width:
            problems.append(f"{cells} cells for {width} columns: {row.strip()}")
        if re.match(r"\s*[\[*]", row):
            problems.append(f"a line break's option: {row.strip()}")
    plain_text = re.sub(r"\\(?:label|cmidrule\(lr\))\{[^}]*\}|\$[^$]*\$", "", body)
    problems += [f"bare {c}" for c in re.findall(r"(?<!\\)[#_^~$]", plain_text)]
    if re.search(r"(?<!\\)%", text.split("\n", 1)[1]):
        problems.append("a bare % hides the rest of its line")
    commands = set(re.findall(r"\\([a-zA-Z]+)", body)) - KNOWN_COMMANDS
    problems += [f"unknown \\{name}" for name in sorted(commands)]
    return problems


def test_the_syntax_check_finds_what_it_should():
    good = render(table(), "latex")
    assert latex_problems(good) == []
    assert latex_problems(good.replace("& other", "other"))
    assert latex_problems(good.replace(r"\end{minipage}", ""))
    assert latex_problems(good.replace(r"\textbf{", r"\textbf"))
    assert latex_problems(good.replace(r"net\_1", "net_1"))
    assert latex_problems(good.replace("a note", "50 % off"))


def test_latex_is_booktabs_with_a_caption_and_a_label():
    text = render(replace(table(), label="tab:x_4"), "latex")
    assert r"\label{tab:x_4}" in text
    assert r"\caption{A table}" in text
    assert r"\textbf{32.21}/\underline{0.8948}$^{\dagger}$" in text
    assert r"\multicolumn{2}{c}{Set\_14}" in text
    assert r"\cmidrule(lr){4-4} \cmidrule(lr){5-6}" in text
    assert "multirow" not in text
    assert text.count(r"\midrule") == 2


@pytest.mark.parametrize("grid", [ALL, table("[x", "*y", "-"), table("*")])
def test_latex_escapes_everything(grid):
    assert latex_problems(render(grid, "latex")) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("conv of 3x3, 5 % worse (a-b, 1.5)", "conv of 3x3, 5 % worse (a-b, 1.5)"),
        ("#Conv -0.5", "#Conv -0.5"),
        ("by @someone and a@b.c", "by @<!-- -->someone and a@<!-- -->b.c"),
        ("see https://a.b, www.c.d", "see https:<!-- -->//a.b, www<!-- -->.c.d"),
        ("fixes #12 and GH-3", "fixes #<!-- -->12 and GH-<!-- -->3"),
        ("![x](y)", r"!\[x\](y)"),
        ("# heading", r"\# heading"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("a\n\n| b |", r"a \| b \|"),
        ("<b onclick=x>&amp;", "&lt;b onclick=x&gt;&amp;amp;"),
        ("\u202ea\u200bb\x9b", "\ufffda\ufffdb\ufffd"),
    ],
)
def test_markdown_text_is_shown_and_not_obeyed(text, shown):
    assert markdown_text(text) == shown


def test_no_form_holds_what_cannot_be_seen():
    told = "\x1b[2J\u202e\u200b"
    for form in (markdown_text, latex_text, html_text):
        shown = form(told)
        assert not set(told[:1] + told[4:]) & set(shown)
        assert "&#8238;" not in shown


def test_latex_text_keeps_two_hyphens_apart_and_dashes_as_they_are():
    assert latex_text("--data a_b 5%") == r"-{}-data a\_b 5\%"
    assert latex_text("1–2") == "1--2"  # noqa: RUF001
    assert latex_text("a\n\nb") == "a b"


ENGINES = ("tectonic", "pdflatex", "xelatex", "lualatex")
ENGINE = next((name for name in ENGINES if shutil.which(name)), None)


@pytest.mark.slow
@pytest.mark.skipif(ENGINE is None, reason=f"none of {', '.join(ENGINES)} is on PATH")
@pytest.mark.parametrize("grid", [table(), ALL])
def test_latex_compiles(grid, tmp_path):
    document = (
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
        f"{render(grid, 'latex')}\\end{{document}}\n"
    )
    (tmp_path / "table.tex").write_text(document)
    options = [] if ENGINE == "tectonic" else ["-interaction=nonstopmode", "-halt-on-error"]
    run(ENGINE, *options, "table.tex", folder=tmp_path)
    assert (tmp_path / "table.pdf").stat().st_size > 0


@pytest.mark.slow
@pytest.mark.skipif(ENGINE is None, reason=f"none of {', '.join(ENGINES)} is on PATH")
def test_four_data_sets_fit_the_width_of_two_columns(tmp_path):
    pair = TableCell((Span("38.27", "best"), Span("0.9614", "second")), "published")
    row = (plain("rfdn-paper"), plain("15.629"), plain("1005.81"), pair, pair, pair, pair)
    groups = ("Set5", "Set14", "BSD100", "Urban100")
    headings = (
        *map(Heading, ("Scale", "Method")),
        *(Heading(text, "", "right") for text in ("Params [M]", "FLOPs [G]")),
        *(Heading("PSNR/SSIM", group, "right") for group in groups),
    )
    wide = Table(headings=headings, sections=(Section((row,), "×4"),))  # noqa: RUF001
    text = render(wide, "latex")
    # 496 pt are the text width of the CVPR and IEEE templates.
    (tmp_path / "table.tex").write_text(
        "\\documentclass[twocolumn]{article}\\setlength{\\textwidth}{496pt}\n"
        f"\\usepackage{{booktabs}}\\begin{{document}}\n{text}\\end{{document}}\n"
    )
    done = run(ENGINE, "table.tex", folder=tmp_path)
    assert "Overfull" not in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.skipif(ENGINE is None, reason=f"none of {', '.join(ENGINES)} is on PATH")
def test_published_leaderboards_fit_the_width_of_two_columns(tmp_path):
    boards = [official_leaderboard(RULES[name]) for name in official_names()]
    texts = [render(leaderboard_table(board), "latex") for board in boards]
    tables = r"\clearpage ".join(texts)
    (tmp_path / "table.tex").write_text(
        "\\documentclass[twocolumn]{article}\\setlength{\\textwidth}{496pt}\n"
        f"\\usepackage{{booktabs}}\\begin{{document}}\n{tables}\\end{{document}}\n"
    )
    done = run(ENGINE, "-interaction=nonstopmode", "table.tex", folder=tmp_path)
    assert "Overfull" not in done.stdout + done.stderr


def test_wide_tables_stack_the_words_of_headings_and_go_over_both_columns():
    headings = (Heading("Entry of a team"), *[Heading("GPU Mem. [MiB]", align="right")] * 6)
    wide = Table(
        headings=headings, sections=(Section(((plain("a\N{REPLACEMENT CHARACTER}"),) * 7,)),)
    )
    text = render(wide, "latex")
    assert r"\begin{table*}" in text
    assert r"Entry of a team & \shortstack[r]{GPU\\ Mem.\\ {[}MiB]} &" in text
    assert "a? & a?" in text
    assert latex_problems(text) == []
    narrow = replace(wide, headings=headings[:6], sections=(Section(((plain("a"),) * 6,)),))
    assert r"\begin{table}" in render(narrow, "latex")
    assert "shortstack" not in render(narrow, "latex")


# HTML -------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Refuses unbalanced tags; keeps texts, and the columns that each table row fills."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open = []
        self.tags = []
        self.texts = []
        self.widths = []
        self._hanging = []  # [columns, rows still to fill]

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.widths.append(sum(columns for columns, rows in self._hanging if rows))
            self._hanging = [[columns, rows - 1] for columns, rows in self._hanging if rows > 1]
        if tag in {"td", "th"}:
            given = dict(attrs)
            columns, rows = (int(given.get(key) or 1) for key in ("colspan", "rowspan"))
            self.widths[-1] += columns
            if rows > 1:
                self._hanging.append([columns, rows - 1])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.mark.parametrize("grid", [table(), ALL])
def test_html_is_balanced_and_every_row_fills_the_table(grid):
    page = Page()
    page.feed(render(grid, "html"))
    page.close()
    assert page.open == []
    assert set(page.widths) == {6}
    headers = [attributes for tag, attributes in page.tags if tag == "th"]
    assert {each.get("scope") for each in headers} == {"col", "colgroup", "row", "rowgroup"}
    spans = [int(given["span"] or 0) for tag, given in page.tags if tag == "colgroup"]
    assert spans == [1, 1, 1, 1, 2]
    assert not {"script", "style", "link", "img"} & {tag for tag, _ in page.tags}


def test_html_shows_hostile_text_as_it_is_in_any_encoding():
    text = render(ALL, "html")
    assert text.isascii()
    page = Page()
    page.feed(text)
    assert page.texts.count(HOSTILE) == 3  # the caption and two rows; the note has a blank before
    assert any(each.strip() == HOSTILE for each in page.texts if each != HOSTILE)


def test_html_has_classes_for_places_and_marks():
    text = render(table(), "html")
    assert '<strong class="best">32.21</strong>/<u class="second">0.8948</u>' in text
    assert '<sup class="published">&#8224;</sup>' in text
    assert '<th scope="rowgroup" rowspan="2" style="vertical-align:top">&#215;2</th>' in text
