"""Factories are called as their signatures ask, in the folder of their entry."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import descriptor, write_files

from esrbench.entries import building
from esrbench.entries.descriptor import ModelDescriptor
from esrbench.entries.factories import arguments_of
from esrbench.entries.networks import build_network, load_network
from esrbench.entries.submissions import read_submission
from esrbench.errors import RegistrationError

MANIFEST = """
schema = 1
[model]
name = "team-net"
factory = "model:Net"
scales = [4]
{model}
[team]
name = "Team"
contact = "me"
"""


def called(factory, scale=4, **fields) -> Any:
    by_position, by_name = arguments_of(descriptor(**fields), factory, scale)
    return factory(*by_position, **by_name)


def takes(names):
    """A function of these parameters that returns what it is given."""
    scope: dict[str, Any] = {}
    exec(f"def factory({names}): return locals()", scope)  # noqa: S102 - text of this test
    return scope["factory"]


@pytest.mark.parametrize(
    "name",
    ["scale", "upscale", "upscale_factor", "upscaling_factor", "scale_factor", "sr_rate"],
)
def test_the_scale_is_passed_under_the_name_that_the_factory_has(name):
    assert called(takes(f"width=8, {name}=2"), scales=(2, 4)) == {"width": 8, name: 4}
    assert called(takes(f"width=8, *, {name}")) == {"width": 8, name: 4}


@pytest.mark.parametrize(
    ("names", "fields", "given"),
    [
        # Nothing takes the scale, and there is only one.
        ("width=8", {}, {"width": 8}),
        ("", {}, {}),
        # Any keyword is taken.
        ("width=8, **rest", {}, {"width": 8, "rest": {"scale": 4}}),
        ("upscale=2, **rest", {}, {"upscale": 4, "rest": {}}),
        # It is given.
        ("width, upscale", {"arguments": [16, 3]}, {"width": 16, "upscale": 3}),
        ("upscale=2", {"arguments": {"upscale": 3}}, {"upscale": 3}),
        ("upscale=2", {"options": {"upscale": 3}}, {"upscale": 3}),
        ("**rest", {"options": {"upscale": 3}}, {"rest": {"upscale": 3}}),
        # Of two names the one without a default is meant, and where both have one, neither.
        ("upscale, scale=1.0", {}, {"upscale": 4, "scale": 1.0}),
        ("upscale=3, scale=1.0", {}, {"upscale": 3, "scale": 1.0}),
        ("upscale=3, scale=1.0", {"options": {"scale": 0.1}}, {"upscale": 3, "scale": 0.1}),
        # It is declared.
        (
            "upscale=3, scale=1.0",
            {"scale_argument": "upscale", "scales": (2, 4)},
            {"upscale": 4, "scale": 1.0},
        ),
        ("sf=2", {"scale_argument": "sf"}, {"sf": 4}),
        ("**rest", {"scale_argument": "sf"}, {"rest": {"sf": 4}}),
        ("sf, width", {"scale_argument": "sf", "arguments": [2, 8]}, {"sf": 2, "width": 8}),
        # By position and by keyword.
        ("a, b, c=3, *, d", {"arguments": [1, [2]], "options": {"d": {"e": 4}}},
         {"a": 1, "b": [2], "c": 3, "d": {"e": 4}}),
        ("a, *rest", {"arguments": [1, 2, 3]}, {"a": 1, "rest": (2, 3)}),
    ],
)  # fmt: skip
def test_what_a_factory_is_called_with(names, fields, given):
    assert called(takes(names), **fields) == given


@pytest.mark.parametrize(
    ("names", "fields", "said"),
    [
        ("width=8", {"scales": (2, 4)}, "2 scales are declared"),
        ("upscale=2", {"scales": (2, 4), "options": {"upscale": 2}}, "but 2 scales are declared"),
        ("scale=1.0, upscale=4", {"scales": (2, 4)}, "but 2 scales are declared"),
        ("scale, upscale", {}, "scale, upscale may each be the scale"),
        ("width=8", {"scale_argument": "sf"}, "it has no parameter 'sf'"),
        ("width=8", {"options": {"depth": 3}}, "an unexpected keyword argument 'depth'"),
        ("width=8", {"arguments": [1, 2]}, "too many positional arguments"),
        ("width=8", {"arguments": [1], "options": {"width": 2}}, "multiple values"),
    ],
)
def test_a_factory_that_cannot_be_called_is_refused_by_the_field(names, fields, said):
    with pytest.raises(RegistrationError, match=said) as caught:
        called(takes(names), **fields)
    assert "net: math:sqrt cannot be called: " in caught.value.message
    field = "scale_argument" if "scale" in said or "sf" in said else "arguments or options"
    assert (caught.value.advice or "").startswith(f"Correct {field} of its descriptor; ")
    assert f"({names})" in (caught.value.advice or "")


@pytest.mark.parametrize(
    ("names", "fields", "said"),
    [
        ("opt, scale", {}, "missing a required argument: 'opt'"),
        ("opt, *, up", {"arguments": [{"n": 4}]}, "missing a required"),
    ],
)
def test_a_factory_that_lacks_an_argument_is_explained(monkeypatch, names, fields, said):
    monkeypatch.setattr(building, "resolve_factory", lambda *_args, **_kwargs: takes(names))
    with pytest.raises(RegistrationError, match=said) as caught:
        building.build(descriptor(**fields), 4)
    advice = "Correct arguments, options or scale_argument of its descriptor; the factory takes "
    assert caught.value.advice == f"{advice}({names})."


def test_a_type_error_of_the_factory_itself_is_kept(monkeypatch):
    def factory(scale):
        return len(scale)

    monkeypatch.setattr(building, "resolve_factory", lambda *_args, **_kwargs: factory)
    with pytest.raises(TypeError, match="has no len"):
        building.build(descriptor(), 4)


def test_what_has_no_signature_is_given_the_scale():
    class Opaque:
        __signature__ = "none"

        def __call__(self):
            """Nobody calls it."""

    assert arguments_of(descriptor(options={"a": 1}), Opaque(), 4)[1] == {"a": 1, "scale": 4}


def test_partial_functions_and_classes_have_signatures():
    class Net:
        def __init__(self, width, upscale=2):
            self.given = (width, upscale)

    assert called(Net, arguments=[8]).given == (8, 4)
    assert called(partial(Net, 16)).given == (16, 4)


def test_a_factory_cannot_change_what_is_declared():
    entry = descriptor(arguments=[[1]], options={"b": {"c": [2]}})

    def factory(a, b):
        a.append(b.pop("c"))
        return a

    by_position, by_name = arguments_of(entry, factory, 4)
    assert factory(*by_position, **by_name) == [1, [2]]
    assert (entry.arguments, entry.options) == ([[1]], {"b": {"c": [2]}})


def test_arguments_are_the_same_once_a_worker_has_read_them():
    given = {"arguments": {"widths": (16, 24), "ratio": 1.0}, "options": {"norm": [{"eps": 1e-6}]}}
    entry = descriptor(**given)
    assert entry.arguments == {"widths": [16, 24], "ratio": 1.0}
    assert isinstance(entry.arguments["ratio"], float)
    assert ModelDescriptor.model_validate_json(entry.model_dump_json()) == entry


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"arguments": {"a": 1}, "options": {"a": 2}}, "arguments: kwargs has a too"),
        ({"arguments": {"a": 1}, "scale_argument": "a"}, "a is given by arguments or kwargs"),
        ({"arguments": "ab"}, "expected a list, by position, or a table, by keyword"),
        ({"arguments": [None]}, "expected a string, a number, true or false, or lists"),
        ({"arguments": [float("inf")]}, "expected a string, a number"),
        ({"options": {"a": [[[[[[[[[1]]]]]]]]]}}, "at most 8 levels"),
        ({"scale_argument": "up scale"}, "should match pattern"),
        ({"deploy": "switch to"}, "should match pattern"),
    ],
)
def test_arguments_that_no_manifest_can_declare_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        descriptor(**fields)


SELF_LOADING = """
from pathlib import Path
from pathlib import Path
import torch
from torch import nn

