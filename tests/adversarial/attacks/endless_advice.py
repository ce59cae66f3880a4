"""Fail with a message and advice that fill many screens."""

from common import Honest, tell


class Net(Honest):
    def forward(self, lr):
        tell(event="failed", kind="oom", message="m" * 3900, advice="::error::\n" * 5000)
        return self.honest(lr)
