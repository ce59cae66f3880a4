"""Entries that run in an interpreter of their own: which one, with what, and their counts.

Counts, audit and predicted memory need the harness's own environment. They are of such an entry
where the network builds there too and gives the same images.
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
"""On which both environments must agree; they are drawn, so that no entry can expect them."""
MOST_LEVELS = 1
"""Levels by which pixels may differ: kernels of two versions of torch round differently."""


def own_software() -> Software:
    """The harness's own."""
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
        chosen: path of a program or of an environment's folder, or name of an environment that
            ``esrbench env`` made, by name of the entry or by a pattern of names, as of ``fnmatch``.
            A name takes precedence over a pattern.
        descriptors: of all entries, by name.

    Raises:
        UsageError: an entry that does not run, or that only the harness's own interpreter could
            import; or one that cannot run entries.
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
    """Refuse an entry whose code is installed in the harness's environment.

    Raises:
        UsageError: only the harness's own interpreter could import it.
    """
    module = descriptor.factory.rpartition(":")[0]
    ours = module.partition(".")[0] == "esrbench_models"
    if descriptor.folder is None and not module.endswith(".py") and not ours:
        message = f"{descriptor.name}: {module} is installed beside esrbench and runs there alone"
        raise UsageError(message, advice="Submit it as a folder to run it in another Python.")


def converted_state(weights: ResolvedWeights, launcher: Launcher) -> bytes:
    """Weights as safetensors under the network's own names.

    Empty for random ones, and for those that the network's own code loads.

    A worker in another interpreter reads nothing else.

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
    """SR of some images, drawn at random each time.

    Args:
        upscale: gives the SR image of an LR image and its name.
        pairs: checked LR and HR images.
    """
    numbers = range(len(pairs))
    drawn = secrets.SystemRandom().sample(numbers, min(COMPARED_IMAGES, len(numbers)))
    images = [(pairs.pairs[number].name, pairs.read_lr(number)) for number in sorted(drawn)]
    return [(name, lr, upscale(lr, name)) for name, lr in images]


def draw_noise(upscale: Callable[[Pixels, str], Pixels], side: int) -> list[Sample]:
    """SR of a square image of random noise; arguments as of ``draw_samples``."""
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
        load: has it load the entry.
        ready: what the entry's own worker said of the network.
        samples: images that it upscaled.

    Returns:
        Absent, with the reason, where the network does not build there or gives other images.
    """
    try:
        here = load(session)
        for fact, what in (
            ("code_sha256", "its code is another one"),
            ("state_elements", "it has other weights"),
            ("deployed_elements", "it has another number of parameters"),
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
    """Counts that the harness's own environment does not give, and why."""
    own = own_software()
    return Absent(
        kind="unavailable",
        reason=f"counts are made in {own.describe()}, and {why}",
        advice="Make the network the same in both environments, or count it by hand.",
    )