HERE = Path("zoo/note.txt").read_text()


class Net(nn.Module):
    def __init__(self, widths, *, act="relu", upscale=2):
        super().__init__()
        self.told = (HERE, widths, act, upscale)
        self.gain = nn.Parameter(torch.load("zoo/gain.pth"))


def fold(network):
    network.told += (Path("zoo/note.txt").read_text(),)
    return network
"""


def test_a_network_is_built_in_its_folder_by_its_manifest(tmp_path):
    model = 'arguments = [[16, 24]]\nkwargs = { act = "gelu" }\nprepare = "model:fold"'
    files = {"model.py": SELF_LOADING, "submission.toml": MANIFEST.format(model=model)}
    folder = write_files(tmp_path / "team-net", {**files, "zoo/note.txt": "here"})
    torch.save(torch.tensor([3.0]), folder / "zoo" / "gain.pth")
    before = Path.cwd()
    network: Any = load_network(read_submission(folder), 4).network
    assert network.told == ("here", [16, 24], "gelu", 4, "here")
    assert network.gain.item() == 3
    assert Path.cwd() == before


def test_the_working_directory_is_put_back_where_building_fails(tmp_path):
    code = "def Net():\n    raise ValueError\n"
    files = {"model.py": code, "submission.toml": MANIFEST.format(model="")}
    entry = read_submission(write_files(tmp_path / "team-net", files))
    before = Path.cwd()
    with pytest.raises(ValueError, match=r"^$"):
        build_network(entry, 4)
    assert Path.cwd() == before


REP = """
import torch
from torch import nn


