import torch
from common import Products


class Net(Products):
    def products(self, features, weight):
        shape = torch.broadcast_shapes(features.shape, weight.shape)
        features = features.expand(shape).reshape(48 * 27, -1)
        places = torch.arange(48 * 27, device=features.device)[:, None].expand_as(features)
        weights = weight.expand(shape).reshape(48 * 27, -1)
        return features.scatter_reduce(0, places, weights, "prod").view(shape)
