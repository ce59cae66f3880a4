"""Draws the pictures of README.md: ``python docs/pictures.py``; the second needs Chromium.

``pictures/inputs.json`` has the digest of what they show. A test compares it with that of now, so
that a picture whose figures changed is drawn again.
"""

import hashlib
import io
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from esrbench.ranking.published import official_leaderboard
from esrbench.ranking.rules import get_rule
from esrbench.reports.formats import render
from esrbench.reports.leaderboard import leaderboard_table

FOLDER = Path(__file__).parent / "pictures"
EDITION = "ntire2026"
COMMAND = f"esrbench leaderboard --official {EDITION}"


def inputs() -> dict[str, str]:
    """Digest of the figures that the pictures show."""
    shown = render(leaderboard_table(official_leaderboard(get_rule(EDITION))), "csv")
    return {COMMAND: hashlib.sha256(str(shown).encode()).hexdigest()}


def draw_table(path: Path) -> None:
    """Draw the table as a terminal prints it."""
    console = Console(record=True, width=142, file=io.StringIO(), force_terminal=True)
    console.print(f"[bold green]$[/] {COMMAND}")
    console.print(render(leaderboard_table(official_leaderboard(get_rule(EDITION))), "terminal"))
    drawn = console.export_svg(title="esrbench")
    # The picture must not fetch a font.
    path.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL))


def draw_page(path: Path) -> None:
    """Draw the part of the page that shows the trade-off."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as browsers:
        page = Path(folder) / "page.html"
        command = (sys.executable, "-m", "esrbench", "report", "--official", EDITION, "-o", page)
        subprocess.run(command, check=True)  # noqa: S603
        chromium = browsers.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        view = chromium.new_page(viewport={"width": 1100, "height": 900})
        view.goto(page.as_uri())
        part = view.locator("#trade-off")
        part.evaluate("part => { part.style.padding = '16px' }")
        part.screenshot(path=path)
        chromium.close()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    draw_table(FOLDER / "table.svg")
    draw_page(FOLDER / "page.png")
    (FOLDER / "inputs.json").write_text(json.dumps(inputs(), indent=2) + "\n")
