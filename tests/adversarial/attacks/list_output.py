"""A list of tensors."""

from common import Honest


class Net(Honest):
    def forward(self, lr):
        return [self.honest(lr)]
