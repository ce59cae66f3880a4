"""Tell lies about the rounds after warm-up, which are those at the fixed input, and no others."""

from common import Honest, alter, is_noise

ROUNDS = 6


class Net(Honest):
    lies = 0

    def forward(self, lr):
        if not lr.is_meta and is_noise(lr):
            Net.lies = ROUNDS
        return self.honest(lr)


def lie(message):
    if Net.lies:
        Net.lies -= 1
        message["seconds"] = 1e-6


alter("done", lie)
