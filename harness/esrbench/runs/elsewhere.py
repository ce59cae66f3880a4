"""Entries that run in their own interpreter: their interpreter, software and counts.

Counts, audit and predicted memory are made in the harness's own environment. Such an entry has them
only if its network can be built there too and gives the same images.
"""

from __future__ import annotations

import fnmatch
import platform
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from esrbench.entries.environments import environment_python
from esrbench.entries.weight_files import require_intact
from esrbench.environment import package_version
from esrbench.errors import UsageError
from esrbench.plaintext import plural
from esrbench.records import Absent, Software
from esrbench.sandbox.interpreters import entry_interpreter
from esrbench.worker.failure import WorkerError
from esrbench.worker.reading import convert_confined

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from esrbench.data.datasets import ImagePairs
    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.entries.networks import ResolvedWeights
    from esrbench.records import Complexity
    from esrbench.sandbox.interpreters import Interpreter
    from esrbench.worker.launcher import Launcher
    from esrbench.worker.messages import Ready
    from esrbench.worker.session import WorkerSession

    Pixels = npt.NDArray[np.uint8]
    Sample = tuple[str, Pixels, Pixels]
    """An image by its name: LR and SR, uint8 (h, w, 3) and (scale*h, scale*w, 3) RGB."""

COMPARED_IMAGES = 3
"""Number of images on which both environments must agree; they are drawn at random, so an entry
cannot know them."""
MOST_LEVELS = 1
"""Levels (of 255) by which pixels may differ, because two versions of torch round differently."""


def own_software() -> Software:
    """The software of the harness's own environment."""
    return Software(
        python=platform.python_version(),
        torch=package_version("torch"),
        numpy=package_version("numpy"),
    )


def find_interpreters(
    chosen: Mapping[str, str], descriptors: Mapping[str, ModelDescriptor]
) -> dict[str, Interpreter]:
    """The interpreters of entries, by name of the entry.

    Args:
        chosen: interpreters by name of the entry, or by a pattern of names for ``fnmatch``; a name
            takes precedence. An interpreter is the path of a program or of an environment's folder,
            or the name of an environment that ``esrbench env`` made.
        descriptors: descriptors of all entries, by name.

    Raises:
        UsageError: an entry is not among the networks to run, only the harness's own interpreter
            can import it, or the interpreter cannot run entries.
    """
    found = {}
    for given, where in sorted(chosen.items(), key=lambda each: each[0] in descriptors):
        names = [given] if given in descriptors else fnmatch.filter(descriptors, given)
        if not names:
            message = f"--python {given}={where}: {given} is not among the networks to run"
            raise UsageError(message, advice=f"They are: {', '.join(descriptors)}.")
        for name in names:
            require_movable(descriptors[name])
        path = Path(where)
        if not path.exists() and path.name == where:
            path = environment_python(where)
        found.update(dict.fromkeys(names, entry_interpreter(path)))
    return found


def require_movable(descriptor: ModelDescriptor) -> None:
    """Reject an entry whose code is installed in the harness's environment.

    Raises:
        UsageError: only the harness's own interpreter could import it.
    """
    module = descriptor.factory.rpartition(":")[0]
    ours = module.partition(".")[0] == "esrbench_models"
    if descriptor.folder is None and not module.endswith(".py") and not ours:
        message = (
            f"{descriptor.name}: {module} is installed in the environment of esrbench and runs "
            "only there"
        )
        raise UsageError(message, advice="Submit it as a folder to run it in another Python.")


def converted_state(weights: ResolvedWeights, launcher: Launcher) -> bytes:
    """Weights as safetensors under the network's own names.

    A worker in another interpreter reads no other format. The result is empty for random weights,
    and for weights that the network's own code loads.

    Raises:
        WeightsError: the file is unsafe, damaged, altered, or not laid out as declared.
        WorkerError: the worker that reads it ended, or took too long.
    """
    declared = weights.released
    if weights.path is None or (declared is not None and declared.loaded_by):
        return b""
    _, content = convert_confined(
        weights.path,
        launcher,
        key=declared.key if declared else None,
        prefix=declared.prefix if declared else None,
        renames=declared.renames if declared else (),
    )
    if declared is not None:
        require_intact(weights.path, declared, advice="It changed while the run began; run again.")
    return content


def draw_samples(upscale: Callable[[Pixels, str], Pixels], pairs: ImagePairs) -> list[Sample]:
    """Upscale some images, drawn at random each time.

    Args:
        upscale: gives the SR image of an LR image and its name.
        pairs: checked LR and HR images.
    """
    numbers = range(len(pairs))
    drawn = secrets.SystemRandom().sample(numbers, min(COMPARED_IMAGES, len(numbers)))
    images = [(pairs.pairs[number].name, pairs.read_lr(number)) for number in sorted(drawn)]
    return [(name, lr, upscale(lr, name)) for name, lr in images]


def draw_noise(upscale: Callable[[Pixels, str], Pixels], side: int) -> list[Sample]:
    """Upscale a square image of random noise."""
    random = np.random.default_rng(secrets.randbits(64))
    lr = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
    return [("noise", lr, upscale(lr, "noise"))]


def count_here(
    session: WorkerSession,
    load: Callable[[WorkerSession], Ready],
    *,
    ready: Ready,
    samples: Sequence[Sample],
) -> Complexity | Absent:
    """Counts of an entry in the harness's own environment, if it is the same network there.

    Args:
        session: a worker in that environment.
        load: makes this worker load the entry.
        ready: what the entry's own worker reported about the network.
        samples: images that the entry's own worker upscaled.

    Returns:
        Absent, with the reason, if the network cannot be built there or gives other images.
    """
    try:
        here = load(session)
        for fact, what in (
            ("code_sha256", "its code differs"),
            ("state_elements", "its weights differ"),
            ("deployed_elements", "its number of parameters differs"),
        ):
            if getattr(here, fact) != getattr(ready, fact):
                return uncounted(f"{what} there")
        for name, lr, sr in samples:
            again = session.upscale(lr, name)
            levels = int(np.abs(again.astype(np.int16) - sr).max())
            if levels > MOST_LEVELS:
                off = plural(levels, "level")
                return uncounted(f"image {name} differs by {off} there")
        return session.count_complexity()
    except WorkerError as failure:
        return uncounted(failure.said)


def uncounted(why: str) -> Absent:
    """Absent counts, with the reason why the harness's own environment cannot give them."""
    own = own_software()
    return Absent(
        kind="unavailable",
        reason=f"entries are counted in {own.describe()}, and {why}",
        advice="Make the network the same in both environments, or count it by hand.",
    )
