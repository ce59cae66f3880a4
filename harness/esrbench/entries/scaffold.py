"""A new submission to start from: a small network that works, with weights and a test."""

from __future__ import annotations

import json
import re
import shutil
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Final

from esrbench.entries.manifest import MANIFEST_NAME, NAME_PATTERN, json_schema
from esrbench.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

TEMPLATE_FOLDER: Final = "template"
TEMPLATE_SUFFIX: Final = ".tmpl"
SCHEMA_NAME: Final = "submission.schema.json"
"""File name of the JSON Schema; the first line of the manifest names it for editors."""


def scaffold(name: str, folder: Path, *, scale: int, seed: int = 0) -> Path:
    """Write a submission that passes ``esrbench validate`` unchanged.

    The JSON Schema of its manifest is written next to it, unless it exists already. Its weights are
    the random initial ones of the seed.

    Args:
        name: name of the entry, TEAM-NAME.
        folder: folder of all submissions; created if missing.
        scale: upscaling factor.
        seed: seed of the weights.

    Returns:
        The new folder.

    Raises:
        UsageError: the name is not a TEAM-NAME or exists already, or the folder cannot be written.
    """
    if not re.fullmatch(NAME_PATTERN, name) or len(name) > 64:  # noqa: PLR2004 - as in the manifest
        message = f"{name!r} is not a valid name of a submission: expected TEAM-NAME in lower case"
        raise UsageError(message, advice="For example `esrbench new team07-fastsr`.")
    target = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target.mkdir()
    except FileExistsError:
        message = f"{target}: exists already and was not changed"
        raise UsageError(message, advice="Choose another name, or remove it.") from None
    except OSError as error:
        message = f"{target}: cannot be created: {error.strerror}"
        raise UsageError(message, advice="Choose another folder with --submissions.") from error
    try:
        _fill(target, name, scale, seed)
        schema = folder / SCHEMA_NAME
        if not schema.exists():
            schema.write_text(json.dumps(json_schema(), indent=2) + "\n")
    except BaseException:
        shutil.rmtree(target)
        raise
    return target


def _fill(target: Path, name: str, scale: int, seed: int) -> None:
    from safetensors.torch import save_file

    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.entries.networks import build_network
    from esrbench.weights.checkpoints import file_sha256

    weights = target / f"{name}_x{scale}.safetensors"
    values: dict[str, object] = {"name": name, "scale": scale, "weights": weights.name}
    values["team"] = name.partition("-")[0]
    _write("model.py", target, values)
    # This runs our own template, which was written just now and not changed by anybody.
    options = {"channels": 16, "blocks": 2}
    descriptor = ModelDescriptor(
        name=name,
        summary="template",
        scales=(scale,),
        factory="model:Network",
        options=options,
        folder=str(target.resolve()),
    )
    network = build_network(descriptor, scale, seed=seed)
    save_file(network.state_dict(), weights)
    weights.chmod(0o644)  # only its owner may read it by default, but a worker may be another user
    values["bytes"] = weights.stat().st_size
    values["sha256"] = file_sha256(weights)
    values["params"] = sum(each.numel() for each in network.parameters())
    for file in (MANIFEST_NAME, "README.md", "test_entry.py"):
        _write(file, target, values)
    # Test modules of several entries must not have the same name.
    test = re.sub(r"\W", "_", name)
    (target / "test_entry.py").rename(target / f"test_{test}.py")


def _write(file: str, target: Path, values: dict[str, object]) -> None:
    source = resources.files("esrbench.entries") / TEMPLATE_FOLDER / f"{file}{TEMPLATE_SUFFIX}"
    (target / file).write_text(Template(source.read_text()).substitute(values))
