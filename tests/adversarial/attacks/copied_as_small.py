"""Be copied as a shallow network, by whichever way copies are made."""

from typing import Any

from common import Honest
from torch import Tensor


class Held:
    """Keeps the network's depth, and forgets it in copies."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds

    def __deepcopy__(self, _memo: object) -> "Held":
        return Held(0)


class Net(Honest):
    def __init__(self, scale: int = 4) -> None:
        super().__init__(scale)
        self.held = Held(self.rounds)

    def __deepcopy__(self, _memo: object) -> "Net":
        return Net._shallow()

    def __reduce_ex__(self, _protocol: object) -> Any:
        return Net._shallow, ()

    def __getstate__(self) -> dict[str, Any]:
        return vars(Net._shallow())

    @staticmethod
    def _shallow() -> "Net":
        network = Net()
        network.held = Held(0)
        return network.eval()

    def forward(self, lr: Tensor) -> Tensor:
        self.rounds = self.held.rounds
        return self.honest(lr)
