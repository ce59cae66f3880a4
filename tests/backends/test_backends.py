"""The room of backends: what each can do, and what is said of what it cannot."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from builders import python

from esrbench import backends
from esrbench.backends import (
    UntranslatedError,
    backend_names,
    get_backend,
    naming_operators,
    require_set,
)
from esrbench.errors import MeasurementError, UsageError
from esrbench.protocol import EAGER, ForwardPolicy, Protocol


def test_a_module_that_stands_in_the_room_is_a_backend():
    assert {"torch", "torch-compile", "onnxruntime", "openvino"} <= set(backend_names())
    assert [get_backend(name).name for name in backend_names()] == list(backend_names())
    assert EAGER in backend_names()


def test_an_unknown_backend_is_answered_with_those_there_are():
    with pytest.raises(UsageError, match="no backend 'onnx'") as caught:
        get_backend("onnx")
    assert "Did you mean onnxruntime" in str(caught.value.advice)
    assert "Known: " in str(caught.value.advice)


def test_knowing_all_backends_imports_none_of_their_libraries():
    script = (
        "import sys; from esrbench.backends import backend_names, get_backend;"
        "[get_backend(name).missing('2.13.0') for name in backend_names()];"
        "print({'torch', 'onnxruntime', 'openvino', 'onnx'} & set(sys.modules))"
    )
    done = python(script)
    assert done == "set()"


@pytest.mark.parametrize(
    ("name", "policy", "device", "said"),
    [
        ("torch", ForwardPolicy(precision="bf16", channels_last=True), "cuda", None),
        ("onnxruntime", ForwardPolicy(), "cpu", None),
        ("onnxruntime", ForwardPolicy(), "cuda", "does not run on cuda"),
        ("openvino", ForwardPolicy(precision="bf16"), "cpu", "not bf16"),
        ("openvino", ForwardPolicy(channels_last=True), "cpu", "chooses the layout"),
    ],
)
def test_what_a_backend_cannot_follow_is_named(name, policy, device, said):
    refused = get_backend(name).refuses(policy, device)
    assert refused is None if said is None else said in refused


@pytest.mark.parametrize(
    ("name", "torch", "oldest"),
    [
        ("torch", "1.13.1+cu117", None),
        ("torch-compile", "1.13.1+cu117", "2.1"),
        ("torch-compile", "2.0.1", "2.1"),
        ("torch-compile", "2.1.0", None),
        ("torch-compile", "2.13.0+cpu", None),
        ("aot-inductor", "2.4.1", "2.8"),
        ("aot-inductor", "2.10.0", None),
    ],
)
def test_a_torch_that_is_too_old_for_it_is_named(name, torch, oldest):
    missing = get_backend(name).missing(torch)
    needs = f"{name} needs torch {oldest} or newer, not {torch}"
    advice = "Measure by another backend, or with a newer torch."
    assert missing == (None if oldest is None else (needs, advice))


def test_a_missing_library_is_named_with_the_extra_that_has_it(monkeypatch):
    monkeypatch.setattr(backends, "find_spec", lambda name: name if name == "onnx" else None)
    backend = get_backend("onnxruntime")
    assert backend.missing("2.4.1") == (
        "onnxruntime needs onnxruntime and onnxscript",
        "Install them: pip install 'esrbench[onnx]'.",
    )
    assert get_backend("torch").missing("1.13.1+cu117") is None


def test_an_option_that_was_not_taken_over_is_refused():
    require_set("engine", {"threads": "2"}, {"threads": "2", "streams": "1"})
    with pytest.raises(MeasurementError, match="threads is 8, not 2; hint is unknown, not f32"):
        require_set("engine", {"threads": "2", "hint": "f32"}, {"threads": "8"})


def program(*operators):
    nodes = [
        SimpleNamespace(target=f"aten.{each}.default", meta={"stack_trace": f"called {each}"})
        for each in operators
    ]
    return SimpleNamespace(graph=SimpleNamespace(nodes=nodes))


def test_an_operator_without_a_translation_is_named_with_where_it_is_called():
    cause = KeyError("no function for OpOverload(op='aten.fft_fft2.default')")

    with (
        pytest.raises(
            UntranslatedError, match=r"ONNX has no operator for aten\.fft_fft2"
        ) as caught,
        naming_operators(program("relu", "fft_fft2"), "ONNX"),
    ):
        raise ValueError("step 3 failed") from cause
    assert caught.value.stack == "called fft_fft2"
    assert caught.value.advice


def test_a_failure_that_names_no_operator_is_said_in_its_first_line():
    with (
        pytest.raises(UntranslatedError, match="ONNX cannot be written: OSError: disk full") as one,
        naming_operators(program("relu"), "ONNX"),
    ):
        raise OSError("disk full\nmore")
    assert one.value.stack == ""


def test_records_from_before_there_were_backends_load():
    for compiled, backend in ((True, "torch-compile"), (False, EAGER)):
        policy = ForwardPolicy.model_validate_json(
            f'{{"precision": "fp16", "compiled": {str(compiled).lower()}}}'
        )
        assert policy == ForwardPolicy(precision="fp16", backend=backend)
    assert Protocol().forward.label == "fp32"
    by_onnx = Protocol().by("onnxruntime")
    assert by_onnx.forward.label == "fp32, onnxruntime"
    assert by_onnx.digest() != Protocol().digest()
    assert by_onnx.eager == Protocol()
