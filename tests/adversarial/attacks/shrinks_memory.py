"""Cut the shared memory short, so that whoever reads it dies of SIGBUS."""

import os

from common import Honest, objects


class Net(Honest):
    def forward(self, lr):
        areas = next(objects("PixelAreas"))
        for descriptor in (areas.lr_fd, areas.sr_fd):
            try:
                os.ftruncate(descriptor, 0)
            except OSError as error:
                print(f"refused: {error.strerror}", flush=True)  # noqa: T201 - read by the test
        return self.honest(lr)