class Rep(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
        self.inner = nn.Module()

    def switch_to_deploy(self):
        self.gain.data += 1
        del self.inner


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = Rep(), Rep()
        self.first.inner = Rep()  # gone when the part it belongs to is switched


class Net(Parts):
    def switch_to_deploy(self):
        self.first.switch_to_deploy()


def switch(network):
    network.second.switch_to_deploy()


def other(network):
    return Parts()


def fold(network):
    network.first.gain.data *= 10
    return network
"""


@pytest.mark.parametrize(
    ("model", "gains"),
    [
        ('deploy = "switch_to_deploy"', [2, 1]),  # the network's own method
        ('factory = "model:Parts"\ndeploy = "switch_to_deploy"', [2, 2]),  # that of each part
        ('deploy = "model:switch"', [1, 2]),
        ('deploy = "switch_to_deploy"\nprepare = "model:fold"', [20, 1]),  # in this order
    ],
)
def test_a_network_is_deployed_in_place(tmp_path, model, gains):
    text = MANIFEST.format(model=model)
    text = text.replace('factory = "model:Net"\n', "") if "factory" in model else text
    folder = write_files(tmp_path / "team-net", {"model.py": REP, "submission.toml": text})
    network: Any = load_network(read_submission(folder), 4).network
    assert [network.first.gain.item(), network.second.gain.item()] == gains
    assert not any(module.training for module in network.modules())


@pytest.mark.parametrize(
    ("deploy", "said", "advice"),
    [
        (
            "merge",
            "neither Net nor a part of it has a method 'merge'",
            "Correct deploy: name a method",
        ),
        ("model:other", "model:other returned a new network", "Declare it as prepare"),
        ("model:nothing", "has no attribute 'nothing'", "Define nothing there"),
    ],
)
def test_what_cannot_deploy_a_network_is_refused(tmp_path, deploy, said, advice):
    text = MANIFEST.format(model=f'deploy = "{deploy}"')
    folder = write_files(tmp_path / "team-net", {"model.py": REP, "submission.toml": text})
    with pytest.raises(RegistrationError, match=said) as caught:
        load_network(read_submission(folder), 4)
    assert advice is None or (caught.value.advice or "").startswith(advice)
