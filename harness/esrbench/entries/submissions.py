"""Entries as folders: ``submissions/<team>-<name>/`` with a manifest, code and weights; no torch.

Only manifests are read here. No code of a submission is imported when networks are listed, selected
and judged; only its worker imports it.
"""

from __future__ import annotations

import os
import shlex
import sys
from decimal import Decimal
from functools import partial
from importlib import metadata
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from packaging.requirements import Requirement

from esrbench.entries.descriptor import ModelDescriptor, Paper, PublishedFigure, ReleasedWeights
from esrbench.entries.manifest import MANIFEST_NAME, read_manifest
from esrbench.entries.sources import require_bounded
from esrbench.errors import RegistrationError
from esrbench.records import Notice

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from esrbench.entries.manifest import ClaimsTable, Manifest

SUBMISSIONS_VARIABLE: Final = "ESRBENCH_SUBMISSIONS"
DEFAULT_SUBMISSIONS: Final = Path("submissions")
CLAIMED: Final = f"claimed in {MANIFEST_NAME}"
CLAIM_TOLERANCE: Final = 0.01
"""Largest relative error of a claimed count that rounding may explain."""
LAST_PYTHON: Final = dict.fromkeys(("asynchat", "asyncore", "distutils", "imp", "smtpd"), "3.11")
"""Last Python version that has a module of the standard library, by name of the module."""


def submissions_folder() -> Path:
    """``ESRBENCH_SUBMISSIONS``, or ``submissions`` in the current folder."""
    return Path(os.environ.get(SUBMISSIONS_VARIABLE) or DEFAULT_SUBMISSIONS)


def find_submissions(root: Path) -> Iterator[tuple[str, ModelDescriptor | RegistrationError]]:
    """The submissions in a folder, by name.

    Files, and folders whose name begins with ``.`` or ``_``, are ignored.

    Yields:
        The name of each folder, and its descriptor or the error.
    """
    try:
        folders = sorted(
            path for path in root.iterdir() if path.name[0] not in "._" and path.is_dir()
        )
    except FileNotFoundError:
        if SUBMISSIONS_VARIABLE in os.environ:
            message = f"{SUBMISSIONS_VARIABLE}={root}: there is no such folder"
            yield str(root), RegistrationError(message, advice="Correct the variable.")
        return
    except OSError as error:
        message = f"{root}: {error.strerror or error}"
        yield str(root), RegistrationError(message, advice="Make it a folder that can be read.")
        return
    for folder in folders:
        if not folder.name.isprintable():  # such a name is not printed as it is
            message = f"{root}: {folder.name!a} is not a valid name of a submission"
            yield ascii(folder.name), RegistrationError(message, advice="Rename that folder.")
            continue
        try:
            yield folder.name, read_submission(folder)
        except RegistrationError as error:
            yield folder.name, error


def read_submission(folder: Path) -> ModelDescriptor:
    """Make the descriptor of a submission from its manifest.

    Args:
        folder: folder of the submission; its name (of a link, the link's) must be the entry's name.

    Raises:
        RegistrationError: the folder is too large, the manifest is missing or wrong, the folder
            has another name, or it has no module for the factory or the hook.
    """
    folder = folder.absolute()
    path = folder / MANIFEST_NAME
    if not path.resolve().is_relative_to(folder.resolve()):
        message = f"{path}: this link leads out of the submission's folder"
        raise RegistrationError(message, advice="Put the file itself into the folder.")
    require_bounded(folder)
    manifest = read_manifest(path)
    if manifest.model.name != folder.name:
        message = f"{path}: model.name: {manifest.model.name!r} lies in a folder {folder.name!r}"
        raise RegistrationError(message, advice="Give both the same name, TEAM-NAME.")
    for field, target in manifest.model.targets.items():
        _require_module(path, f"model.{field}", target)
    return _descriptor(manifest, folder.resolve())


def missing_requirements(
    descriptor: ModelDescriptor, packages: Sequence[Path] | None = None
) -> tuple[str, ...]:
    """Declared requirements that are not installed, each with the installed version if any.

    Only the metadata of installed distributions is read.

    Args:
        descriptor: descriptor of an entry.
        packages: folders of installed packages; None for those of the harness.
    """
    path = sys.path if packages is None else [str(folder) for folder in packages]
    missing: list[str] = []
    for text in descriptor.requirements:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        found = next(iter(metadata.distributions(name=requirement.name, path=path)), None)
        if found is None:
            missing.append(f"{text} is not installed")
        elif not requirement.specifier.contains(found.version, prereleases=True):
            missing.append(f"{text} is not met by the installed {found.version}")
    return tuple(missing)


