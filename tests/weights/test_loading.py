"""A state dict is loaded into a network as PyTorch does it, or refused with what to do."""

import warnings
from contextlib import suppress

import pytest
import torch
from builders import checkpoint
from safetensors.torch import save_file, save_model
from torch import nn

from esrbench.errors import WeightsError
from esrbench.weights.layout import read_weights
from esrbench.weights.loading import load_into


def state():
    return {"head.weight": torch.arange(6.0).reshape(2, 3), "head.bias": torch.tensor([0.5, -1.0])}


def network():
    return nn.ModuleDict({"head": nn.Linear(3, 2)})


def test_state_is_loaded_strictly():
    target = network()
    load_into(target, state(), source="weights.pth")
    assert all(torch.equal(target.state_dict()[name], tensor) for name, tensor in state().items())


def test_half_precision_is_cast_to_the_network():
    target = network()
    half = {name: tensor.half() for name, tensor in state().items()}
    load_into(target, half, source="weights.pth")
    assert target.state_dict()["head.bias"].dtype == torch.float32
    assert target.state_dict()["head.bias"].tolist() == [0.5, -1.0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"head.bias": None}, r"1 missing \(head\.bias\)$"),
        ({"tail.bias": torch.zeros(1)}, r"1 unexpected \(tail\.bias\)$"),
        ({"head.bias": torch.zeros(3)}, r"\(head\.bias is 3 float32, expected 2 float32\)$"),
        ({"head.bias": torch.zeros(1, 2)}, r"\(head\.bias is 1x2 float32, expected 2 float32\)$"),
    ],
)
def test_state_that_does_not_fit_leaves_the_network_alone(change, said):
    changed = {**state(), **change}
    given = {name: tensor for name, tensor in changed.items() if tensor is not None}
    target = network()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(WeightsError, match=f"(?m){said}") as caught:
        load_into(target, given, source="weights.pth")
    assert caught.value.message.startswith("weights.pth does not fit ModuleDict, which has 2 keys")
    assert all(torch.equal(target.state_dict()[name], tensor) for name, tensor in before.items())


def test_names_that_a_lax_script_leaves_random_are_missing_and_the_advice_says_so():
    target = network()
    given = {"head.weight": state()["head.weight"], "other": torch.zeros(1)}
    with pytest.raises(WeightsError, match=r"1 missing \(head\.bias\)") as caught:
        load_into(target, given, source="weights.pth", ignore=["*"])
    assert "strict=False" in caught.value.advice
    assert 'loaded_by = "factory"' in caught.value.advice
    with pytest.raises(WeightsError) as caught:
        load_into(target, given, source="weights.pth", ignore=["other"])
    assert "strict=False" not in caught.value.advice


def test_many_misfits_are_counted_and_the_first_few_named():
    given = {f"layer{index}": torch.zeros(1) for index in range(9)}
    with pytest.raises(WeightsError) as caught:
        load_into(network(), given, source="w")
    assert "2 missing (head.weight, head.bias)" in caught.value.message
    assert "9 unexpected (layer0, layer1, layer2, layer3, ...)" in caught.value.message


def test_undeclared_prefix_is_named_not_stripped():
    given = {f"module.{name}": tensor for name, tensor in state().items()}
    with pytest.raises(WeightsError) as caught:
        load_into(network(), given, source="w")
    assert caught.value.advice == "All its keys start with 'module.': declare prefix='module.'."


class Renaming(nn.Module):
    """Takes the names of its own older version."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def _load_from_state_dict(self, state, prefix, *rest):
        for name in [name for name in state if name.startswith(f"{prefix}first.")]:
            state[name.replace("first.", "conv.")] = state.pop(name)
        super()._load_from_state_dict(state, prefix, *rest)


class Counting(nn.Conv2d):
    """Keeps something beside its tensors."""

    seen = None

    def get_extra_state(self):
        return {"steps": 7, "names": ["a", "b"]}

    def set_extra_state(self, state):
        self.seen = state


class Migrating(nn.Module):
    """Weights of version 1 were kept negated."""

    _version = 2

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def _load_from_state_dict(self, state, prefix, metadata, *rest):
        if metadata.get("version", 1) < 2:
            state[f"{prefix}weight"] = -state[f"{prefix}weight"]
        super()._load_from_state_dict(state, prefix, metadata, *rest)


class Filling(nn.Module):
    """Adds what older files lack, by a hook."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.register_buffer("table", torch.arange(3))
        self.register_load_state_dict_pre_hook(self._fill)

    @staticmethod
    def _fill(module, state, prefix, *_):
        state.setdefault(f"{prefix}table", module.table)


