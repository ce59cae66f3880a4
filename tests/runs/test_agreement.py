import pytest

from esrbench.records import RANKED_STATUSES, Absent, Complexity, Notice, WeightsIdentity
from esrbench.runs.agreement import disagreement
from esrbench.runs.passes import UntimedPass
from esrbench.worker.messages import Ready

HIDDEN = Notice(
    code="hidden-constants", message="50,000 constants take part in the computation", advice=""
)


def untimed(*, params=40_000, notices=(), **sizes):
    absent = Absent(kind="skipped", reason="not asked for")
    ready = Ready(
        parameters=1,
        threads=1,
        cpus=(0,),
        accelerator=None,
        code_sha256=None,
        state_elements=sizes.get("held", 40_000),
        deployed_elements=sizes.get("deployed", params),
    )
    complexity = Complexity(
        params=params,
        trainable_params=params,
        weight_params=params,
        buffer_elements=0,
        state_bytes=4 * params,
        counters={},
        audit=absent,
        predicted_memory=absent,
        notices=notices,
    )
    return UntimedPass(
        weights=WeightsIdentity(source="file"),
        ready=ready,
        stored_elements=sizes.get("stored", 40_000),
        complexity=complexity,
    )


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"stored": 50_000}, "the weights file holds 50,000 numbers and the loaded network 40,000"),
        ({"params": 0, "deployed": 40_000}, "40,000 parameters when it was loaded and 0 when"),
        # Merged by `prepare`: fewer than in the file, and the same when it was counted.
        ({"params": 9_000}, None),
        # Tied tensors are stored once; a few numbers more are no weights.
        ({"stored": 30_000}, None),
        ({"stored": 41_000}, None),
        ({"stored": None}, None),
    ],
)
def test_what_is_missing_is_hidden_only_where_the_audit_finds_it(sizes, said):
    assert disagreement(untimed(**sizes)) is None
    found = disagreement(untimed(**sizes, notices=(HIDDEN,)))
    assert (found is None) is (said is None)
    if found is not None and said is not None:
        assert said in found[0]
        assert HIDDEN.message in found[0]
        assert found[1]


def test_two_counts_that_differ_are_told_in_their_own_words():
    notice = Notice(code="counted-otherwise", message="two counts differ", advice="do the same")
    assert disagreement(untimed(notices=(notice,))) == ("two counts differ", "do the same")
    assert "counted-otherwise" not in RANKED_STATUSES
