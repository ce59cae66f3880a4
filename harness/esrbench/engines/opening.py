"""Opens the engine that was asked for."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from esrbench.engines.settings import EngineSettings
from esrbench.errors import UsageError, field_problems

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.protocol import Device
    from esrbench.runs.cells import Engine

OF_SLURM: Final = ("partition", "gres", "account", "exclusive")
"""Settings that only Slurm has."""


def parse_settings(name: str, options: Sequence[str]) -> EngineSettings:
    """Read an engine's settings from the command line.

    Args:
        name: name of the engine.
        options: ``KEY=VALUE`` each; keys are fields of ``EngineSettings``.

    Raises:
        UsageError: an unknown key, or a value that the key does not take.
    """
    pairs = [option.partition("=") for option in options]
    if wrong := [key for key, equals, _ in pairs if not equals]:
        message = f"--engine-option {wrong[0]}: expected KEY=VALUE"
        raise UsageError(message, advice="For example partition=gpu.")
    try:
        return EngineSettings.model_validate({"name": name, **{key: v for key, _, v in pairs}})
    except ValidationError as error:
        message = f"--engine {name}: {'; '.join(field_problems(error, 'engine'))}"
        known = ", ".join(EngineSettings.model_fields)
        raise UsageError(message, advice=f"Fields are: {known}.") from None


def open_engine(settings: EngineSettings, device: Device, gpus: Sequence[int] = ()) -> Engine:
    """The engine that was asked for.

    Args:
        settings: name and settings of the engine.
        device: kind of the devices.
        gpus: numbers of GPUs of this machine, if the devices are GPUs.

    Raises:
        UsageError: it cannot work here.
    """
    if settings.name == "local":
        from esrbench.engines.local import LocalEngine

        return LocalEngine(settings, device, gpus or settings.gpus)
    if settings.name == "ray":
        return _open_ray(settings, device)
    if find_spec("submitit") is None:
        message = "--engine slurm: submitit is not installed"
        raise UsageError(message, advice="Run `pip install 'esrbench[slurm]'`.")
    if missing := [name for name in ("sbatch", "squeue", "scancel") if not shutil.which(name)]:
        message = f"--engine slurm: there is no {missing[0]} here"
        raise UsageError(message, advice="Start the run on a machine that submits jobs to Slurm.")
    from esrbench.engines.slurm import SlurmEngine

    return SlurmEngine(settings)


def _open_ray(settings: EngineSettings, device: Device) -> Engine:
    if given := [name for name in OF_SLURM if getattr(settings, name)]:
        message = f"engine.{given[0]}: Ray has no such setting"
        raise UsageError(message, advice="Leave it out; constraint, cpus and memory choose nodes.")
    if find_spec("ray") is None:
        message = "--engine ray: Ray is not installed"
        raise UsageError(message, advice="Run `pip install 'esrbench[ray]'`.")
    # Ray reads this at its import. Otherwise it prints its cluster's output among our results.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "^")
    from esrbench.engines.ray import RayEngine

    return RayEngine(settings, device)
