"""Workers that answer at once, without a process, so that much else can be tried in seconds."""

import itertools

from esrbench.records import Absent
from esrbench.worker.launcher import Launcher
from esrbench.worker.messages import Ready
from esrbench.worker.session import Delivery

SECONDS = 0.002
DELIVERY_SECONDS = 0.0005
STARTS = itertools.count()
UNCOUNTED = Absent(kind="unavailable", reason="nothing is counted here")


class FakeWorker:
    """Enlarges by repeating pixels, and says the same of its time in every forward."""

    log_tail = "fake"
    code_sha256 = None
    parameters = 0
    output_range = None

    def __init__(self, name, on_start):
        self.name = name
        self.on_start = on_start
        self.scale = 1
        # No two processes are alike, or there would be no interval.
        self.seconds = SECONDS * (1 + next(STARTS) % 10 / 1000)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Nothing is there to end."""

    def greet(self):
        """All is imported."""

    def load(self, _descriptor, scale, **_):
        self.on_start(self.name)
        self.scale = scale
        return Ready(
            parameters=self.parameters,
            threads=1,
            cpus=(0,),
            accelerator=None,
            code_sha256=self.code_sha256,
        )

    def upscale(self, lr, _name):
        return lr.repeat(self.scale, axis=0).repeat(self.scale, axis=1)

    def forward(self, lr):
        return Delivery(self.upscale(lr, ""), self.seconds + DELIVERY_SECONDS, self.seconds, None)

    def read_memory(self):
        return UNCOUNTED

    def count_complexity(self):
        return UNCOUNTED

    def cpu_seconds(self):
        return None


class Workers:
    """What was started, and at which start what is to happen."""

    def __init__(self):
        self.started = []
        self.at = {}
        self.of = {}

    def __call__(self, name):
        self.started.append(name)
        happens = self.at.pop(len(self.started), None) or self.of.get(name)
        if happens is not None:
            raise happens

    def networks(self):
        """Without the null network, and forget them."""
        started = [name for name in self.started if name != "null"]
        self.started = []
        return started


def use_fake_workers(on_start=lambda _: None, kind=FakeWorker):
    """Have every launcher give workers of a kind; ``on_start`` is told the entry of each."""

    def worker(_self, *networks, **_):
        return kind(networks[0][0].name, on_start)

    Launcher.worker = worker
