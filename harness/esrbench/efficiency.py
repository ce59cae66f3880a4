"""Figures of networks for assertions in a test suite; the fixture of ``esrbench.pytest_plugin``."""

from __future__ import annotations

import io
import re
import tempfile
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn, ParamSpec, TypeVar

import pytest
from rich.console import Console

from esrbench.entries.registry import default_registry
from esrbench.errors import (
    EXIT_INCONCLUSIVE,
    EXIT_OK,
    DataError,
    EsrbenchError,
    MeasurementError,
    UsageError,
)
from esrbench.gate.baseline import Baseline, changes, read_baseline, write_baseline
from esrbench.gate.bench import Bench, Request
from esrbench.gate.figures import KNOWN, METRIC_NAMES
from esrbench.gate.gate import check_baseline
from esrbench.gate.update import update
from esrbench.gate.verdicts import ENTRY, RUNTIME
from esrbench.protocol import Protocol
from esrbench.records import required
from esrbench.reports.ci import gate_table
from esrbench.reports.formats import render
from esrbench.runs.in_process import prepare_forward
from esrbench.runs.inspection import count_models
from esrbench.runs.plan import plan_suite
from esrbench.runs.store import Store
from esrbench.runs.suite import run_suite

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from pytest_benchmark.fixture import BenchmarkFixture

    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.entries.networks import WeightsChoice
    from esrbench.gate.verdicts import GateReport
    from esrbench.protocol import CounterName
    from esrbench.records import Complexity, CounterResult, RunRecord

__tracebackhide__ = True  # tests fail and are skipped at their own lines

PREFERRED_SCALE = 4
WARMUP_ROUNDS = 3
TEXT_WIDTH = 120

FoundT = TypeVar("FoundT")
ParamsT = ParamSpec("ParamsT")


def _in_words(method: Callable[ParamsT, FoundT]) -> Callable[ParamsT, FoundT]:
    """Have what the user can mend fail the test in words, without a traceback."""

    @wraps(method)
    def measured(*arguments: ParamsT.args, **options: ParamsT.kwargs) -> FoundT:
        try:
            return method(*arguments, **options)
        except EsrbenchError as error:
            problems = error.problems if isinstance(error, DataError) else ()
            lines = [error.message, *(f"  - {problem}" for problem in problems), error.advice or ""]
            said = "\n".join(filter(None, lines))
            raise pytest.fail.Exception(_updated_by_pytest(said), pytrace=False) from None

    return measured


