import pytest

from esrbench.errors import UsageError
from esrbench.records import Complexity
from esrbench.runs.inspection import blocks_of, count_models


@pytest.mark.usefixtures("lasting_workers")
def test_a_network_that_kills_the_worker_does_not_stop_the_others(describe):
    names = ("Nearest", "FailsToBuild", "Exits", "WrongShape")
    nearest, *others = ((describe(name), 4) for name in names)
    hook = nearest[0].factory.replace(":Nearest", ":without_bias")
    prepared = (describe("Nearest", name="prepared", prepare=hook), 4)
    models = [nearest, prepared, *others]
    first, merged, unbuilt, dead, last = count_models(models, input_size=(8, 8))
    assert first.params == 12
    # In the form in which it is timed.
    assert merged.params == 9
    assert "no room for x4" in unbuilt.reason
    assert "exited with code 0" in dead.reason
    # Counting does not look at the output's shape.
    assert isinstance(last, Complexity)


@pytest.mark.usefixtures("lasting_workers")
def test_blocks_come_from_the_worker(describe):
    network, mix = blocks_of(describe("Nearest"), 4, depth=1, input_size=(8, 8))
    assert network.output_shape == (1, 3, 32, 32)
    assert (mix.name, mix.kind, mix.params, mix.macs) == ("mix", "Conv2d", 12, 9 * 64)


def test_an_undefined_scale_is_refused_before_a_worker_starts(describe):
    with pytest.raises(UsageError, match="not defined at x3"):
        blocks_of(describe("Nearest"), 3, depth=1)
