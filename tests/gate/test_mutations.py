"""Mutants of one of this program's own networks, in a copy of it, against its own baseline."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from builders import run
from safetensors.torch import load_file, save_file

import esrbench
import esrbench_models
from esrbench.gate.figures import Terms, terms_of
from esrbench.gate.verdicts import GateReport
from esrbench.protocol import Protocol

BASELINE = Path(__file__).resolve().parents[2] / "results" / "baseline.json"
COUNTED = {"params", "macs_aten", "macs_fvcore", "conv_calls_aten", "activations_aten"}
SCORED = {"psnr_rgb", "psnr_y", "ssim_y"}

ATTENTION = "        self.attention = attention\n"
EXTRA = "        self.extra = conv(channels, channels, 3)\n"
REFINE = "        r3 = self.refine(self.residual3, r2)\n"
MUTANTS = {
    "words": [
        ('"""Map (N, C, H, W) to the same shape."""', '"""Map features to features."""'),
        ("SLOPE = 0.05", "# Of every activation.\nSLOPE = 0.05"),
    ],
    "convolution": [
        (ATTENTION, ATTENTION + EXTRA),
        ("self.merge(distilled)", "self.extra(self.merge(distilled))"),
    ],
    "slope": [("SLOPE = 0.05", "SLOPE = 0.06")],
    "twice": [(REFINE, REFINE + "        r3 = self.refine(self.residual3, r3)\n")],
    "doubled": [("blocks: int = 4,", "blocks: int = 8,")],
    "weights": [],
}
"""What is replaced in RFDN's code, by mutant."""
UNSCORED = {"twice", "doubled"}
"""Mutants whose counts alone are checked."""
REGISTER = """
ENTRIES = tuple(
    ENTRIES[0].model_copy(
        update={{"name": f"rfdn-{{name}}", "factory": f"esrbench_models.rfdn.{{name}}:RFDN"}}
    )
    for name in {names}
)
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),  # one command measures all mutants
    pytest.mark.skipif(
        not BASELINE.is_file(), reason="results/baseline.json is not in this distribution"
    ),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of a copy of this program that has a mutant where it had RFDN, many times over.

    Each goes by a name of its own, under which the baseline has RFDN's figures, so that one check
    tells of all.
    """
    folder = tmp_path_factory.mktemp("copy")
    for package in (esrbench, esrbench_models):
        source = Path(str(package.__file__)).parent
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, folder / source.name, ignore=ignored)
    for name, replacements in MUTANTS.items():
        _write_mutant(folder / "esrbench_models" / "rfdn", name, replacements)
    entries = folder / "esrbench_models" / "rfdn" / "__init__.py"
    entries.write_text(entries.read_text() + REGISTER.format(names=list(MUTANTS)))
    baseline = json.loads(BASELINE.read_text())
    kept = baseline["entries"]["rfdn x4"]
    kept.pop("runtime", None)
    # A figure that moved is incomparable where torch is another one. Without a mutant, the figures
    # are the same with every torch, so the copy's baseline is one of the torch that runs here.
    here = Terms(
        protocol=baseline["terms"][kept["terms"]]["protocol"],
        software=terms_of(Protocol()).software,
    )
    kept["terms"] = here.digest
    baseline["terms"] = {here.digest: here.model_dump(mode="json")}
    counted = {key: value for key, value in kept.items() if key != "scores"}
    baseline["entries"] = {
        f"rfdn-{name} x4": counted if name in UNSCORED else kept for name in (*MUTANTS, "gone")
    }
    file = folder / "baseline.json"
    file.write_text(json.dumps(baseline))
    command = (sys.executable, "-c", "from esrbench.cli.app import main; main()", "check")
    done = run(
        *(*command, "--baseline", file, "--threads=1", "--json"),
        code=1,
        folder=folder,
        PYTHONPATH=str(folder),
        ESRBENCH_CACHE=str(folder / "cache"),
    )
    document = json.loads(done.stdout)
    assert document.pop("exit_code") == 1, document
    return GateReport.model_validate({key: document[key] for key in ("baseline", "findings")})


def _write_mutant(package, name, replacements):
    text = (package / "network.py").read_text()
    for old, new in replacements:
        assert text.count(old) == 1, f"network.py has {text.count(old)} of {old!r}"
        text = text.replace(old, new)
    (package / f"{name}.py").write_text(text)
    weights = package / f"rfdn-{name}_x4.safetensors"
    shutil.copy(package / "rfdn_x4.safetensors", weights)
    if name == "weights":
        # Two tensors of one shape change places, as if a block had been loaded from another.
        state = load_file(weights)
        first, second = "blocks.0.residual1.weight", "blocks.1.residual1.weight"
        assert state[first].shape == state[second].shape
        state[first], state[second] = state[second].clone(), state[first].clone()
        save_file(state, weights)


def judged(report, name):
    """Exit code and findings of a mutant, as if it alone had been checked."""
    findings = tuple(each for each in report.findings if each.entry == f"rfdn-{name}")
    found = {each.metric: each for each in findings}
    assert len(found) == len(findings) > 0
    return GateReport(baseline="file", findings=findings).exit_code, found


def by_verdict(found, verdict):
    return {metric for metric, each in found.items() if each.verdict == verdict}


def test_words_alone_change_nothing(report):
    code, found = judged(report, "words")

    assert code == 0
    assert by_verdict(found, "unchanged") == set(found) >= {"weights", *SCORED, *COUNTED}


def test_one_more_convolution_is_a_regression(report):
    code, found = judged(report, "convolution")

    assert code == 1
    assert by_verdict(found, "regressed") >= {*COUNTED, "effective_constants"}
    # The shipped weights do not fit any more, which the scores say; the counts do not need them.
    assert by_verdict(found, "failed") == SCORED
    assert found["weights"].verdict == "unchanged"
    # Four blocks, each with 50 x 50 x 9 weights and 50 biases more.
    before, now = found["params"].before, found["params"].now
    assert now == before + 4 * (50 * 50 * 9 + 50)


def test_another_slope_moves_scores_alone(report):
    code, found = judged(report, "slope")

    assert code == 1
    assert by_verdict(found, "regressed") == SCORED
    assert by_verdict(found, "unchanged") == set(found) - SCORED


def test_a_part_that_runs_twice_costs_more_with_the_same_parameters(report):
    code, found = judged(report, "twice")

    assert code == 1
    assert by_verdict(found, "regressed") >= COUNTED - {"params"}
    assert found["params"].verdict == "unchanged"


def test_doubled_blocks_are_a_regression(report):
    code, found = judged(report, "doubled")

    assert code == 1
    assert by_verdict(found, "regressed") >= COUNTED


def test_other_weights_are_a_regression(report):
    code, found = judged(report, "weights")

    assert code == 1
    assert by_verdict(found, "regressed") == {"weights", *SCORED}


def test_a_network_that_is_gone_is_a_regression(report):
    code, found = judged(report, "gone")

    assert (code, by_verdict(found, "missing")) == (1, {"entry"})
