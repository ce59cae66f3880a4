"""Reference images and scores for tests of networks."""

import csv

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

LR_FOLDERS = {"as_distributed_replicate": "LR_bicubic", "matlab_mirror": "LR_bicubic_mirror"}


def read_rgb(path):
    """(1, 3, H, W) float32 in 0..255."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert bgr is not None, path
    rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    return torch.from_numpy(rgb).permute(2, 0, 1).unsqueeze(0).float()


@pytest.fixture
def set5_psnr(shared):
    """RGB PSNR on Set5, found and expected: uint8, border of scale pixels, by image."""

    def measure(network, reference, scale, lr_source, data_range=1.0):
        with (shared / "facts" / "reference_scores.csv").open(newline="") as file:
            expected = {
                row["image"]: float(row["psnr_rgb"])
                for row in csv.DictReader(file)
                if (row["model"], row["dataset"], row["scale"], row["lr_source"])
                == (reference, "Set5", str(scale), lr_source)
            }
        assert len(expected) == 5
        folder = shared / "data" / "Set5"
        scores = {}
        for image, score in expected.items():
            lr = read_rgb(folder / LR_FOLDERS[lr_source] / f"X{scale}" / f"{image}x{scale}.png")
            with torch.inference_mode():
                sr = network(lr / 255 * data_range) / data_range
            pixels = (sr.clamp(0, 1) * 255).round().double()
            hr = read_rgb(folder / "HR" / f"{image}.png")[..., : sr.shape[2], : sr.shape[3]]
            error = (pixels - hr)[..., scale:-scale, scale:-scale].square().mean().item()
            scores[image] = (10 * np.log10(255**2 / error), score)
        return scores

    return measure


class Layers:
    """A network in float64 by its convolutions, which equations apply by name."""

    def __init__(self, network):
        self.network = network.double()
        self.state = network.state_dict()
        self.used = set()

    def tensors(self, name):
        """Weight and bias of a layer."""
        self.used |= {f"{name}.{part}" for part in ("weight", "bias")} & set(self.state)
        return self.state[f"{name}.weight"], self.state.get(f"{name}.bias")

    def __call__(self, name, features):
        """A convolution that keeps height and width."""
        weight, bias = self.tensors(name)
        padding = (weight.shape[-2] // 2, weight.shape[-1] // 2)
        return functional.conv2d(features, weight, bias, padding=padding)

    def require(self, image, expected):
        """The network gives what the equations give, which use all of its tensors."""
        assert self.used == set(self.state)
        with torch.inference_mode():
            torch.testing.assert_close(self.network(image), expected)


@pytest.fixture
def layers():
    """Makes the layers of a network, whose weights are seeded."""
    torch.manual_seed(0)
    return Layers
