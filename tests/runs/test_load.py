"""A busy machine: what others took, from conditions made by hand."""

import builders
import numpy as np
import pytest
from builders import latency

from esrbench.protocol import TrustDesign
from esrbench.records import Absent, Conditions
from esrbench.runs.load import foreign_load, scatter

DESIGN = TrustDesign()


def took(share, seconds=1.0, steal=None):
    return Conditions(seconds=seconds, other_load=share, steal=steal)


def samples(conditions=None, **fields):
    return builders.samples("a", conditions=conditions, **fields)


def replicate(**fields):
    quiet = samples(took(0.0))
    return builders.replicate(**({"fixed": quiet, "images": (quiet, quiet), "null": ()} | fields))


def load(**fields):
    return foreign_load(latency(replicate(), replicate(**fields)), DESIGN)


def test_a_quiet_machine_is_not_busy():
    assert load() is None
    skipped = Absent(kind="skipped", reason="not asked for")
    assert foreign_load(skipped, DESIGN) is None
    assert scatter(skipped) is None


@pytest.mark.parametrize("where", ["fixed", "images", "null_conditions"])
def test_load_anywhere_in_one_process_makes_a_run_busy(where):
    def found(share):
        parts = {
            "fixed": samples(took(share)),
            "images": (samples(took(share)),),
            "null_conditions": (took(share), took(share)),
        }
        return load(**{where: parts[where]})

    assert found(0.1) is None
    assert found(0.58) == "others took 58% of the CPUs while it was timed"


@pytest.mark.parametrize("where", ["fixed", "images", "null_conditions", "conditions"])
def test_another_process_on_the_gpu_makes_a_run_busy(where):
    seen = Conditions(seconds=1.0, foreign_processes=2)
    none = Conditions(seconds=1.0, foreign_processes=0)

    def found(conditions):
        parts = {
            "fixed": samples(conditions),
            "images": (samples(conditions),),
            "null_conditions": (conditions,),
            "conditions": conditions,
        }
        return load(**{where: parts[where]})

    assert found(none) is None
    assert found(seen) == "other processes computed on the GPU while it was timed: 2"


def test_shares_are_means_over_time_and_the_hypervisor_counts():
    # 0.5 for 1 s and 0.0 for 9 s are 5 %; 8 % and 3 % stolen are 11 %.
    assert load(images=(samples(took(0.5)), samples(took(0.0, 9.0)))) is None
    assert load(images=(samples(took(0.08, steal=0.03)),)) is not None
    assert load(images=(samples(took(None, steal=0.2)),)) is not None
    # Less than five of the kernel's ticks say nothing.
    assert load(images=(samples(took(0.1, 0.4)),)) is None
    assert load(images=(samples(took(0.12, 0.4)),)) is None


def test_inputs_that_are_too_short_are_judged_by_their_process():
    short = {"fixed": samples(), "images": (samples(took(None, 0.1)),)}
    assert load(**short) is None
    assert load(**short, conditions=took(0.6, 3.0)) is not None
    # Scoring between inputs is no load of others, and known inputs are known better.
    assert load(conditions=took(0.6, 3.0)) is None


def test_the_share_is_the_design_s():
    one = latency(replicate(fixed=samples(took(0.5))))
    assert foreign_load(one, TrustDesign(busy_share=0.5)) is None
    assert foreign_load(one, TrustDesign(busy_share=0.49)) is not None


def test_rounds_of_two_kinds_have_no_runtime():
    def found(*images):
        timed = tuple(samples(delivered_seconds=each) for each in images)
        return scatter(latency(replicate(images=timed)))

    two_kinds = (0.3,) * 4 + (0.1,) * 26
    assert found(two_kinds) is not None
    # Not one image of three, not a single slow round of thirty, not few rounds.
    assert found(two_kinds, (0.1,) * 30, (0.1,) * 30) is None
    assert found((0.3,) + (0.1,) * 29) is None
    assert found((0.3, 0.1, 0.1, 0.1)) is None
    # Whether more rounds are slow or fewer makes no difference.
    assert found((0.3,) * 20 + (0.1,) * 10) is not None


def test_noise_of_a_third_scatters_no_honest_entry():
    rng = np.random.default_rng(3)
    for _ in range(300):
        images = [tuple(0.1 * rng.lognormal(0, 0.2, 6)) for _ in range(3)]
        timed = tuple(samples(delivered_seconds=each) for each in images)
        assert scatter(latency(replicate(images=timed))) is None
