import pytest
from pydantic import ValidationError

from esrbench.errors import UsageError
from esrbench.training.recipe import LearningRate, load_recipe, recipe_names

WHOLE = """
name = "mine"
summary = "mine"
hr_patch = 64
batch = 4
validate_every = 10
checkpoint_every = 10
[[stages]]
iterations = 5
learning_rate = {{ shape = "constant", first = 1e-4{rate} }}
{stage}
"""


def write(path, *, head="", stage="", rate=""):
    path.write_text(head + WHOLE.format(stage=stage, rate=rate))
    return path


def test_every_shipped_recipe_loads_under_its_own_name():
    assert set(recipe_names()) >= {"aidn", "quick"}
    for name in recipe_names():
        assert load_recipe(name).name == name


def test_the_paper_s_recipe_is_the_paper_s():
    recipe = load_recipe("aidn")
    assert (recipe.hr_patch, recipe.batch, recipe.symmetries) == (256, 32, "all")
    assert [stage.loss for stage in recipe.stages] == ["l1", "l2"]
    assert [stage.epochs for stage in recipe.stages] == [1000, 500]
    assert [stage.optimiser.name for stage in recipe.stages] == ["adam", "adam"]
    ends = [(stage.learning_rate.first, stage.learning_rate.last) for stage in recipe.stages]
    assert ends == [(2e-4, 2e-6), (2e-5, 2e-6)]
    assert [stage.ema_decay for stage in recipe.stages] == [None, None]
    assert recipe.start == "random"
    assert any("cosine" in choice for choice in recipe.ours)


def test_a_recipe_of_the_user_s_own_loads(tmp_path):
    recipe = load_recipe(write(tmp_path / "mine.toml", stage="ema_decay = 0.9"))
    assert recipe.stages[0].ema_decay == 0.9
    assert recipe.digest() != load_recipe("quick").digest()


def test_the_digest_covers_what_decides_the_result(tmp_path):
    recipe = load_recipe(write(tmp_path / "mine.toml"))
    told = recipe.model_copy(update={"name": "other", "summary": "told otherwise", "ours": ("a",)})
    assert told.digest() == recipe.digest()
    assert recipe.model_copy(update={"batch": 5}).digest() != recipe.digest()


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"head": "patience = 3\n"}, "patience: no such field"),
        ({"stage": "optimizer = 'adam'"}, r"stages\.0\.optimizer: no such field"),
        ({"rate": ", gamma = 0.5"}, r"learning_rate\.gamma: no such field"),
        ({"stage": "epochs = 3"}, "either epochs or iterations"),
        ({"stage": "loss = 'l3'"}, r"stages\.0\.loss"),
        ({"stage": "ema_decay = 1.0"}, "less than 1"),
        ({"stage": "distillation = { teacher = 'rfdn', kind = 'feature' }"}, "at least one pair"),
        ({"stage": "distillation = { teacher = 'rfdn', layers = [['a', 'b']] }"}, "layers belongs"),
    ],
)
def test_what_does_not_belong_is_named(tmp_path, parts, said):
    with pytest.raises(UsageError, match=said) as error:
        load_recipe(write(tmp_path / "mine.toml", **parts))
    assert "mine.toml" in error.value.message


def test_no_toml_says_so(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("name = ")
    with pytest.raises(UsageError, match="not valid TOML"):
        load_recipe(path)


def test_an_unknown_name_answers_with_those_known():
    with pytest.raises(UsageError, match="no recipe 'quik'") as error:
        load_recipe("quik")
    assert error.value.advice.startswith("Did you mean quick? Known: aidn, ")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"absent\.toml: cannot be read"):
        load_recipe(tmp_path / "absent.toml")


def test_crops_that_are_no_multiple_of_the_scale_are_refused(tmp_path):
    recipe = load_recipe(write(tmp_path / "mine.toml"))
    assert recipe.crops(0, 4) == (16, 4)
    with pytest.raises(UsageError, match="not a multiple of x3") as error:
        recipe.crops(0, 3)
    assert error.value.advice == "Use 63."


def test_a_constant_rate_stays():
    rate = LearningRate(shape="constant", first=1e-4)
    assert [rate.at(step, 10) for step in (0, 5, 9)] == [1e-4] * 3


def test_a_linear_rate_falls_by_equal_steps_and_uses_both_ends():
    rate = LearningRate(shape="linear", first=10, last=2)
    assert [rate.at(step, 5) for step in range(5)] == pytest.approx([10, 8, 6, 4, 2])


def test_a_cosine_rate_by_hand():
    rate = LearningRate(shape="cosine", first=8, last=0.5)
    # Thirds and sixths of half a period: cos is 1, 1/2, -1/2, -1; falls are 0, 1/4, 3/4, 1.
    expected = [8, 8 - 7.5 / 4, 8 - 7.5 * 3 / 4, 0.5]
    assert [rate.at(step, 4) for step in range(4)] == pytest.approx(expected)


def test_warmup_rises_in_equal_steps_and_leaves_the_rest_to_the_shape():
    rate = LearningRate(shape="linear", first=8, last=2, warmup=4)
    expected = [2, 4, 6, 8, 8, 5, 2]
    assert [rate.at(step, 7) for step in range(7)] == pytest.approx(expected)


def test_a_step_rate_counts_its_unit_and_has_a_floor():
    rate = LearningRate(shape="step", first=8, last=1.5, every=2, factor=0.5)
    found = [rate.at(step, 100, unit=3) for step in (0, 5, 6, 11, 12, 17, 18, 99)]
    assert found == [8, 8, 4, 4, 2, 2, 1.5, 1.5]


def test_a_step_rate_without_floor_goes_on():
    rate = LearningRate(shape="step", first=8, every=10, factor=0.1)
    assert rate.at(35, 100) == pytest.approx(8e-3)


def test_the_paper_s_rates_at_its_own_length():
    first, second = load_recipe("aidn").stages
    epoch = 13_774 // 32
    assert (first.steps(epoch), second.steps(epoch)) == (430_000, 215_000)
    assert first.rate_at(0, epoch) == 2e-4
    assert first.rate_at(429_999, epoch) == pytest.approx(2e-6)
    assert second.rate_at(0, epoch) == 2e-5
    assert second.rate_at(214_999, epoch) == pytest.approx(2e-6)
    middle = (first.rate_at(214_999, epoch) + first.rate_at(215_000, epoch)) / 2
    assert middle == pytest.approx(1.01e-4)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"shape": "cosine", "first": 1e-3}, "needs last"),
        ({"shape": "linear", "first": 1e-3, "last": 1e-2}, "last is above first"),
        ({"shape": "step", "first": 1e-3, "every": 5}, "needs both"),
        ({"shape": "constant", "first": 1e-3, "factor": 0.5, "every": 2}, "belong to"),
        ({"shape": "constant", "first": 0}, "greater than 0"),
    ],
)
def test_a_rate_that_makes_no_sense_is_refused(fields, said):
    with pytest.raises(ValidationError, match=said):
        LearningRate.model_validate(fields)
