"""How a backend ran a network, and whether its pixels equal those of eager torch."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from esrbench.protocol import Frozen
from esrbench.records.values import Absent, Count, Seconds, Sha256

ONE_LEVEL_SHARE: Final = 1e-4
"""Share of all values up to which a difference by one level counts as rounding."""
EQUAL_DB: Final = 0.005
"""Difference of mean PSNR up to which two sets of SR images are of one class: half of what the
challenge prints."""

Text = Annotated[str, Field(max_length=500)]

Step = Literal["exact", "one level", "equal PSNR", "different"]
"""Of the ladder of equality: no value differs; at most ``ONE_LEVEL_SHARE`` of them, by one level;
mean PSNR differs by at most ``EQUAL_DB``; none of these."""


class Equality(Frozen):
    """SR of a backend against that of eager torch on the same images.

    Attributes:
        values: of all SR images, three a pixel.
        differing: that are not the same.
        largest: difference of a value, in levels.
        psnr_difference: mean PSNR of the backend less that of torch, dB; None where an image is
            reproduced without error.
    """

    values: Annotated[Count, Field(gt=0)]
    differing: Count
    largest: Annotated[int, Field(ge=0, le=255)]
    psnr_difference: float | None

    @property
    def step(self) -> Step:
        """The first step of the ladder that holds."""
        if not self.differing:
            return "exact"
        if self.largest == 1 and self.differing <= ONE_LEVEL_SHARE * self.values:
            return "one level"
        if self.psnr_difference is not None and abs(self.psnr_difference) <= EQUAL_DB:
            return "equal PSNR"
        return "different"

    def describe(self) -> str:
        """In words, for notices."""
        psnr = self.psnr_difference
        said = "" if psnr is None else f"{psnr:+.4f} dB, "
        share = self.differing / self.values
        levels = "one level" if self.largest == 1 else f"up to {self.largest} levels"
        return f"{said}{share:.3%} of the values by {levels}"


class Graph(Frozen):
    """The graph that a backend runs instead of a network's code.

    Attributes:
        sha256: of its files.
        file_bytes: of all of them.
        parameters: numbers of floating type that it holds, or held before it was quantised.
        nodes: operators in it.
        operators: how often each occurs, the most frequent first.
        build_seconds: that exporting and converting took, by the evaluator's clock.
        versions: of the software that made it, by name.
        float_products: convolutions and matrix products of a quantised graph that compute in
            floating type, by name of the operator.
    """

    sha256: Sha256
    file_bytes: Count
    parameters: Count
    nodes: Count
    operators: dict[Text, Count]
    build_seconds: Seconds
    versions: dict[str, str] = {}
    float_products: dict[Text, Count] = {}


class Deployment(Frozen):
    """How a backend ran a network.

    Attributes:
        backend: its name.
        versions: of its libraries, by name.
        options: that were set, as the libraries gave them back.
        load_seconds: that opening it took, by the worker's account; for a backend without a graph,
            what it does at its first forward is in the cold start.
        graph: what it runs; None where it runs the network's code.
        equality: of its SR and eager torch's, or why it is not known.
    """

    backend: str
    versions: dict[str, str] = {}
    options: dict[str, str] = {}
    load_seconds: Seconds
    graph: Graph | None = None
    equality: Equality | Absent

    @property
    def doubt(self) -> str | None:
        """Why its runs are no runs of torch's class, in words, or None."""
        if isinstance(self.equality, Absent):
            return "SR not compared"
        return "SR differs" if self.equality.step == "different" else None
