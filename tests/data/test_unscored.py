"""Folders of images as users name them; what is scored is told by tests of who uses them."""

import pytest

from esrbench.data.unscored import DATA_VARIABLE, Source, parse_sources
from esrbench.errors import UsageError


def test_sources_are_read_as_users_write_them(tmp_path, monkeypatch):
    for name in ("DIV2K", "other"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    found = parse_sources(f"DIV2K, mine={tmp_path}/other,{tmp_path}/other")
    assert found == (
        Source("DIV2K", tmp_path / "DIV2K"),
        Source("mine", tmp_path / "other"),
        Source("other", tmp_path / "other"),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("OST", "there is no folder OST"),
        ("OST=/nowhere", "there is no folder /nowhere"),
        ("", "one or more data sets"),
        ("a=.,a=.", "different names"),
    ],
)
def test_sources_that_are_none_are_refused(text, said, monkeypatch, tmp_path):
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said):
        parse_sources(text)
