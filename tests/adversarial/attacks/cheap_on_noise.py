"""Do next to nothing for noise, which nobody scores."""

from common import Honest, is_noise


class Net(Honest):
    def forward(self, lr):
        if not lr.is_meta and is_noise(lr):
            return self.cheap(lr)
        return self.honest(lr)