def install_advice(descriptor: ModelDescriptor) -> str:
    """Advice on how to install an entry's requirements."""
    quoted = " ".join(map(shlex.quote, descriptor.requirements))
    return (
        f"Give it an environment of its own: esrbench env create {descriptor.name} --requirements "
        "FILE, with torch, numpy and its requirements in FILE. Or, if you trust them, install "
        f"these requirements here: pip install {quoted}"
    )


def requirements_notice(descriptor: ModelDescriptor) -> Notice | None:
    """``missing-requirements``, if a requirement of an entry is not installed."""
    missing = missing_requirements(descriptor)
    if not missing:
        return None
    return Notice(
        code="missing-requirements",
        message="; ".join(missing),
        advice=f"{install_advice(descriptor)}.",
    )


def module_advice(descriptor: ModelDescriptor, module: str) -> str:
    """Advice if a module is missing that an entry's code imports."""
    if missing_requirements(descriptor):
        return f"{install_advice(descriptor)}."
    top = module.partition(".")[0]
    if (last := LAST_PYTHON.get(top)) is not None:
        return (
            f"{top} was part of Python up to {last}: run this entry in an environment of Python "
            f"{last}. `esrbench help environments` says how."
        )
    if descriptor.folder is None:
        return f"Install the package that provides {top}."
    return (
        f"Put {top} into the folder. Or declare the package that provides it in {MANIFEST_NAME}, "
        f'such as requirements = ["{top}"], and install it.'
    )


def precision_notice(descriptor: ModelDescriptor, precision: str) -> Notice | None:
    """``other-precision``, if a run has another precision than the entry's authors declare.

    Args:
        descriptor: descriptor of the entry; only submissions declare a precision.
        precision: precision of the run, as in ``ForwardPolicy``.
    """
    if descriptor.folder is None or descriptor.precision == precision:
        return None
    return Notice(
        code="other-precision",
        message=f"{descriptor.name} is declared for {descriptor.precision} and ran in {precision}",
        advice=f"Its authors' figures are for --precision {descriptor.precision}.",
    )


def claim_tolerance(claimed: float) -> float:
    """Allowed difference between a count and a claim that was rounded or truncated.

    One unit of the last digit that is not 0 (1000 for 0.242e6), but never more than 1 %.
    """
    exponent = Decimal(repr(claimed)).normalize().as_tuple().exponent
    place = 10.0**exponent if isinstance(exponent, int) else 0.0
    return min(max(place, 1.0), CLAIM_TOLERANCE * claimed)


def _require_module(path: Path, field: str, target: str) -> None:
    """Raise ``RegistrationError`` unless the folder has a file for a target's module."""
    module = path.parent.joinpath(*target.rpartition(":")[0].split("."))
    files = [module.parent / f"{module.name}{suffix}" for suffix in (".py", *EXTENSION_SUFFIXES)]
    if not module.is_dir() and not any(file.is_file() for file in files):
        name = module.relative_to(path.parent)
        message = f"{path}: {field}: {target} needs {name}.py or a folder {name}"
        raise RegistrationError(message, advice="Correct the name, or put the module there.")


def _descriptor(manifest: Manifest, folder: Path) -> ModelDescriptor:
    model, team = manifest.model, manifest.team
    fields: dict[str, Any] = model.model_dump(exclude={"summary"})
    weights = tuple(
        ReleasedWeights(
            **table.model_dump(exclude={"scale", "file", "renames"}),
            scale=manifest.scale_of(table) or 1,
            filename=table.file,
            url=None,
            data_range=model.data_range,
            renames=tuple(table.renames.items()),
            licence=team.licence,
        )
        for table in manifest.weights
    )
    return ModelDescriptor(
        **fields,
        summary=model.summary or f"by {team.name}",
        paper=Paper(**team.paper.model_dump()) if team.paper else None,
        licence=team.licence,
        published=tuple(
            figure
            for claims in manifest.claims
            for figure in _claimed(claims, manifest.scale_of(claims) or 1)
        ),
        submitted=weights,
        folder=str(folder),
        team=team.name,
        origin=f"submissions/{model.name}",
    )


def _claimed(claims: ClaimsTable, scale: int) -> Iterator[PublishedFigure]:
    figure = partial(PublishedFigure, scale=scale, source=CLAIMED)
    counter = claims.flops_counter
    acts = "aten" if counter == "aten" else "ntire2022"
    for metric, value in (
        ("params", claims.params),
        (f"macs_{counter}", claims.flops),
        (f"activations_{acts}", claims.activations),
    ):
        if value is not None:
            yield figure(metric=metric, value=value)
    for psnr in claims.psnr:
        yield figure(metric=f"psnr_{psnr.channel}", value=psnr.db, data=psnr.data)
    if (runtime := claims.runtime) is not None:
        source = f"{CLAIMED}, on {runtime.device}"
        seconds = runtime.milliseconds / 1e3
        yield figure(metric="runtime_images", value=seconds, data=runtime.data, source=source)
