from common import Honest, tell


class Net(Honest):
    def forward(self, lr):
        text = "\x1b]0;ranked first\x07\x1b[2J\ud800 [red]all is well[/red]"
        tell(event="failed", kind="infra-error", message=text, advice=None)
        return self.honest(lr)
