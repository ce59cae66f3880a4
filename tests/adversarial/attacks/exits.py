"""Leave the process as if all were well."""

import os

from common import Honest
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:  # noqa: ARG002 - it has no use for one
        print("so long", flush=True)  # noqa: T201 - its last words
        os._exit(0)
