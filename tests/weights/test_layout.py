"""Any usual checkpoint loads into its network, and the record says how it was read."""

from __future__ import annotations

import argparse
import tomllib

import pytest
import torch
from builders import checkpoint
from torch import nn

from esrbench.errors import WeightsError
from esrbench.records import WeightsLayout
from esrbench.weights.layout import load_file, read_weights


def network():
    return nn.ModuleDict({"head": nn.Linear(3, 2), "tail": nn.Linear(2, 1)})


def state(fill=None):
    found = network().state_dict()
    return {name: torch.full_like(each, fill) if fill else each for name, each in found.items()}


def prefixed(prefix, fill=7.0):
    return {f"{prefix}{name}": each for name, each in state(fill).items()}


def loads(path, **declared):
    """The layout of a file that fills a network with sevens."""
    target = network()
    layout = load_file(target, path, **declared)
    assert all(bool((each == 7).all()) for each in target.state_dict().values())
    return layout


LIGHTNING = {
    "state_dict": prefixed("net."),
    "epoch": 3,
    "pytorch-lightning_version": "2.0",
    "hyper_parameters": argparse.Namespace(width=16),
    "optimizer_states": [{"state": {}, "param_groups": []}],
}
EVERYDAY = {
    "plain": (state(7.0), None),
    "distributed": (prefixed("module."), {"prefix": "module."}),
    "compiled": ({"params": prefixed("_orig_mod.")}, {"key": "params", "prefix": "_orig_mod."}),
    "Lightning": (LIGHTNING, {"key": "state_dict", "prefix": "net."}),
    "BasicSR": ({"params": state(1.0), "params_ema": state(7.0)}, {"key": "params_ema"}),
    "timm": ({"state_dict": state(1.0), "state_dict_ema": state(7.0)}, {"key": "state_dict_ema"}),
    "EMA": ({"model_ema": state(7.0), "model": state(1.0), "iter": 9}, {"key": "model_ema"}),
    "nested": ({"model": {"state_dict": state(7.0)}}, {"key": "model.state_dict"}),
    # A prefix that lies elsewhere than trainers put it, which the network's names prove.
    "wrapped": ({"params": prefixed("model.")}, {"key": "params", "prefix": "model."}),
}


@pytest.mark.parametrize("kind", EVERYDAY)
def test_everyday_checkpoints_load_undeclared(tmp_path, kind):
    content, expected = EVERYDAY[kind]
    layout = loads(checkpoint(tmp_path, content, "w.pth.tar"))
    assert layout == (None if expected is None else WeightsLayout(**expected))


def test_a_prefix_that_is_the_networks_own_stays(tmp_path):
    path = checkpoint(tmp_path, prefixed("module."))
    wrapped = nn.ModuleDict({"module": network()})
    assert load_file(wrapped, path) is None
    path = checkpoint(tmp_path, prefixed("module.module."))
    assert load_file(wrapped, path) == WeightsLayout(prefix="module.")
    assert loads(path) == WeightsLayout(prefix="module.module.")


def test_a_prefix_is_found_before_names_that_are_renamed(tmp_path):
    content = {name.replace("head", "first"): each for name, each in prefixed("net.").items()}
    path = checkpoint(tmp_path, {"params": content})
    assert loads(path, renames=[("first", "head")]) == WeightsLayout(key="params", prefix="net.")


@pytest.mark.parametrize(
    ("key", "found"),
    [
        (["params_ema", "params"], "params"),
        (["model", "params", "params_ema"], "params"),
        (["model", ""], None),
        ("params", "params"),
    ],
)
def test_the_first_key_that_is_there_is_taken(tmp_path, key, found):
    content = {"params": state(1.0)} if found else state(1.0)
    read = read_weights(checkpoint(tmp_path, content), key=key)
    assert (read.key, read.notes) == (found, [])


def test_no_key_that_is_there(tmp_path):
    path = checkpoint(tmp_path, {"params": state()})
    with pytest.raises(WeightsError, match="there is no key 'model'; it has params") as caught:
        read_weights(path, key=["model", "net"])
    assert caught.value.advice == "Declare key='params'."


def test_what_lies_beside_a_declared_prefix_is_left_out(tmp_path):
    content = prefixed("net.") | {"loss.weight": torch.ones(1)}
    path = checkpoint(tmp_path, {"state_dict": content})
    assert loads(path, prefix="net.") == WeightsLayout(key="state_dict", prefix="net.")
    assert read_weights(path, prefix="net.").left_out == ["loss.weight: tensor"]
    with pytest.raises(WeightsError, match="does not fit ModuleDict") as caught:
        loads(path)
    assert "4 of 5 names start with 'net.': prefix='net.' takes them alone." in (
        caught.value.advice or ""
    )