class Efficiency:
    """The fixture ``efficiency``: each method gives a plain number, or fails the test.

    Networks are counted and scored in separate worker processes. The scale is 4, or the only scale
    of the network, unless ``scale`` says otherwise. If something goes wrong, the test fails with a
    sentence and advice. Paths are relative to pytest's root folder.

    Args:
        request: of the test.
        measured: in this session, so that nothing is measured twice; filled here.
    """

    def __init__(self, request: pytest.FixtureRequest, measured: dict[object, object]) -> None:
        self._request = request
        self._measured = measured

    @_in_words
    def params(self, name: str, *, scale: int | None = None) -> int:
        """Elements of all parameters."""
        return self._complexity(name, scale).params

    @_in_words
    def macs(
        self,
        name: str,
        *,
        counter: CounterName = "ntire2022",
        input_size: tuple[int, int] = (256, 256),
        scale: int | None = None,
    ) -> int:
        """Multiply-accumulates of one forward.

        Args:
            name: registered name.
            counter: rule by which they are counted.
            input_size: LR height and width.
            scale: upscaling factor.
        """
        return self._counted(name, counter, input_size, scale).macs

    @_in_words
    def activations(
        self,
        name: str,
        *,
        counter: CounterName = "ntire2022",
        input_size: tuple[int, int] = (256, 256),
        scale: int | None = None,
    ) -> int:
        """Elements of all convolution outputs of one forward; arguments as of ``macs``."""
        found = self._counted(name, counter, input_size, scale).activations
        return _defined(found, counter, "activations")

    @_in_words
    def conv_calls(
        self,
        name: str,
        *,
        counter: CounterName = "ntire2022",
        input_size: tuple[int, int] = (256, 256),
        scale: int | None = None,
    ) -> int:
        """Convolutions that one forward executes; arguments as of ``macs``."""
        found = self._counted(name, counter, input_size, scale).conv_calls
        return _defined(found, counter, "convolutions")

    @_in_words
    def predicted_memory(self, name: str, *, scale: int | None = None) -> int:
        """Bytes of GPU memory that one forward at LR 510x510 needs at its peak, as predicted."""
        return required(self._complexity(name, scale).predicted_memory).peak_bytes

    @_in_words
    def psnr(
        self,
        name: str,
        *,
        data: str | os.PathLike[str] = "demo",
        channel: Literal["rgb", "y"] = "rgb",
        scale: int | None = None,
        weights: WeightsChoice = "auto",
    ) -> float:
        """PSNR in dB, mean over the images.

        Args:
            name: registered name.
            data: name of a data set, or folder of HR/LR pairs.
            channel: ``rgb``, or ``y`` for BT.601 luma.
            scale: upscaling factor.
            weights: ``auto`` for the released ones, or a file. Random ones have no score.
        """
        return self._score(f"psnr_{channel}", name, data, scale, weights)

    @_in_words
    def ssim(
        self,
        name: str,
        *,
        data: str | os.PathLike[str] = "demo",
        scale: int | None = None,
        weights: WeightsChoice = "auto",
    ) -> float:
        """SSIM on Y, mean over the images; arguments as of ``psnr``."""
        return self._score("ssim_y", name, data, scale, weights)

    @_in_words
    def benchmark(
        self,
        name: str,
        benchmark: BenchmarkFixture | None = None,
        *,
        input_size: tuple[int, int] = (64, 64),
        scale: int | None = None,
        weights: WeightsChoice = "auto",
        rounds: int = 10,
    ) -> None:
        """Time forwards by pytest-benchmark, in this process, and store what makes them comparable.

        ``extra_info["esrbench"]`` holds the network, the hash of its code, its weights, the digest
        of the protocol and the environment. Runtimes of two processes differ by several percent on
        a CPU: to tell two versions apart use ``no_regression`` or ``esrbench race``.

        Args:
            name: registered name.
            benchmark: the fixture of pytest-benchmark; asked for if left out.
            input_size: LR height and width.
            scale: upscaling factor.
            weights: ``auto`` for the released ones, random ones if there are none; or a file.
            rounds: timed forwards, after three that are not.
        """
        fixture = benchmark or self._benchmark_fixture()
        descriptor, scale = self._find(name, scale)
        try:
            forward, identity = prepare_forward(
                descriptor, scale, input_size, self._weights(weights)
            )
            fixture.extra_info["esrbench"] = identity
            timed: Callable[..., object] = fixture.pedantic
            timed(forward, rounds=rounds, warmup_rounds=WARMUP_ROUNDS)
        except EsrbenchError:
            raise
        except Exception as error:
            raise MeasurementError(f"{name} failed on LR {input_size}: {error}") from error

    @_in_words
    def no_regression(
        self,
        name: str,
        *,
        baseline: str | os.PathLike[str] = "esrbench-baseline.json",
        scale: int | None = None,
        metrics: Sequence[str] | None = None,
        runtime: bool = False,
        strict: bool = False,
        weights: WeightsChoice = "auto",
    ) -> GateReport:
        """Fail if the gate of ``esrbench check`` finds a regression; the verdicts are shown.

        If nothing regressed but something could not be judged, the test is skipped. With ``pytest
        --esrbench-update`` nothing is compared: the network is measured, and the file updated.

        Args:
            name: registered name.
            baseline: file that ``esrbench baseline update`` or ``--esrbench-update`` wrote.
            scale: upscaling factor; every one that the baseline has if left out.
            metrics: that are compared; all deterministic ones if left out.
            runtime: compare the runtime's ratio to the baseline's reference, too, which takes
                minutes and a machine that does nothing else.
            strict: what cannot be judged fails, too.
            weights: ``auto`` for those that the baseline names, or a file.

        Returns:
            All verdicts.
        """
        path = self._path(baseline)
        wanted = frozenset(KNOWN if metrics is None else metrics)
        unknown = sorted(wanted - set(METRIC_NAMES))
        if unknown:
            message = f"there is no metric {unknown[0]!r}"
            raise UsageError(message, advice=f"Use any of {', '.join(METRIC_NAMES)}.")
        request = Request(
            names=(name,),
            scales=() if scale is None else (scale,),
            metrics=wanted | ({RUNTIME} if runtime else set()),
            weights={} if weights == "auto" else {name: self._weights(weights)},
        )
        bench = Bench(default_registry(), request)
        if self._request.config.getoption("esrbench_update"):
            self._update(bench, path)
        report = check_baseline(bench, read_baseline(path), f"compared with {path.name}")
        if report.exit_code == EXIT_OK:
            return report
        said = f"{name} against {path}\n\n{_updated_by_pytest(verdict_text(report))}"
        new = any(found.metric == ENTRY for found in report.findings)
        if report.exit_code == EXIT_INCONCLUSIVE and not new and not strict:
            pytest.skip(said)
        pytest.fail(said, pytrace=False)

    def _update(self, bench: Bench, path: Path) -> NoReturn:
        """Write what a network measures now into a baseline, and skip the test."""
        if hasattr(self._request.config, "workerinput"):
            message = "several processes of pytest would write one baseline"
            raise UsageError(message, advice="Run it without --numprocesses.")
        before = read_baseline(path) if path.exists() else Baseline()
        now = update(bench, before)
        write_baseline(now, path)
        changed = [f"  {line}" for line in changes(before, now)]
        pytest.skip("\n".join([f"{path} is up to date", *changed]))

    def _once(self, key: object, measure: Callable[[], FoundT]) -> FoundT:
        """The value that ``measure`` returned at the first call for this key."""
        if key not in self._measured:
            self._measured[key] = measure()
        found: FoundT = self._measured[key]  # type: ignore[assignment]  # stored by the same key
        return found

    def _find(self, name: str, scale: int | None) -> tuple[ModelDescriptor, int]:
        descriptor = default_registry().get(name)
        if scale is None:
            if PREFERRED_SCALE in descriptor.scales:
                scale = PREFERRED_SCALE
            elif len(descriptor.scales) == 1:
                scale = descriptor.scales[0]
            else:
                known = ", ".join(map(str, descriptor.scales))
                message = f"{name} is defined at the scales {known}"
                raise UsageError(message, advice="Pass scale= to say which one is meant.")
        descriptor.require_scale(scale)
        return descriptor, scale

    def _complexity(
        self, name: str, scale: int | None, input_size: tuple[int, int] = (256, 256)
    ) -> Complexity:
        descriptor, at = self._find(name, scale)
        (found,) = self._once(
            ("complexity", name, at, input_size),
            lambda: tuple(count_models([(descriptor, at)], input_size=input_size)),
        )
        return required(found)

    def _counted(
        self, name: str, counter: CounterName, input_size: tuple[int, int], scale: int | None
    ) -> CounterResult:
        counters = self._complexity(name, scale, input_size).counters
        if counter not in counters:
            message = f"there is no counter {counter!r}"
            raise UsageError(message, advice=f"Use one of {', '.join(counters)}.")
        return required(counters[counter])

    def _score(
        self,
        metric: str,
        name: str,
        data: str | os.PathLike[str],
        scale: int | None,
        weights: WeightsChoice,
    ) -> float:
        _, at = self._find(name, scale)
        spec = data if isinstance(data, str) else str(self._path(data))
        chosen = self._weights(weights)
        record = self._once(
            ("scores", name, at, spec, str(chosen)),
            lambda: _run(name, spec, at, chosen),
        )
        return required(record.values[metric]).value

    def _weights(self, weights: WeightsChoice) -> WeightsChoice:
        return weights if weights in {"auto", None} else self._path(weights or "")

    def _path(self, path: str | os.PathLike[str]) -> Path:
        return self._request.config.rootpath / path

    def _benchmark_fixture(self) -> BenchmarkFixture:
        try:
            fixture: BenchmarkFixture = self._request.getfixturevalue("benchmark")
        except pytest.FixtureLookupError:
            message = "efficiency.benchmark needs pytest-benchmark, which is not installed"
            raise UsageError(message, advice="Install pytest-benchmark.") from None
        return fixture


def _updated_by_pytest(text: str) -> str:
    """Advice as a test can follow it; pytest also updates networks that only the tests register."""
    text = text.replace("`esrbench baseline update`", "`pytest --esrbench-update`")
    return re.sub(r"--weights \S+=FILE", "weights=FILE", text)


def verdict_text(report: GateReport) -> str:
    """Every verdict, what to do and the outcome, as lines of text."""
    console = Console(file=io.StringIO(), width=TEXT_WIDTH, color_system=None)
    with console.capture() as captured:
        console.print(render(gate_table(report, brief=True), "terminal"))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _run(name: str, data: str, scale: int, weights: WeightsChoice) -> RunRecord:
    """Score a network; the record is not kept."""
    suite = plan_suite(
        default_registry(),
        [name],
        [data],
        scale,
        weights={name: weights},
        protocol=Protocol(latency=None),
    )
    with tempfile.TemporaryDirectory(prefix="esrbench-pytest-") as folder:
        (record,) = run_suite(suite, Store(Path(folder)))
    return record


def _defined(found: int | None, counter: str, what: str) -> int:
    if found is None:
        message = f"the counter {counter} has no rule for {what}"
        raise UsageError(message, advice="Use counter='ntire2022' or counter='aten'.")
    return found
