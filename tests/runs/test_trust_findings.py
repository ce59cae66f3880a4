"""What the evaluator finds in its account of an entry's time, threshold by threshold."""

import math

import pytest

from esrbench.manual.messages import STATUSES
from esrbench.protocol import TrustDesign
from esrbench.records import Trust
from esrbench.runs.trust import examine, unmeasurable

DESIGN = TrustDesign()


def trust(**fields):
    """An honest entry's account."""
    given = {
        "claimed_seconds": 0.1,
        "trusted_seconds": 0.1,
        "tolerance_seconds": 0.003,
        "repeated_ratio": 1.02,
        "clean_psnr_rgb": 30.0,
        "variant_psnr_rgb": 30.0,
        "variant_images": 100,
        "idle_cpus": 0.0,
        "forward_cpus": 1.0,
    }
    return Trust(**(given | fields))


def status(threads=1, design=DESIGN, **fields):
    found = examine(trust(**fields), design, threads=threads)
    return None if found is None else found.status


@pytest.mark.parametrize(
    ("trusted", "noise", "measured"),
    [
        (0.1, 0.0166, True),  # 3 * 16.6 = 49.8 of 50 ms
        (0.1, 0.0167, False),
        (-0.0028, 0.0019, False),
        (0.0, 0.0, False),
    ],
)
def test_a_time_within_the_null_network_s_noise_is_no_time(trusted, noise, *, measured):
    found = unmeasurable(trusted, noise, DESIGN)
    assert (found is None) is measured
    # Nothing that cannot be measured is disputed.
    disputed = status(
        claimed_seconds=1e-7, trusted_seconds=trusted, tolerance_seconds=0.0, noise_seconds=noise
    )
    assert disputed == ("timing-disputed" if measured else None)
    if found is not None:
        assert found.kind == "unavailable"
        assert f"{trusted * 1e3:.3g} ms" in found.reason


def test_an_honest_entry_is_left_alone():
    assert status() is None
    bare = dict.fromkeys(
        ("repeated_ratio", "clean_psnr_rgb", "variant_psnr_rgb", "idle_cpus", "forward_cpus")
    )
    assert status(**bare) is None
    assert status(trusted_seconds=None, tolerance_seconds=None) is None


@pytest.mark.parametrize(
    ("inside", "outside", "expected"),
    [
        ({"repeated_ratio": 0.9}, {"repeated_ratio": 0.899}, "suspect-caching"),
        ({"idle_cpus": 0.3}, {"idle_cpus": 0.301}, "suspect-hidden-work"),
        ({"forward_cpus": 1.5}, {"forward_cpus": 1.501}, "suspect-hidden-work"),
        # Above externally measured time a claim gains nothing, unless all pixels were there before.
        (
            {"claimed_seconds": 0.1132, "delivered_seconds": 0.11},
            {"claimed_seconds": 0.1134, "delivered_seconds": 0.11},
            "timing-disputed",
        ),
        ({"claimed_seconds": 0.0971}, {"claimed_seconds": 0.0969}, "timing-disputed"),
        # A hundred images: a tenth of what a single one may differ by.
        ({"clean_psnr_rgb": 30.049}, {"clean_psnr_rgb": 30.051}, "suspect-memorising"),
    ],
)
def test_each_threshold_has_two_sides(inside, outside, expected):
    assert status(**inside) is None
    assert status(**outside) == expected


@pytest.mark.parametrize("images", [1, 5, 14, 100])
def test_few_images_may_differ_more_than_many(images):
    allowed = 0.5 / math.sqrt(images)
    assert status(clean_psnr_rgb=30 + 0.99 * allowed, variant_images=images) is None
    suspected = status(clean_psnr_rgb=30 + 1.01 * allowed, variant_images=images)
    assert suspected == "suspect-memorising"
    # Variants may score better by anything.
    assert status(clean_psnr_rgb=20.0, variant_images=images) is None


def test_threads_are_the_evaluator_s_to_give():
    assert status(threads=2, forward_cpus=2.5) is None
    assert status(threads=2, forward_cpus=2.51) == "suspect-hidden-work"


def test_the_gravest_finding_comes_first():
    everything = {
        "clean_psnr_rgb": 99.0,
        "repeated_ratio": 0.0,
        "idle_cpus": 4.0,
        "claimed_seconds": 0.0,
    }
    order = []
    for field, healed in (
        ("clean_psnr_rgb", 30.0),
        ("repeated_ratio", 1.0),
        ("idle_cpus", 0.0),
        ("claimed_seconds", 0.1),
    ):
        order.append(status(**everything))
        everything[field] = healed
    assert order == [
        "suspect-memorising",
        "suspect-caching",
        "suspect-hidden-work",
        "timing-disputed",
    ]
    assert status(**everything) is None


def test_a_dispute_names_both_times_and_the_tolerance():
    found = examine(trust(claimed_seconds=0.05), DESIGN, threads=1)
    assert found.cause == (
        "the worker reports 50 ms, but the evaluator measured 100 ms; they may differ by 3 ms"
    )
    assert found.advice is not None


@pytest.mark.parametrize(
    ("fields", "explained"),
    [
        ({"claimed_seconds": 0.0}, True),
        ({"later_ratio": 0.1}, True),
        ({"repeated_ratio": 0.0}, True),
        ({"idle_cpus": 4.0}, True),
        # No load makes a process take more CPU time, or score worse.
        ({"forward_cpus": 4.0}, False),
        ({"clean_psnr_rgb": 99.0}, False),
        ({"window_psnr_rgb": 28.0, "untimed_psnr_rgb": 29.0}, False),
        ({"clean_ratio": 2.0}, False),
    ],
)
def test_beside_foreign_load_nothing_is_found_that_it_explains(fields, *, explained):
    assert examine(trust(**fields), DESIGN, threads=1) is not None
    beside = examine(trust(**fields), DESIGN, threads=1, loaded=True)
    assert (beside is None) is explained


def test_every_finding_says_what_to_do():
    for fields in ({"clean_psnr_rgb": 99.0}, {"repeated_ratio": 0.0}, {"idle_cpus": 4.0}):
        found = examine(trust(**fields), DESIGN, threads=1)
        assert (found.advice or "").endswith(".")


def test_thresholds_are_explained_as_they_are():
    explained = {name: status.when for name, status in STATUSES.items()}

    def percent(share):
        return f"{share:.0%}".replace("%", " %")

    assert f"{DESIGN.memorising_db:g} dB / sqrt(n)" in explained["suspect-memorising"]
    assert f"less than {percent(DESIGN.caching_ratio)} of" in explained["suspect-caching"]
    assert f"more than {DESIGN.idle_cpus:g} CPUs are busy" in explained["suspect-hidden-work"]
    assert f"took more than {percent(DESIGN.busy_share)} of" in explained["busy-machine"]
    tolerance = percent(DESIGN.claim_tolerance)
    assert f"externally measured time by more than {tolerance}" in explained["timing-disputed"]
