"""Answer with fields that nobody asked for, whose names are commands."""

from common import Honest, tell


class Net(Honest):
    def forward(self, lr):
        tell(event="done", sequence=1, seconds=1, **{"\x1b[2J": "\ud800", "\n::error::a\u202e": 1})
        return self.honest(lr)
