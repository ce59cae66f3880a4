from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from esrbench.errors import UsageError
from esrbench.training.trainer import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.training.images import TrainingImages
    from esrbench.training.recipe import Recipe


def test_without_the_extra_it_says_what_to_install(
    network: Callable[..., ModelDescriptor],
    make_recipe: Callable[..., Recipe],
    images: TrainingImages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(UsageError, match="Lightning Fabric") as error:
        train(network("Plain"), make_recipe(), images, tmp_path / "out", validate=None)
    assert error.value.advice == "Install it: pip install 'esrbench[train]'."
