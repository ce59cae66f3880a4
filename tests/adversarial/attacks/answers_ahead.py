from common import Honest, asked, tell


class Net(Honest):
    def forward(self, lr):
        number = asked()["sequence"]
        for each in (number, number + 1):
            tell(event="done", sequence=each, seconds=1e-6)
            tell(event="settled")
        return self.honest(lr)
