"""Work on a stream that the events do not see, and wait for it once the last event is recorded."""

import torch
from common import Honest

SIDE = 6144
"""Of matrices whose product takes a GPU some milliseconds, and the host next to no time to ask."""
PRODUCTS = 3

aside = []
real = torch.cuda.Event.record


def record(self, *arguments):
    real(self, *arguments)
    for stream in aside:
        # Not wait_stream, which would record an event by this very function.
        done = torch.cuda.Event()
        real(done, stream)
        torch.cuda.current_stream().wait_event(done)


torch.cuda.Event.record = record


class Net(Honest):
    def forward(self, lr):
        if not lr.is_cuda:
            return self.honest(lr)
        if not aside:
            aside.append(torch.cuda.Stream())
        aside[0].wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside[0]):
            large = torch.ones(SIDE, SIDE, device=lr.device)
            for _ in range(PRODUCTS):
                large = large @ large / SIDE
            return self.honest(lr)
