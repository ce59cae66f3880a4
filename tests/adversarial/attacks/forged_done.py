"""Answer before the work is done, and claim a microsecond for it."""

from common import Honest, asked, tell


class Net(Honest):
    def forward(self, lr):
        tell(event="done", sequence=asked()["sequence"], seconds=1e-6)
        return self.honest(lr)
