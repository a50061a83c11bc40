"""The same work here, in processes and over Ray: every item once, with its place; an error is the work's own."""

import pytest

from omnisync_core.training.footage.spread import HERE, Spread

ITEMS = [-1, -2, -3]


def test_here_and_in_processes():
    assert dict(HERE(abs, ITEMS)) == dict(Spread(2)(abs, ITEMS)) == {0: 1, 1: 2, 2: 3}
    for spread in (HERE, Spread(2)):
        with pytest.raises(ValueError, match="invalid literal"):
            dict(spread(int, ["1", "x"]))


def test_over_ray():
    pytest.importorskip("ray", reason="pip install -r requirements-batch.txt")
    pytest.importorskip("ray.data")
    assert dict(Spread(address="local")(abs, ITEMS)) == {0: 1, 1: 2, 2: 3}
