import itertools
import json
from importlib import metadata
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from esrbench.data.codecs import read_rgb
from esrbench.data.datasets import open_dataset
from esrbench.entries.networks import load_network
from esrbench.errors import DataError, MeasurementError, UsageError, WeightsError
from esrbench.training.objectives import mean_psnr
from esrbench.training.recipe import load_recipe

pytest.importorskip(
    "lightning_fabric", reason="the train extra is not installed: pip install 'esrbench[train]'"
)


def start_psnr(descriptor, pairs, seed=0):
    from esrbench.entries.networks import build_network

    state = build_network(descriptor, 2, seed=seed).state_dict()
    return psnr_of(descriptor, state, pairs)


def psnr_of(descriptor, state, pairs):
    cpu = torch.device("cpu")
    return mean_psnr(descriptor, state, pairs, device=cpu, reparameterise=True)


def test_training_lowers_the_loss_and_beats_its_start(
    network, make_recipe, train_here, rows_of, held_out
):
    descriptor = network("Small")
    pairs = open_dataset(held_out, 2)
    trained = train_here(descriptor, make_recipe(), validate=held_out)
    rows = rows_of(trained.best.parent)
    assert [int(row["iteration"]) for row in rows] == list(range(5, 41, 5))
    assert float(rows[-1]["loss"]) < 0.5 * float(rows[0]["loss"])
    assert trained.psnr > start_psnr(descriptor, pairs) + 5
    # The file holds what was scored, and is taken as it is.
    loaded = load_network(descriptor, 2, trained.best)
    assert psnr_of(descriptor, loaded.network.state_dict(), pairs) == trained.psnr
    assert float(rows[-1]["psnr"]) == pytest.approx(trained.psnr)


def test_the_solved_start_is_better_than_the_random_one_before_any_step(
    network, make_recipe, train_here, held_out
):
    still = {"learning_rate": {"shape": "constant", "first": 1e-12}, "iterations": 1}
    scores = {}
    for start in ("random", "least-squares"):
        recipe = make_recipe(still, start=start)
        scores[start] = train_here(network("Small"), recipe, start, validate=held_out).psnr
    assert scores["least-squares"] > scores["random"] + 10


def test_stages_follow_one_another_with_their_own_loss_rate_and_start(
    network, make_recipe, train_here, two_stages
):
    seen = []
    recipe = make_recipe(*two_stages, log_every=1)
    train_here(network("Small"), recipe, progress=seen.append)
    assert len(seen) == seen[-1].iteration == seen[-1].total == 23 + 18
    assert [progress.row.stage for progress in seen] == [1] * 23 + [2] * 18
    rates = [progress.row.learning_rate for progress in seen]
    assert rates[:23] == [recipe.stages[0].learning_rate.at(step, 23) for step in range(23)]
    assert rates[23:] == [1e-3] * 8 + [5e-4] * 8 + [2.5e-4] * 2
    # Squared errors are far below absolute ones of the same network.
    assert seen[23].row.loss < 0.5 * seen[22].row.loss


def test_a_stage_may_have_crops_and_batches_of_its_own(network, make_recipe, train_here):
    own = {"hr_patch": 24, "batch": 2, "epochs": 2}  # of 4 steps
    recipe = make_recipe({"iterations": 5}, own)
    assert [recipe.crops(stage, 2) for stage in (0, 1)] == [(8, 4), (12, 2)]
    trained = train_here(network("Small"), recipe)
    assert trained.iterations == 5 + 8
    with safe_open(trained.last, "pt") as file:
        assert file.metadata()["patches"] == str(5 * 4 + 8 * 2)
    with pytest.raises(UsageError, match=r"crops of 8 LR pixels|crops of 12 LR pixels"):
        train_here(network("Small", min_lr_size=13), recipe, "small")
    large = make_recipe({"iterations": 5}, own | {"hr_patch": 80})
    with pytest.raises(DataError, match="8 of 8 training images are too small"):
        train_here(network("Small"), large, "large")


