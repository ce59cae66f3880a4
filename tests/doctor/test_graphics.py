import sys
from types import SimpleNamespace

import pytest
import torch

from esrbench.doctor.graphics import check_gpu, check_nvml

UUID = "01234567-89ab-cdef-0123-456789abcdef"


class NvmlError(Exception):
    """What the fake driver raises."""


def nvml(**answers):
    """A driver that knows one healthy GPU, but for the answers given; an exception is raised."""
    pynvml = pytest.importorskip("pynvml")
    given = {
        "nvmlInit": None,
        "nvmlSystemGetDriverVersion": "580.1",
        "nvmlDeviceGetComputeRunningProcesses": [SimpleNamespace(pid=7)],
        "nvmlDeviceGetGraphicsRunningProcesses": [],
        "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=3),
        # An idle GPU is not throttled.
        "nvmlDeviceGetCurrentClocksEventReasons": pynvml.nvmlClocksEventReasonGpuIdle,
        "nvmlDeviceGetClockInfo": 345,
        "nvmlDeviceGetMaxClockInfo": 1980,
        "nvmlDeviceGetEnforcedPowerLimit": 700_000,
        "nvmlDeviceGetPowerManagementDefaultLimit": 700_000,
        "nvmlDeviceGetPersistenceMode": 1,
        "nvmlDeviceGetMigMode": [0, 0],
        "nvmlDeviceGetEccMode": [1, 1],
    }

    def answer(value):
        def call(*_arguments):
            if isinstance(value, Exception):
                raise value
            return value

        return call

    def by_uuid(uuid):
        if uuid != f"GPU-{UUID}":
            raise NvmlError
        return "handle"

    functions = {name: answer(value) for name, value in (given | answers).items()}
    # Names of functions are those of the real module, or the fake would prove nothing.
    assert all(callable(getattr(pynvml, name)) for name in [*functions, by_uuid_name])
    constants = {
        name: getattr(pynvml, name)
        for name in dir(pynvml)
        if name.startswith("nvmlClocksEventReason")
    }
    return SimpleNamespace(
        NVMLError=NvmlError,
        NVML_CLOCK_SM=pynvml.NVML_CLOCK_SM,
        **{by_uuid_name: by_uuid},
        **functions,
        **constants,
    )


by_uuid_name = "nvmlDeviceGetHandleByUUID"


def checks(build, driver, uuid=UUID):
    return {check.name: check for check in check_nvml(build(pid=7), driver, uuid)}


def test_a_healthy_gpu_is_fine_but_for_what_nvml_does_not_tell(machine):
    found = checks(machine, nvml())
    assert {name: check.state for name, check in found.items()} == {
        "NVML": "ok",
        "GPU processes": "ok",
        "GPU throttling": "ok",
        "GPU clocks": "unknown",
        "GPU power limit": "ok",
        "GPU persistence": "ok",
        "GPU partitions (MIG)": "ok",
        "GPU ECC": "ok",
    }
    assert found["NVML"].finding == "driver 580.1"
    assert found["GPU processes"].finding == "0 others, busy 3 % of the time"
    assert found["GPU clocks"].finding.startswith("SM 345 MHz now, 1980 MHz at most")
    assert found["GPU power limit"].finding == "700 W"


@pytest.mark.parametrize(
    ("name", "answers", "says"),
    [
        (
            "GPU processes",
            {"nvmlDeviceGetGraphicsRunningProcesses": [SimpleNamespace(pid=8)]},
            "1 other",
        ),
        ("GPU power limit", {"nvmlDeviceGetEnforcedPowerLimit": 350_000}, "by default 700 W"),
        ("GPU persistence", {"nvmlDeviceGetPersistenceMode": 0}, "off"),
        ("GPU partitions (MIG)", {"nvmlDeviceGetMigMode": [1, 1]}, "on"),
        # NVML's bits: 0x4 software power cap, 0x40 thermal slowdown by the hardware
        (
            "GPU throttling",
            {"nvmlDeviceGetCurrentClocksEventReasons": 0x44},
            "HwThermalSlowdown, SwPowerCap",
        ),
    ],
)
def test_what_disturbs_is_told(machine, name, answers, says):
    found = checks(machine, nvml(**answers))
    assert {other for other, check in found.items() if check.state == "warning"} == {name}
    assert says in found[name].finding
    assert found[name].advice


def test_what_the_driver_does_not_tell_is_unknown(machine):
    silent = {
        name: NvmlError()
        for name in vars(nvml())
        if name.startswith("nvmlDeviceGet") and name != by_uuid_name
    }
    found = checks(machine, nvml(**silent))
    assert found.pop("NVML").state == "ok"
    assert len(found) == 7
    assert {check.state for check in found.values()} == {"unknown"}


@pytest.mark.parametrize(("driver", "uuid"), [({"nvmlInit": NvmlError()}, UUID), ({}, "another")])
def test_a_driver_that_does_not_answer_is_one_warning(machine, driver, uuid):
    found = checks(machine, nvml(**driver), uuid)
    assert [(check.name, check.state) for check in found.values()] == [("NVML", "warning")]


def test_a_missing_pynvml_is_one_warning(machine):
    (check,) = check_nvml(machine(), None, UUID)
    assert (check.state, check.advice) == ("warning", "pip install 'esrbench[cuda]'")


@pytest.mark.parametrize(
    ("device", "build", "expected"),
    [
        ("cpu", None, ("unknown", "")),
        ("cuda", None, ("problem", "Install a CUDA build")),
        ("cuda", "13.0", ("problem", "Check the driver")),
    ],
)
def test_no_gpu_forbids_measuring_only_where_one_is_asked_for(
    machine,
    monkeypatch,
    device,
    build,
    expected,
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", build)
    (check,) = check_gpu(machine(device=device))
    state, advice = expected
    assert check.state == state
    assert (check.advice or "").startswith(advice)
    assert bool(check.advice) == bool(advice)


@pytest.mark.parametrize(("device", "names"), [("cpu", {"GPU"}), ("cuda", {"GPU", "NVML"})])
def test_a_gpu_that_is_not_measured_on_is_a_single_line(machine, monkeypatch, device, names):
    properties = SimpleNamespace(name="Test GPU", total_memory=2**34, uuid=UUID, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    monkeypatch.setitem(sys.modules, "pynvml", None)  # as if it were not installed
    found = {check.name: check for check in check_gpu(machine(device=device))}
    assert set(found) == names
    assert found["GPU"].state == "ok"
    assert found["GPU"].finding.startswith("Test GPU, number 0 of 1, 16 GiB")
    assert found["GPU"].finding.endswith("; not asked for") == (device == "cpu")


@pytest.mark.cuda
def test_the_gpu_of_this_machine(machine):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    found = {check.name: check for check in check_gpu(machine(device="cuda"))}
    assert found["GPU"].state == "ok"
    assert torch.cuda.get_device_name() in found["GPU"].finding
    assert "NVML" in found
