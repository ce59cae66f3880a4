import copy

import pytest
import torch
from builders import step
from torch import nn

from esrbench.entries.networks import build_network
from esrbench.errors import UsageError
from esrbench.training.start import solve_last_convolution


def batches(network, count=6):
    random = torch.Generator().manual_seed(0)
    for _ in range(count):
        lr = torch.rand(4, 3, 12, 12, generator=random)
        with torch.no_grad():
            hr = network(lr)
        yield lr, hr


def test_the_weights_that_made_the_targets_are_found(network):
    teacher = build_network(network("Plain"), 2, seed=1)
    student = build_network(network("Plain"), 2, seed=2)
    assert not torch.allclose(student.tail.weight, teacher.tail.weight, atol=0.01)
    solve_last_convolution(student, batches(teacher), 2)
    # The ridge, 1e-5 of the mean square of the features, moves the solution by this little.
    assert torch.allclose(student.tail.weight, teacher.tail.weight, atol=1e-3)
    assert torch.allclose(student.tail.bias, teacher.tail.bias, atol=1e-3)


def test_what_is_added_to_the_last_convolution_is_left_to_it():
    def run(module, lr):
        enlarged = nn.functional.interpolate(lr, scale_factor=2, mode="bilinear")
        return module.tail(enlarged) + 0.5 * enlarged

    torch.manual_seed(0)
    teacher, student = (step(run, tail=nn.Conv2d(3, 3, 3, padding=1)) for _ in range(2))
    assert not torch.allclose(student.tail.weight, teacher.tail.weight, atol=0.1)
    solve_last_convolution(student, batches(teacher), 2)
    # Bilinear features are nearly alike, so the ridge moves the solution by more than above.
    assert torch.allclose(student.tail.weight, teacher.tail.weight, atol=1e-2)


def test_only_the_last_convolution_changes(network):
    student = build_network(network("Small"), 2)
    before = copy.deepcopy(student.state_dict())
    solve_last_convolution(student, batches(build_network(network("Plain"), 2)), 2)
    changed = {
        name for name, value in student.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"tail.weight", "tail.bias"}


def test_the_start_is_no_worse_than_any_other_last_convolution(network):
    torch.manual_seed(0)
    student = build_network(network("Small"), 2)
    teacher = build_network(network("Small"), 2, seed=9)
    (lr, hr), *_ = pairs = list(batches(teacher))

    def error():
        with torch.no_grad():
            return float((student(lr) - hr).square().mean())

    solve_last_convolution(student, pairs, 2)
    solved = error()
    for _ in range(5):
        with torch.no_grad():
            kept = student.tail.weight.clone()
            student.tail.weight.add_(torch.randn_like(kept) * 0.02)
        assert error() > solved
        with torch.no_grad():
            student.tail.weight.copy_(kept)


def test_a_network_that_ends_otherwise_is_refused(network):
    student = build_network(network("Unsolvable"), 2)
    with pytest.raises(UsageError, match="does not apply to Unsolvable"):
        solve_last_convolution(student, batches(build_network(network("Plain"), 2)), 2)