def test_the_seed_decides(network, make_recipe, train_here):
    recipe = make_recipe({"iterations": 2})
    ends = [
        load_file(train_here(network("Small"), recipe, name, seed=seed).last)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    same = [torch.equal(ends[0]["tail.weight"], end["tail.weight"]) for end in ends]
    assert same == [True, True, False]


def test_the_average_is_the_recursion_by_hand(network, make_recipe, train_here, tmp_path):
    recipe = make_recipe({"ema_decay": 0.5, "iterations": 6}, checkpoint_every=1)
    states = []

    def keep(_):
        path = tmp_path / "out" / "checkpoint.pt"
        states.append(torch.load(path, weights_only=True)["state"])

    trained = train_here(network("Plain"), recipe, progress=keep)
    averages = [state["average"]["network"]["tail.weight"] for state in states]
    weights = [state["network"]["tail.weight"] for state in states]
    for step, (before, after) in enumerate(itertools.pairwise(range(6)), start=2):
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * averages[before] + (1 - decay) * weights[after]
        assert torch.allclose(averages[after], expected, atol=1e-7)
    assert torch.equal(load_file(trained.last)["tail.weight"], averages[-1])


def test_validation_scores_the_deployed_form_and_saves_the_trained_one(
    network, make_recipe, train_here, held_out
):
    hook = f"{Path(__file__).with_name('networks.py')}:brighten"
    descriptor = network("Plain", prepare=hook)
    pairs = open_dataset(held_out, 2)
    for reparameterise in (True, False):
        recipe = make_recipe(start="least-squares", reparameterise=reparameterise)
        folder = str(reparameterise)
        trained = train_here(descriptor, recipe, folder, validate=held_out)
        trained_form = descriptor.model_copy(update={"prepare": None})
        scored = descriptor if reparameterise else trained_form
        assert psnr_of(scored, load_file(trained.best), pairs) == pytest.approx(trained.psnr)


def test_the_file_says_where_it_comes_from(
    network, make_recipe, images, train_here, held_out, tmp_path
):
    recipe = make_recipe({"iterations": 20}, export="float16")
    trained = train_here(network("Small"), recipe, seed=5, validate=held_out)
    with safe_open(trained.best, "pt") as file:
        said = file.metadata()
        assert file.get_tensor("tail.weight").dtype == torch.float16
    assert (said["model"], said["scale"], said["seed"]) == ("small", "2", "5")
    assert (said["iterations"], said["patches"]) == ("20", "80")
    assert said["recipe_sha256"] == recipe.digest()
    assert json.loads(said["recipe"])["hr_patch"] == 16
    assert json.loads(said["data"]) == {"images": {"photographs": 8}, "sha256": images.digest}
    assert json.loads(said["versions"])["torch"] == metadata.version("torch")
    assert json.loads(said["validation"])["psnr_rgb"] == pytest.approx(trained.psnr, abs=1e-4)
    # Rounded to tenths of a second, and this was quick.
    assert 0 <= float(said["cpu_seconds"]) < 600
    assert len(said["code_sha256"]) == 64
    assert str(tmp_path) not in json.dumps(said)


def test_a_training_may_start_from_a_file_and_says_so(network, make_recipe, train_here):
    still = {"learning_rate": {"shape": "constant", "first": 1e-12}, "iterations": 1}
    first = train_here(network("Plain"), make_recipe(), "first").last
    second = train_here(network("Plain"), make_recipe(still), "second", initial=first).last
    ours, theirs = load_file(second), load_file(first)
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-9) for name in theirs)
    with safe_open(second, "pt") as file:
        said = json.loads(file.metadata()["start"])
    assert (said["model"], said["iterations"]) == ("plain", "40")
    with pytest.raises(WeightsError, match="does not fit Small"):
        train_here(network("Small"), make_recipe(), initial=first)


def test_a_loss_that_is_no_number_ends_the_training(network, make_recipe, train_here, tmp_path):
    with pytest.raises(MeasurementError, match=r"the loss became .* by iteration 5") as error:
        train_here(network("Exploding"), make_recipe())
    assert "learning rate" in error.value.advice
    assert not (tmp_path / "out" / "checkpoint.pt").exists()


def test_what_does_not_fit_is_refused_before_anything_is_written(
    network, make_recipe, train_here, held_out, tmp_path, open_set
):
    with pytest.raises(UsageError, match="crops of 8 LR pixels, small needs 15"):
        train_here(network("Small", min_lr_size=15), make_recipe())
    with pytest.raises(DataError, match="8 of 8 training images are too small"):
        train_here(network("Small"), make_recipe(hr_patch=80))
    with pytest.raises(UsageError, match="do not divide by 3"):
        train_here(network("Small"), make_recipe(), devices=3)
    with pytest.raises(UsageError, match="not defined at x2"):
        train_here(network("Small").model_copy(update={"scales": (4,)}), make_recipe())
    with pytest.raises(UsageError, match="no parameters to train"):
        train_here(network("Small", role="floor"), make_recipe())
    opened = open_set({"a.png": read_rgb(held_out / "HR" / "100.png")})
    with pytest.raises(DataError, match="they are scored"):
        train_here(network("Small"), make_recipe(), images=opened, validate=held_out)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["aidn", "quick"])
def test_shipped_recipes_run(network, make_photograph, train_here, open_set, name):
    """All of a shipped recipe but its length and size."""
    images = open_set({"a.png": make_photograph(1, 64, 64)}, 4)
    shipped = load_recipe(name)
    brief = {"epochs": None, "iterations": 3, "hr_patch": None, "batch": None}
    stages = [stage.model_copy(update=brief) for stage in shipped.stages]
    short = {"hr_patch": 48, "batch": 2, "stages": tuple(stages)}
    recipe = shipped.model_copy(update=short)
    trained = train_here(network("Small"), recipe, images=images)
    assert trained.iterations == 3 * len(stages)
    load_network(network("Small"), 4, trained.last)