class Own(nn.Module):
    """Loads by itself, as networks of the time of EDSR do."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def load_state_dict(self, state_dict, strict=False):
        missing = set(self.state_dict()) - set(state_dict)
        if strict and missing:
            raise KeyError(missing)
        with torch.no_grad():
            for name, value in state_dict.items():
                self.state_dict()[name].copy_(value)


class Gain(nn.Module):
    """One number without dimensions."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.0))


def old_weight_norm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(nn.Conv2d(3, 3, 1)).state_dict()


def scripted(network):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(network)


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


ACCEPTED = {
    "batch norm of old": (
        lambda: nn.BatchNorm2d(4),
        lambda: without(nn.BatchNorm2d(4).state_dict(), "num_batches_tracked"),
    ),
    "weight norm of old": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 1)),
        old_weight_norm,
    ),
    "renames": (
        Renaming,
        lambda: {f"first.{name}": each for name, each in nn.Conv2d(3, 3, 1).state_dict().items()},
    ),
    "pre-hook": (Filling, lambda: {"weight": torch.zeros(2)}),
    "lazy": (
        lambda: nn.LazyConv2d(4, 3),
        lambda: dict(nn.Conv2d(3, 4, 3).state_dict()),
    ),
    "extra state": (lambda: Counting(3, 3, 1), lambda: dict(Counting(3, 3, 1).state_dict())),
    "scripted": (
        lambda: scripted(nn.Conv2d(3, 3, 1)),
        lambda: dict(nn.Conv2d(3, 3, 1).state_dict()),
    ),
    "scalar of old": (Gain, lambda: {"gain": torch.tensor([2.0])}),
    "its own loading": (Own, lambda: {"weight": torch.tensor([1.0, 2.0])}),
    "other kind of number": (lambda: nn.BatchNorm2d(2), lambda: {
        **nn.BatchNorm2d(2).state_dict(), "weight": torch.tensor([3, 4]),
    }),
}  # fmt: skip


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_torch_accepts_is_loaded(tmp_path, case):
    make, content = ACCEPTED[case]
    if case == "pre-hook" and not hasattr(nn.Module, "register_load_state_dict_pre_hook"):
        pytest.skip("hooks that run before loading came with torch 2.5")
    path = checkpoint(tmp_path, content())
    oracle = make()
    oracle.load_state_dict(torch.load(path, weights_only=True), strict=True)
    target = make()
    load_into(target, read_weights(path).state, source="w")
    expected = {
        name: value for name, value in oracle.state_dict().items() if name != "_extra_state"
    }
    assert expected
    for name, value in expected.items():
        assert torch.equal(target.state_dict()[name], value)


def test_extra_state_reaches_its_module(tmp_path):
    path = checkpoint(tmp_path, Counting(3, 3, 1).state_dict())
    target = Counting(3, 3, 1)
    load_into(target, read_weights(path).state, source="w")
    assert target.seen == {"steps": 7, "names": ["a", "b"]}
    with pytest.raises(WeightsError, match=r"1 unexpected \(_extra_state\)"):
        load_into(nn.Conv2d(3, 3, 1), read_weights(path).state, source="w")


