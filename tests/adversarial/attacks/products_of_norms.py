"""Multiply by batch normalisations, whose scales are the weights."""

import torch
from common import Products
from torch.nn import functional


class Net(Products):
    def products(self, features, weight):
        shape = torch.broadcast_shapes(features.shape, weight.shape)
        spread = features.expand(shape).reshape(1, 48 * 27, -1, 1)
        zeros = torch.zeros(48 * 27, device=features.device)
        scaled = functional.batch_norm(spread, zeros, zeros + 1, weight.flatten(), zeros, eps=0)
        return scaled.view(shape)
