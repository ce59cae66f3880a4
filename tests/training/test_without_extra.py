import sys

import pytest

from esrbench.errors import UsageError
from esrbench.training.trainer import train


def test_without_the_extra_it_says_what_to_install(
    network, make_recipe, images, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(UsageError, match="Lightning Fabric") as error:
        train(network("Plain"), make_recipe(), images, tmp_path / "out", validate=None)
    assert error.value.advice == "Install it: pip install 'esrbench[train]'."
