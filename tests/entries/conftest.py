"""A challenge's repository for the tests of importing it."""

import pytest
from small_challenge import small_challenge


@pytest.fixture
def repository(tmp_path):
    """A challenge's repository of which team 7 has the branch that is given."""
    return small_challenge(tmp_path)
