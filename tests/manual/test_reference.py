"""What the manual has from code."""

from typing import Literal

import pytest
from pydantic import BaseModel, Field

from esrbench.challenge.file import Challenge
from esrbench.entries.manifest import Manifest
from esrbench.manual.reference import PARTS, fields, filled_in, metric
from esrbench.metrics import METRICS
from esrbench.records import RunRecord


class Inner(BaseModel):
    """A table.

    Attributes:
        side: a side, of ``a | b``,
            in 4*H pixels and ``*.x``.
    """

    side: int | None = None


class Outer(BaseModel):
    """A document.

    Attributes:
        named: of the outside.
    """

    inner: tuple[Inner, ...] = ()
    kind: Literal["a", "b"]
    other: dict[str, float] = Field({}, alias="named")


def test_a_document_is_a_table_of_fields_for_each_of_its_tables():
    assert fields(Outer) == (
        "| field | type | default | meaning |\n|---|---|---|---|\n"
        "| `inner` | list of [inner](#inner) | `[]` |  |\n"
        '| `kind` | `"a"`, `"b"` | required |  |\n'
        "| `named` | table of number | `{}` | of the outside. |\n"
        "\n## inner\n\nA table.\n\n"
        "| field | type | default | meaning |\n|---|---|---|---|\n"
        "| `side` | integer or none | none | a side, of `a \\| b`, in 4\\*H pixels and `*.x`. |\n"
    )


@pytest.mark.parametrize("model", [Manifest, Challenge], ids=lambda model: model.__name__)
def test_every_field_that_people_write_has_a_meaning(model):
    rows = [line for line in fields(model).splitlines() if line.startswith("| `")]
    assert len(rows) > 25
    told = "say what it is below Attributes of its model"
    assert [row for row in rows if row.endswith("|  |")] == [], told


def test_a_record_is_listed_whole():
    text = fields(RunRecord)
    assert all(f"| `{name}` |" in text for name in RunRecord.model_fields)
    assert "## environment\n" in text


@pytest.mark.parametrize("row", METRICS.values(), ids=METRICS)
def test_every_metric_is_explained(row):
    assert row.about.endswith(".")
    assert row.about in metric(row)


def test_a_part_is_put_where_a_page_names_it():
    page = "# A\n\n<!-- made from code: metrics -->\n<!-- made from code: none -->\n"
    assert filled_in(page, {"metrics": lambda: "text"}) == (
        "# A\n\ntext\n<!-- made from code: none -->\n"
    )
    assert all(made() for made in PARTS.values())
