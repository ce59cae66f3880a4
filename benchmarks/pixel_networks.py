"""Ten networks whose forward needs pixel values, so that no counter can do without them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

SCALE = 4
WINDOW = 16


class Convolutions(nn.Module):
    """Convolutions around a mean that is read off the image."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth))
        self.tail = nn.Conv2d(width, 3 * SCALE**2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (1, 3, H, W) to (1, 3, 4H, 4W)."""
        mean = x.mean().item()
        features = self.head(x - mean)
        for layer in self.body:
            features = functional.relu(layer(features))
        return functional.pixel_shuffle(self.tail(features), SCALE) + mean


class Gated(Convolutions):
    """Runs its body for images that are not black, as all are that are scored."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (1, 3, H, W) to (1, 3, 4H, 4W)."""
        features = self.head(x)
        if x.max() > 0:
            for layer in self.body:
                features = features + functional.gelu(layer(features))
        return functional.pixel_shuffle(self.tail(features), SCALE)


class Windows(nn.Module):
    """Attention over windows of 16, with a mask that is made on the CPU from the input's size."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.tail = nn.Conv2d(width, 3 * SCALE**2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (1, 3, H, W) to (1, 3, 4H, 4W)."""
        height, width = x.shape[-2:]
        x = functional.pad(x, (0, -width % WINDOW, 0, -height % WINDOW), mode="reflect")
        mask = self._mask(x.shape[-2], x.shape[-1])
        features = self.head(x) * float(x.std() >= 0)
        for _ in range(self.depth):
            features = features + self._attend(features, mask)
        sr = functional.pixel_shuffle(self.tail(features), SCALE)
        return sr[..., : SCALE * height, : SCALE * width]

    def _mask(self, height: int, width: int) -> Tensor:
        """(windows, 1, 256, 256): what lies in the last rows is kept apart."""
        regions = torch.zeros(1, 1, height, width)
        regions[:, :, -WINDOW // 2 :] = 1
        rows = functional.unfold(regions, WINDOW, stride=WINDOW)[0].T
        return (rows[:, None, :, None] != rows[:, None, None]).float() * -100

    def _attend(self, features: Tensor, mask: Tensor) -> Tensor:
        _, width, rows, columns = features.shape
        shape = (rows // WINDOW, WINDOW, columns // WINDOW, WINDOW)
        tokens = features.view(width, *shape).permute(1, 3, 2, 4, 0).reshape(-1, WINDOW**2, width)
        query, key, value = (
            part.unflatten(-1, (4, -1)).transpose(1, 2) for part in self.qkv(tokens).chunk(3, -1)
        )
        scores = (query @ key.mT / query.shape[-1] ** 0.5 + mask).softmax(-1)
        mixed: Tensor = self.out((scores @ value).transpose(1, 2).flatten(2))
        windows = mixed.view(shape[0], shape[2], WINDOW, WINDOW, width)
        joined: Tensor = windows.permute(4, 0, 2, 1, 3).reshape(1, width, rows, columns)
        return joined


PIXEL_NETWORKS: Final[dict[str, Callable[[], nn.Module]]] = {
    "item 16x4": lambda: Convolutions(16, 4),
    "item 32x6": lambda: Convolutions(32, 6),
    "item 48x10": lambda: Convolutions(48, 10),
    "item 64x4": lambda: Convolutions(64, 4),
    "gated 16x6": lambda: Gated(16, 6),
    "gated 32x8": lambda: Gated(32, 8),
    "gated 64x4": lambda: Gated(64, 4),
    "windows 16x1": lambda: Windows(16, 1),
    "windows 32x2": lambda: Windows(32, 2),
    "windows 48x2": lambda: Windows(48, 2),
}
