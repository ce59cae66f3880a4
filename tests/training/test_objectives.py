import pytest
import torch
from safetensors.torch import save_file

from esrbench.entries.networks import build_network
from esrbench.entries.registry import default_registry
from esrbench.errors import UsageError
from esrbench.training.objectives import Teacher, pixel_loss
from esrbench.training.recipe import Distillation

FOUND, WANTED = torch.tensor([0.0, 0.5, 1.0]), torch.tensor([0.5, 0.5, 0.25])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("l1", (0.5 + 0 + 0.75) / 3),
        ("l2", (0.25 + 0 + 0.5625) / 3),
        ("charbonnier", ((0.25 + 1e-6) ** 0.5 + 1e-3 + (0.5625 + 1e-6) ** 0.5) / 3),
    ],
)
def test_losses_by_hand(kind, expected):
    assert pixel_loss(kind, FOUND, WANTED).item() == pytest.approx(expected)


@pytest.fixture
def teacher_file(tmp_path):
    """Weights for the smallest registered network of RGB."""
    network = build_network(default_registry().get("rfdn"), 2, seed=3)
    path = tmp_path / "teacher.safetensors"
    save_file(network.state_dict(), path)
    return path


def test_output_distillation_is_the_weighted_difference_from_the_teacher(network, teacher_file):
    student = build_network(network("Small"), 2)
    settings = Distillation(teacher="rfdn", weights=teacher_file, loss="l2", weight=0.25)
    lr, sr = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 32, 32, requires_grad=True)
    teacher = Teacher(settings, student, 2, lr)
    taught = build_network(default_registry().get("rfdn"), 2, seed=3)
    with torch.no_grad():
        expected = 0.25 * (sr.detach() - taught(lr)).square().mean()
    loss = teacher(lr, sr)
    assert loss.item() == pytest.approx(float(expected), rel=1e-5)
    loss.backward()
    assert sr.grad is not None
    assert list(teacher.parameters()) == []


def test_feature_distillation_matches_channels_and_trains_both_sides(network, teacher_file):
    student = build_network(network("Small"), 2)
    settings = Distillation(
        teacher="rfdn", weights=teacher_file, kind="feature", layers=(("head", "head"),)
    )
    lr = torch.rand(1, 3, 16, 16)
    teacher = Teacher(settings, student, 2, lr)
    (match,) = teacher.matching
    assert match.weight.shape == (50, 8, 1, 1)
    taught = build_network(default_registry().get("rfdn"), 2, seed=3)
    sr = student(lr)
    loss = teacher(lr, sr)
    with torch.no_grad():
        expected = (match(student.head(lr)) - taught.head(lr)).abs().mean()
    assert loss.item() == pytest.approx(float(expected), rel=1e-5)
    loss.backward()
    assert student.head.weight.grad.abs().sum() > 0
    assert match.weight.grad.abs().sum() > 0


def test_layers_that_do_not_exist_or_do_not_fit_are_named(network, teacher_file):
    student = build_network(network("Small"), 2)
    lr = torch.rand(1, 3, 16, 16)

    def distil(layer):
        settings = Distillation(
            teacher="rfdn", weights=teacher_file, kind="feature", layers=((layer, "head"),)
        )
        Teacher(settings, student, 2, lr)

    with pytest.raises(UsageError, match="Small has no layer 'neck'"):
        distil("neck")
    with pytest.raises(UsageError, match=r"shuffle returns \(32, 32\), head of the teacher"):
        distil("shuffle")


def test_a_teacher_without_trained_weights_is_refused(network):
    student = build_network(network("Small"), 4)
    with pytest.raises(UsageError, match="released for rfdn x4 are not cached"):
        Teacher(Distillation(teacher="rfdn"), student, 4, torch.rand(1, 3, 16, 16))
