"""The pages of ``docs/``: the site is built of them without a warning."""

import sys
from pathlib import Path

import pytest
from builders import run

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


@pytest.mark.slow
def test_the_site_is_built_without_warnings_and_is_found_offline(tmp_path):
    pytest.importorskip("sphinx", reason="the extra docs is not installed")
    site = tmp_path / "site"
    built = ("-m", "sphinx", "-q", "-W", "--keep-going", "-d", tmp_path / "doctrees", DOCS, site)
    run(sys.executable, *built, folder=tmp_path)
    assert (site / "searchindex.js").stat().st_size > 10_000
    for page in DOCS.rglob("*.md"):
        assert site.joinpath(page.relative_to(DOCS).with_suffix(".html")).is_file(), page
    loaded = 'src="http', 'rel="stylesheet" href="http'
    for page in site.rglob("*.html"):
        assert not any(each in page.read_text() for each in loaded), page
