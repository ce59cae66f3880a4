from common import Honest, asked, tell


class Net(Honest):
    def forward(self, lr):
        tell(event="done", sequence=asked()["sequence"], seconds=-1.0)
        return self.honest(lr)
