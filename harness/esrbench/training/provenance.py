"""Where trained weights come from: what their file says of itself."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from esrbench.entries.networks import build_network, code_sha256
from esrbench.entries.targets import resolve_factory
from esrbench.environment import package_version
from esrbench.errors import WeightsError
from esrbench.weights.checkpoints import file_sha256

if TYPE_CHECKING:
    from pathlib import Path

    from esrbench.data.pairs import ImagePairs
    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.training.images import TrainingImages
    from esrbench.training.patches import Patches
    from esrbench.training.recipe import Recipe

PACKAGES = ("esrbench", "torch", "numpy", "lightning-fabric", "opencv-python-headless")
"""Distributions whose versions are recorded."""


_INHERITED = ("model", "scale", "iterations", "patches", "cpu_seconds", "recipe", "data", "start")


def identity_of(
    descriptor: ModelDescriptor,
    recipe: Recipe,
    patches: Patches,
    *,
    precision: str,
    devices: int,
    validation: ImagePairs | None,
) -> dict[str, str]:
    """What decides the trained weights, by name: equal for a training and its resume."""
    scale = patches.images.scale
    network = build_network(descriptor, scale)
    makers = [resolve_factory(descriptor.factory, folder=descriptor.folder)]
    return {
        "model": descriptor.name,
        "scale": str(scale),
        "options": str(sorted(descriptor.options.items())),
        "recipe": recipe.digest(),
        "data": patches.images.digest,
        "seed": str(patches.seed),
        "precision": precision,
        "devices": str(devices),
        "code": code_sha256(network, *makers) or "without source files",
        "validation": "none" if validation is None else validation.identity().digest,
    }


def origin_of(path: Path) -> dict[str, Any]:
    """What a weights file that a training starts from is, and says of itself.

    Raises:
        WeightsError: it cannot be read.
    """
    origin: dict[str, Any] = {"sha256": file_sha256(path)}
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, "pt") as file:
                said = file.metadata() or {}
        except SafetensorError as error:
            message = f"{path}: truncated, altered, or no safetensors file ({error})"
            raise WeightsError(message, advice="Fetch or save it again.") from error
        origin |= {key: said[key] for key in _INHERITED if key in said}
    return origin


def provenance(
    *,
    identity: dict[str, str],
    recipe: Recipe,
    images: TrainingImages,
    iteration: int,
    crops: int,
    origin: dict[str, Any] | None,
    seconds: tuple[float, float],
    validation: tuple[ImagePairs, float] | None,
) -> dict[str, Any]:
    """Metadata of a weights file."""
    names = Counter(image.name.partition("/")[0] for image in images.images)
    metadata: dict[str, Any] = {
        "format": "esrbench training 1",
        **{key: identity[key] for key in ("model", "scale", "seed", "precision", "devices")},
        "code_sha256": identity["code"],
        "recipe": recipe.model_dump(mode="json"),
        "recipe_sha256": identity["recipe"],
        "data": {"images": dict(names), "sha256": identity["data"]},
        "iterations": str(iteration),
        "patches": str(crops),
        "seconds": f"{seconds[0]:.1f}",
        "cpu_seconds": f"{seconds[1]:.1f}",
        "versions": {name: package_version(name) for name in PACKAGES},
    }
    if origin is not None:
        metadata["start"] = origin
    if validation is not None:
        pairs, psnr = validation
        metadata["validation"] = {
            "data": pairs.title,
            "sha256": identity["validation"],
            "psnr_rgb": round(psnr, 4),
        }
    return metadata
