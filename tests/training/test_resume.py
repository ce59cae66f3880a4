import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from esrbench.errors import RecordError, UsageError

pytest.importorskip(
    "lightning_fabric", reason="the train extra is not installed: pip install 'esrbench[train]'"
)


KILLS = (17, 36)
"""Iterations, one of each stage."""
KILLED = """
import os, signal, sys, traceback
from pathlib import Path
sys.path.insert(0, {tests!r})
import lightning_fabric
from esrbench.entries.descriptor import ModelDescriptor
from esrbench.data.unscored import Source
from esrbench.training.images import open_images
from esrbench.training.recipe import Recipe
from esrbench.training.trainer import train

def killed(at):
    def kill(progress):
        if progress.iteration == at:
            os.kill(os.getpid(), signal.SIGKILL)

    images = open_images([Source("photographs", Path({photographs!r}))], 2, cache=Path({cache!r}))
    train(
        ModelDescriptor.model_validate_json({descriptor!r}),
        Recipe.model_validate_json({recipe!r}),
        images, Path({folder!r}) / str(at), device="cpu", validate=None, progress=kill,
    )

# Imports take longer than the trainings, so processes share them.
for at in {kills}:
    process = os.fork()
    if not process:
        try:
            killed(at)
        except Exception:
            traceback.print_exc()
        os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"""


@pytest.fixture
def one_thread():
    """Sums of several threads have another order, and other last bits, than those of one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_killed_and_resumed_equals_uninterrupted_bit_for_bit(
    network, make_recipe, train_here, two_stages, rows_of, photographs, tmp_path
):
    descriptor, recipe = network("Small"), make_recipe(*two_stages)
    script = KILLED.format(
        tests=str(Path(__file__).parent),
        photographs=str(photographs),
        cache=str(tmp_path / "decoded"),
        descriptor=descriptor.model_dump_json(),
        recipe=recipe.model_dump_json(),
        folder=str(tmp_path),
        kills=KILLS,
    )
    killed = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert killed.stdout.split() == [str(-signal.SIGKILL)] * len(KILLS), killed.stderr
    whole = train_here(descriptor, recipe, "whole")
    names = ("iteration", "stage", "learning_rate", "loss")
    rows = [[row[name] for name in names] for row in rows_of(tmp_path / "whole")]
    for at in KILLS:
        logged = [int(row["iteration"]) for row in rows_of(tmp_path / str(at))]
        assert logged[-1] == at // 5 * 5
        resumed = train_here(descriptor, recipe, str(at), resume=True)
        assert_equal_bits(whole, resumed)
        assert [[row[name] for name in names] for row in rows_of(tmp_path / str(at))] == rows


def assert_equal_bits(one, other):
    ours, theirs = load_file(one.last), load_file(other.last)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    checkpoints = [
        torch.load(trained.last.with_name("checkpoint.pt"), weights_only=True)["state"]
        for trained in (one, other)
    ]
    assert torch.equal(checkpoints[0]["random"], checkpoints[1]["random"])
    ours, theirs = (state["network"] for state in checkpoints)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("distilled", [False, True])
def test_stopped_at_a_checkpoint_between_stages_it_goes_on_too(
    network, make_recipe, train_here, two_stages, tmp_path, distilled
):
    stages = list(two_stages)
    if distilled:
        from safetensors.torch import save_file

        from esrbench.entries.networks import build_network
        from esrbench.entries.registry import default_registry

        weights = tmp_path / "teacher.safetensors"
        save_file(build_network(default_registry().get("rfdn"), 2).state_dict(), weights)
        teacher = {"teacher": "rfdn", "weights": str(weights), "kind": "feature"}
        distillation = teacher | {"layers": [["body", "head"]]}
        stages = [dict(stage) | {"distillation": distillation} for stage in stages]
    recipe = make_recipe(*stages, hr_patch=32)
    whole = train_here(network("Small"), recipe, "whole")

    def stop(progress):
        if progress.iteration == 23:  # the last of stage 1, which leaves a checkpoint
            raise StoppedError

    with pytest.raises(StoppedError):
        train_here(network("Small"), recipe, progress=stop)
    resumed = train_here(network("Small"), recipe, resume=True)
    assert_equal_bits(whole, resumed)


def test_resuming_what_is_done_changes_nothing(network, make_recipe, train_here, tmp_path):
    recipe = make_recipe({"iterations": 12})
    first = train_here(network("Small"), recipe)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    again = train_here(network("Small"), recipe, resume=True)
    assert again == first
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_workers_do_not_change_the_result(network, make_recipe, train_here):
    recipe = make_recipe({"iterations": 12})
    ends = [
        train_here(network("Small"), recipe, str(workers), workers=workers) for workers in (0, 2)
    ]
    assert_equal_bits(*ends)


def test_another_training_s_folder_is_refused_with_every_difference(
    network, make_recipe, train_here
):
    recipe = make_recipe({"iterations": 10})
    train_here(network("Small"), recipe)
    with pytest.raises(UsageError, match="holds a training already") as error:
        train_here(network("Small"), recipe)
    assert "--resume" in error.value.advice
    with pytest.raises(UsageError, match=r"recipe was .*; seed was 0, now it is 1"):
        train_here(
            network("Small"),
            make_recipe({"iterations": 11}),
            "out",
            seed=1,
            resume=True,
        )


def test_there_must_be_something_to_resume(network, make_recipe, train_here):
    with pytest.raises(UsageError, match=r"no checkpoint\.pt to resume from"):
        train_here(network("Small"), make_recipe(), resume=True)


@pytest.mark.parametrize("damage", [lambda whole: whole[:100], lambda _: b"no checkpoint"])
def test_a_damaged_checkpoint_says_so(network, make_recipe, train_here, tmp_path, damage):
    recipe = make_recipe({"iterations": 10})
    train_here(network("Small"), recipe)
    path = tmp_path / "out" / "checkpoint.pt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RecordError, match=r"checkpoint\.pt: damaged"):
        train_here(network("Small"), recipe, resume=True)