def test_the_version_of_a_module_is_told_to_it(tmp_path):
    trained = nn.ModuleDict({"part": Migrating()})
    path = checkpoint(tmp_path, trained.state_dict())
    target = nn.ModuleDict({"part": Migrating()})
    load_into(target, read_weights(path).state, source="w")
    assert target.state_dict()["part.weight"].tolist() == [1, 1]
    plain = checkpoint(tmp_path, dict(trained.state_dict()), "old.pth")
    load_into(target, read_weights(plain).state, source="w")
    assert target.state_dict()["part.weight"].tolist() == [-1, -1]
    wrapped = nn.ModuleDict({"module": nn.ModuleDict({"theirs": Migrating()})})
    path = checkpoint(tmp_path, wrapped.state_dict(), "wrapped.pth")
    found = read_weights(path, prefix="module.", renames=[("theirs", "part")]).state
    load_into(target, found, source="w")
    assert target.state_dict()["part.weight"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("make", "state", "said"),
    [
        (Renaming, {"first.weight": torch.zeros(3, 3, 1, 1)}, r"1 missing \(conv\.bias\)$"),
        (Renaming, {"first.bias": torch.zeros(4)}, r"conv\.bias is .*4.*, expected .*3"),
        (lambda: nn.LazyConv2d(8, 3), {"bias": torch.zeros(8)}, r"1 missing \(weight\)"),
        (lambda: Counting(3, 3, 1), nn.Conv2d(3, 3, 1).state_dict(), r"missing \(_extra_state\)"),
        (lambda: nn.BatchNorm2d(2), {"weight": torch.zeros(2)}, r"3 missing \(bias, running_"),
        (
            lambda: scripted(nn.Conv2d(3, 3, 1)),
            {"bias": torch.zeros(3)},
            r'did not accept its weights: .*Missing key\(s\) in state_dict: "weight"',
        ),
        (Own, {}, "Own did not accept its weights: {'weight'}$"),
        (Gain, {"gain": torch.zeros(2)}, "gain is 2 float32, expected scalar float32"),
        (Gain, {"gain": "x"}, "Gain did not accept its weights: .*expected torch.Tensor"),
    ],
)
def test_what_torch_refuses_is_named(make, state, said):
    with suppress(Exception):
        make().load_state_dict(state, strict=True)
        pytest.skip("this torch accepts it")
    with pytest.raises(WeightsError, match=f"(?m){said}") as caught:
        load_into(make(), state, source="w")
    assert "\n" not in caught.value.message
    assert caught.value.advice


class Tied(nn.Module):
    """One convolution by two names, and a tied weight within another."""

    def __init__(self, *, tied=True):
        super().__init__()
        self.a = nn.Conv2d(3, 3, 3)
        self.b = self.a if tied else nn.Conv2d(3, 3, 3)


def test_tied_weights_of_save_model_are_loaded(tmp_path):
    trained, path = Tied(), tmp_path / "tied.safetensors"
    save_model(trained, str(path))
    found = read_weights(path).state
    assert len(found) == 2
    target = Tied()
    load_into(target, found, source="w")
    assert torch.equal(target.b.weight, trained.a.weight)
    with pytest.raises(WeightsError, match="2 missing"):
        load_into(Tied(tied=False), found, source="w")


def test_part_of_a_tensor_does_not_stand_for_the_whole():
    whole = torch.zeros(4)
    network = nn.Module()
    network.register_buffer("part", whole[:2])
    network.register_buffer("whole", whole)
    load_into(network, {"whole": torch.ones(4)}, source="w")
    assert whole.tolist() == [1, 1, 1, 1]
    with pytest.raises(WeightsError, match=r"1 missing \(whole\)"):
        load_into(network, {"part": torch.ones(2)}, source="w")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_masks_may_be_infinite_and_parameters_may_not(tmp_path, name):
    def masked():
        network = nn.Conv2d(3, 4, 3)
        network.register_buffer("mask", torch.full((4, 4), float("-inf")).triu(1))
        return network

    state = masked().state_dict()
    path = tmp_path / name
    save = save_file if name.endswith("safetensors") else torch.save
    save(state, path)
    target = masked()
    load_into(target, read_weights(path).state, source="w")
    assert torch.equal(target.state_dict()["weight"], state["weight"])
    before = target.state_dict()["bias"].clone()
    for value in (float("nan"), float("inf"), float("-inf")):
        state["bias"][2] = value
        save(state, path)
        with pytest.raises(WeightsError, match="NaN or infinity in 1 parameter: bias"):
            load_into(target, read_weights(path).state, source="w")
        assert torch.equal(target.state_dict()["bias"], before)
