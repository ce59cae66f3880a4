"""Compare the SR of a backend with the SR of eager torch, image by image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

from esrbench.probes.quality import psnr
from esrbench.records import Absent, Equality
from esrbench.worker.failure import WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]
    Upscale = Callable[[Pixels, str], Pixels]


@dataclass(slots=True)
class Beside:
    """Upscales every image of the backend with eager torch as well.

    Attributes:
        reference: upscales an image with eager torch.
        border: pixels that PSNR leaves out on each side.
    """

    reference: Upscale
    border: int
    _waiting: dict[str, Pixels] = field(default_factory=dict)
    _found: list[tuple[int, int, int, float | None, float | None]] = field(default_factory=list)
    _failure: WorkerError | None = None

    def upscale(self, backend: Upscale, lr: Pixels, image: str) -> Pixels:
        """Upscale an image with both; returns the SR of the backend, and keeps that of torch."""
        sr = backend(lr, image)
        if self._failure is None:
            try:
                self._waiting[image] = self.reference(lr, image)
            except WorkerError as failure:
                self._failure = failure.on_image(image)
        return sr

    def compare(self, sr: Pixels, hr: Pixels, image: str) -> None:
        """Compare both SR images; called once for each image, from any thread."""
        expected = self._waiting.pop(image, None)
        if expected is None or expected.shape != sr.shape:
            return
        apart = cv2.absdiff(sr, expected)
        ours, theirs = (psnr(each, hr, self.border) for each in (sr, expected))
        differing, largest = int(np.count_nonzero(apart)), int(apart.max())
        self._found.append((sr.size, differing, largest, ours, theirs))

    def equality(self) -> Equality | Absent:
        """Differences over all images; absent if torch failed or no image was upscaled."""
        if self._failure is not None:
            reason = f"eager torch gave no SR to compare with: {self._failure.message}"
            return Absent(kind="unavailable", reason=reason, advice=self._failure.advice)
        if not self._found:
            return Absent(kind="skipped", reason="no image was upscaled")
        values, differing, largest, ours, theirs = zip(*self._found, strict=True)
        apart = [
            one - other
            for one, other in zip(ours, theirs, strict=True)
            if one is not None and other is not None
        ]
        return Equality(
            values=sum(values),
            differing=sum(differing),
            largest=max(largest),
            psnr_difference=sum(apart) / len(apart) if len(apart) == len(values) else None,
        )
