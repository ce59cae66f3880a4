"""Records at any scale, which the shared ``make_record`` makes at x4."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def make_run(make_record):
    """A record at a scale; ``values`` by metric, other fields as ``make_record`` takes them."""

    def build(
        name,
        values,
        *,
        scale=4,
        title=None,
        entry=None,
        **fields,
    ):
        fields.setdefault("verified", True)
        fields.setdefault("data", "set5")
        record = make_record(name, values, **fields)
        data = {"scale": scale, "title": title or record.data.title}
        return record.model_copy(
            update={
                "entry": record.entry.model_copy(update={"scale": scale, **(entry or {})}),
                "data": record.data.model_copy(update=data),
            }
        )

    return build
