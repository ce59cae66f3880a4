"""Promises of a submission that are checked without running it: manifest, files, code, claims."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from esrbench.entries.manifest import MANIFEST_NAME, told
from esrbench.entries.sources import folder_files
from esrbench.entries.submissions import (
    claim_tolerance,
    install_advice,
    missing_requirements,
)
from esrbench.entries.weight_files import require_intact, submitted_path
from esrbench.errors import WeightsError
from esrbench.metrics import METRICS, Findings
from esrbench.plaintext import relative
from esrbench.protocol import Frozen
from esrbench.records import Absent
from esrbench.runs.scan import scan_folder
from esrbench.weights.checkpoints import file_sha256, holds_safetensors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from esrbench.entries.descriptor import ModelDescriptor, ReleasedWeights
    from esrbench.records import Complexity


class Check(Frozen):
    """One promise of a submission and the result of its check.

    Attributes:
        declare: fields of the manifest, with the values found, that would repair it.
    """

    name: str
    outcome: Literal["passed", "warning", "failed", "skipped"]
    detail: str
    fix: str = ""
    declare: dict[str, int | str] = {}


def kept(name: str, detail: str) -> Check:
    """A promise that is kept."""
    return Check(name=name, outcome="passed", detail=detail)


def broken(name: str, detail: str, fix: str | None = "") -> Check:
    """A promise that is broken, and how to mend it; ``detail`` may lack its full stop."""
    return Check(name=name, outcome="failed", detail=f"{detail.removesuffix('.')}.", fix=fix or "")


def folder_checks(
    descriptor: ModelDescriptor, scale: int, packages: Sequence[Path] | None = None
) -> Iterator[Check]:
    """Checks of a submission's folder; nothing in it is imported.

    Args:
        descriptor: of a submission.
        scale: upscaling factor whose weights are checked.
        packages: folders of the packages installed for its interpreter; None for the harness's own.
    """
    yield kept("manifest", f"{MANIFEST_NAME} of {descriptor.team} is valid.")
    missing = missing_requirements(descriptor, packages)
    if missing:
        yield broken("requirements", f"{'; '.join(missing)}.", f"{install_advice(descriptor)}.")
    elif descriptor.requirements:
        yield kept("requirements", f"{', '.join(descriptor.requirements)}: installed.")
    declared = descriptor.submitted_weights(scale)
    if declared is not None:
        yield from _weights_checks(descriptor, declared)
    yield from _code_checks(descriptor)


def claim_checks(descriptor: ModelDescriptor, scale: int, counted: Complexity) -> Iterator[Check]:
    """Compares a submission's claims at a scale with its counts."""
    for figure in descriptor.published:
        if figure.scale != scale:
            continue
        metric = METRICS[figure.metric]
        name = f"claimed {metric.label}"
        value = metric.extract(Findings(complexity=counted))
        if isinstance(value, Absent):
            at = f" on {figure.data}" if figure.data else ""
            detail = f"{metric.show(figure.value)}{at} is claimed; `validate` does not measure it."
            fix = f"Measure it by `esrbench run {descriptor.name} --data {figure.data or 'demo'}`."
            yield Check(name=name, outcome="skipped", detail=detail, fix=fix)
            continue
        detail = f"{figure.value:,.0f} claimed, {value.value:,.0f} measured."
        if abs(value.value - figure.value) <= claim_tolerance(figure.value):
            yield kept(name, detail)
        else:
            yield broken(name, detail, f"Correct [claims] in {MANIFEST_NAME}, or the network.")


def _weights_checks(descriptor: ModelDescriptor, declared: ReleasedWeights) -> Iterator[Check]:
    name = "weights file"
    folders = (str(Path(descriptor.folder or "").resolve()),)
    try:
        path = submitted_path(descriptor, declared)
    except WeightsError as error:
        yield broken(name, relative(error.message, folders), error.advice)
        return
    try:
        require_intact(path, declared, advice="")
    except WeightsError as error:
        found: dict[str, int | str] = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        fix = f"If the file is the right one, write into [weights]: {told(found)}; --fix does it."
        check = broken(name, relative(error.message, folders), fix)
        yield check.model_copy(update={"declare": found})
        return
    yield kept(name, f"{declared.filename}: {declared.bytes:,} bytes, SHA-256 as declared.")
    if not holds_safetensors(path):
        yield Check(
            name="weights format",
            outcome="warning",
            detail=f"{declared.filename} is a pickle, which may contain a program.",
            fix=f"Run `esrbench convert-weights {shlex.quote(str(path))}`; declare the new file.",
        )


def _code_checks(descriptor: ModelDescriptor) -> Iterator[Check]:
    folder = Path(descriptor.folder or "")
    remarks = scan_folder(folder, list(folder_files(folder)), descriptor.targets.values())
    if not remarks:
        yield kept("code", "The code contains nothing unusual.")
    for remark in remarks:
        yield Check(
            name="code",
            outcome="warning",
            detail=f"{remark.place} {remark.what}: {remark.why}.",
            fix="Remove it, or be ready to explain it.",
        )