SURPLUS = {
    "distill.weight": torch.ones(1),
    "distill.0.bias": torch.ones(1),
    "head.mask": torch.ones(1),
}


def test_surplus_keys_are_ignored_by_pattern_and_told(tmp_path):
    path = checkpoint(tmp_path, {"params": state(7.0) | SURPLUS})
    layout = loads(path, ignore=["distill.*", "*.mask"])
    assert layout == WeightsLayout(key="params", ignored=tuple(SURPLUS), ignored_count=3)
    assert layout.describe() == (
        "under 'params', 3 surplus keys ignored (distill.weight, distill.0.bias, head.mask)"
    )
    # What the network has is loaded, whatever patterns say.
    assert loads(path, ignore=["*"]) == layout


def test_long_lists_of_surplus_keys_are_cut(tmp_path):
    surplus = {f"loss.{index}": torch.ones(1) for index in range(1000)}
    layout = loads(checkpoint(tmp_path, state(7.0) | surplus), ignore=["loss.*"])
    assert layout is not None
    assert (len(layout.ignored), layout.ignored_count) == (20, 1000)
    assert layout.describe().endswith(", loss.19, and 980 more)")


def test_missing_keys_stay_an_error(tmp_path):
    content = {name: each for name, each in state().items() if name != "tail.bias"}
    with pytest.raises(WeightsError, match=r"(?m)1 missing \(tail\.bias\)$"):
        loads(checkpoint(tmp_path, content | SURPLUS), ignore=["*"])


def blocks():
    """Names of two blocks that are called like parts of others."""
    return nn.Sequential(*(nn.ModuleDict({"conv": nn.Linear(1, 1)}) for _ in range(2)))


@pytest.mark.parametrize(
    ("make", "surplus", "patterns"),
    [
        (network, ["distill.a", "distill.b.c"], ["distill.*"]),
        (network, ["head.mask"], ["head.mask"]),
        (network, ["mask"], ["mask"]),
        (network, ["loss.vgg.0.weight", "head.extra.weight"], ["loss.*", "head.extra.*"]),
        (lambda: nn.ModuleDict({"body": blocks()}),
         ["body.0.rep.weight", "body.1.rep.weight", "body.1.conv.mask"],
         ["body.*.rep.*", "body.*.conv.mask"]),
        (lambda: nn.ModuleDict({"body": blocks()}), ["body.2.conv.weight"], ["body.2.*"]),
        (network, [f"x{index}.w" for index in range(10)], [f"x{index}.*" for index in range(8)]),
    ],
)  # fmt: skip
def test_the_line_that_permits_surplus_keys_is_told(tmp_path, make, surplus, patterns):
    content = make().state_dict()
    path = checkpoint(tmp_path, {**content, **dict.fromkeys(surplus, torch.ones(1))})
    with pytest.raises(WeightsError, match=f"{len(surplus)} unexpected") as caught:
        load_file(make(), path)
    _, _, line = (caught.value.advice or "").partition("add to [weights]: ")
    line, _, more = line.removesuffix(".").partition("]")
    declared = tomllib.loads(f"{line}]")["ignore"]
    assert declared == patterns
    assert more == (" and 2 more patterns" if len(surplus) > 8 else "")
    if not more:
        target = make()
        assert load_file(target, path, ignore=declared) is not None
        assert all(torch.equal(content[name], each) for name, each in target.state_dict().items())


def test_both_missing_and_surplus_keys_ask_for_renames(tmp_path):
    content = {name.replace("head", "first"): each for name, each in state().items()}
    with pytest.raises(WeightsError, match=r"2 missing .*; 2 unexpected") as caught:
        loads(checkpoint(tmp_path, content))
    assert "declare renames" in (caught.value.advice or "")
    assert "ignore" not in (caught.value.advice or "")


def test_extra_state_of_a_module_is_no_surplus(tmp_path):
    content = {**state(7.0), "head._extra_state": {"seen": torch.ones(1)}}
    read = read_weights(checkpoint(tmp_path, {"params": content, "lr": 0.1}))
    assert "head._extra_state" in read.state
    assert (read.key, read.left_out) == ("params", ["lr: float"])
