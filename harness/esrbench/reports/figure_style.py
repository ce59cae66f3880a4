"""What all figures of papers share: widths, fonts, colours, marks behind names, and files.

Equal data give equal bytes: no dates, no random names, fixed fonts. Text is embedded as TrueType
(type 42), which publishers ask for. Colours are those of Okabe and Ito, which colour-blind readers
can tell apart.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from esrbench.errors import UsageError
from esrbench.plaintext import shortened
from esrbench.ranking.footnotes import WEIGHTS_NOTES
from esrbench.reports.comparison import MARKS
from esrbench.reports.formats.latex import latex_text
from esrbench.reports.table import DAGGERS, Note

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

WIDTHS: Final = {1: 3.25, 2: 6.875}
"""Inches of one and two columns of a two-column article."""
FORMATS: Final = ("pdf", "svg", "png", "pgf")
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#999999"
STYLE: Any = {
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "esrbench",
    "pgf.texsystem": "pdflatex",
    "pgf.rcfonts": False,  # a paper has its own
    "text.parse_math": False,  # names are no formulas
    "hatch.linewidth": 0.5,
    "font.size": 8,
    "axes.linewidth": 0.6,
    "savefig.dpi": 300,
}
NAME_CHARACTERS: Final = 28
"""Most of a name in a figure."""


@contextmanager
def styled(width: float, height: float) -> Iterator[Figure]:
    """A figure of a size in inches, and ``STYLE`` while it is drawn: nobody else's settings change.

    Raises:
        UsageError: matplotlib is missing.
    """
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        message = "figures need matplotlib, which is not installed"
        raise UsageError(message, advice="Install it: pip install 'esrbench[figures]'.") from error
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)  # measures texts
        yield figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of its file name.

    Raises:
        UsageError: another format than ``FORMATS``, the file cannot be written, or PGF without
            pdflatex, which measures its texts.
    """
    form = path.suffix.removeprefix(".").lower()
    if form not in FORMATS:
        message = f"{path}: expected a name that ends in .{', .'.join(FORMATS)}"
        raise UsageError(message, advice="For example -o figure.pdf.")
    # Metadata of a file about the time when it was made.
    dates: dict[str, Any] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    options = {"metadata": dates[form]} if form in dates else {}
    import matplotlib as mpl
    from matplotlib.text import Text

    texts: list[Any] = figure.findobj(Text) if form == "pgf" else []
    shown = [text.get_text() for text in texts]
    try:
        with mpl.rc_context(STYLE):
            # PGF files are LaTeX, which would obey a name.
            for text, plain in zip(texts, shown, strict=True):
                text.set_text("\n".join(map(latex_text, plain.split("\n"))))
            figure.savefig(path, format=form, **options)
    except RuntimeError as error:
        message = f"{path}: pdflatex, which measures texts of .pgf files, failed or is missing"
        raise UsageError(message, advice="Install TeX Live, or write a .pdf file.") from error
    except OSError as error:
        message = f"{path}: cannot be written: {error.strerror or error}"
        raise UsageError(message, advice="Give -o a file in a folder that is there.") from error
    finally:
        for text, plain in zip(texts, shown, strict=True):
            text.set_text(plain)


def weights_notes(sources: Sequence[str | None]) -> list[Note]:
    """Notes on weights that a reader must know, by the marks behind names."""
    return [Note(f"{said}.", each) for each, said in WEIGHTS_NOTES.items() if each in sources]


def marks_below(figure: Figure, weights: Sequence[str | None], told: Sequence[str] = ()) -> None:
    """Below the figure: what is told, and what the marks behind names mean."""
    lines = [*told, *(f"{DAGGERS[n.mark]} {n.text}" for n in weights_notes(weights))]
    if lines:
        figure.supxlabel("\n".join(lines), fontsize=6, color="0.35")


def marked_name(name: str, weights: str | None) -> str:
    """A short name with the mark of the source of its weights."""
    return short_name(name) + DAGGERS[MARKS.get(weights, "")]


def short_name(name: str) -> str:
    """A name of at most ``NAME_CHARACTERS`` characters."""
    return shortened(name, NAME_CHARACTERS)
