"""A challenge's repository in miniature: one script with a branch a team, models and weights."""

import textwrap
import tomllib

import torch

from esrbench.entries.challenge import import_team
from esrbench.entries.script import read_script

SCRIPT = """
import os
import os.path
import subprocess
import sys

import torch
from utils import log


def select_model(args, device):
    # the number of a team
    model_id = args.model_id
    if model_id == 0:
        # withheld
        pass
    elif model_id == 7:
{branch}
    else:
        raise NotImplementedError(f"Model {{model_id}} is not implemented.")

    model.eval()
    tile = None
    for k, v in model.named_parameters():
        v.requires_grad = False
    model = model.to(device)
    return model, name, data_range, tile


def forward(lr, model):
    return model(lr)


sf = 4
if __name__ == "__main__":
    raise SystemExit
"""

NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, nf=4, depths=(1,), upscale=4, act=None, teacher=None):
        super().__init__()
        act = act or nn.ReLU
        layers = [nn.Conv2d(3, nf, 3, padding=1)]
        for _ in range(sum(depths)):
            layers += [act(), nn.Conv2d(nf, nf, 3, padding=1)]
        self.body = nn.Sequential(*layers)
        self.extra = nn.Conv2d(nf, nf, 1)
        self.tail = nn.Conv2d(nf, 3 * upscale**2, 3, padding=1)
        self.up = nn.PixelShuffle(upscale)

    def fuse(self, times=1):
        self.extra.weight.data[:] = 0
        self.extra.bias.data[:] = 0

    def load_weights(self, path):
        self.load_state_dict(torch.load(path)["params"])

    def forward(self, x):
        f = self.body(x)
        return self.up(self.tail(f + self.extra(f)))


class SelfLoading(Net):
    def __init__(self):
        super().__init__()
        self.load_state_dict(torch.load("model_zoo/plain.pth"))


def build_net(channels, **others):
    return Net(channels, **others)


def load_net(path, device):
    net = Net()
    net.load_state_dict(torch.load(path, map_location=device))
    return net
"""

HEAD = """
from models.team07_net import Net
name, data_range = f"{model_id:02}_Net", 1.0
model_path = os.path.join('model_zoo', 'plain.pth')
"""
LOAD = "model.load_state_dict(torch.load(model_path), strict=True)\n"
PACKAGE = """
from models.team07_pkg.net import Pkg
name, data_range = f'{model_id:03}_Pkg', 255.0
model = Pkg(6, [2, 1], 4)
model.load_state_dict(torch.load('model_zoo/plain.pth')['params'], strict=True)
"""


def content(**arguments):
    torch.manual_seed(1)
    namespace = {}
    exec(compile(NET, "net", "exec"), namespace)  # noqa: S102 - this test's own code
    return namespace["Net"](**arguments).state_dict()


def of_package(state):
    """What the file of ``PACKAGE`` holds."""
    return {"params": state, "iter": 5}


def small_challenge(folder):
    """A function that gives team 7 a branch and weights, and returns the repository's folder."""
    root = folder / "NTIRE2031_ESR"
    (root / "models" / "team07_pkg").mkdir(parents=True)
    (root / "model_zoo").mkdir()
    (root / "models" / "team07_net.py").write_text(NET)
    (root / "models" / "team12_other.py").write_text("raise SystemExit('another team')\n")
    (root / "utils").mkdir()
    (root / "utils" / "log.py").write_text("")
    package = root / "models" / "team07_pkg"
    (package / "__init__.py").write_text("")
    (package / "net.py").write_text("from .parts import *\n\n\nclass Pkg(Net):\n    pass\n")
    (package / "parts.py").write_text(NET)
    (package / "notes.txt").write_text("read by nobody")

    def write(branch, weights=None, **arguments):
        code = textwrap.indent(branch.strip("\n"), "        ")
        (root / "test_demo.py").write_text(SCRIPT.format(branch=code))
        state = content(**arguments)
        torch.save(state if weights is None else weights(state), root / "model_zoo" / "plain.pth")
        return root

    return write


def imported(root, number=7, **options):
    return import_team(
        read_script(root / "test_demo.py"), number, root.parent / "submissions", **options
    )


def manifest(entry):
    return tomllib.loads((entry.folder / "submission.toml").read_text())


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def line_of(root, text):
    lines = (root / "test_demo.py").read_text().splitlines()
    return next(number for number, each in enumerate(lines, 1) if text in each)
