import json
from pathlib import Path

from esrbench.environment import describe_environment
from esrbench.runs.store import Store


def test_a_quick_look_prints_a_table_then_advice(esrbench):
    done = esrbench("doctor", "--quick", KMP_AFFINITY="none", code=0)
    table, _, advice = done.stdout.partition("\n- ")
    assert "memory allocator" in table
    assert "resolution" not in table
    assert "KMP_AFFINITY=none" in table
    assert "warning variables: unset KMP_AFFINITY" in advice
    assert "Measuring works" in advice


def test_as_json_it_is_one_document(in_process):
    done = in_process("doctor", "--quick", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert (document["device"], document["fit"]) == ("cpu", True)
    first = document["checks"][0]
    assert first["name"] == "results folder"
    assert set(first) == {"name", "state", "finding", "advice"}


def test_what_forbids_measuring_is_told_first_and_exits_4(in_process, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = in_process("doctor", "--quick", "--results", blocked / "in", KMP_AFFINITY="none", code=4)
    advice = done.stdout.partition("\n- ")[2]
    assert advice.index("problem results folder") < advice.index("warning variables")
    assert "Nothing can be measured here" in advice
    assert not (tmp_path / "work" / "results").exists()


def test_an_absent_gpu_that_is_asked_for_exits_4(in_process):
    done = in_process("doctor", "--quick", "--device", "cuda", "--json", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 4
    gpu = next(check for check in json.loads(done.stdout)["checks"] if check["name"] == "GPU")
    assert gpu["state"] == "problem"


def test_findings_are_kept_for_the_page(in_process, work):
    done = in_process("doctor", "--quick", "--save", "--results", "kept", code=0)
    (found,), notices = Store(work / "kept").load_examinations()
    assert notices == []
    assert {check.name for check in found.checks} >= {"results folder", "isolation"}
    assert found.is_of(describe_environment(threads=1, accelerator=None))
    assert f"The findings are in {Path('kept') / 'doctor'}" in done.stderr
