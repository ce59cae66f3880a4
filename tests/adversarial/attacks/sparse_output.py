"""A layout that keeps its work for later."""

from common import Honest


class Net(Honest):
    def forward(self, lr):
        return self.honest(lr).to_sparse()
