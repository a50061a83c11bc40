"""The same work here and in processes: every item once, with its place; an error is the work's own."""

import pytest

from omnisync_core.training.footage.spread import HERE, Processes

ITEMS = [-1, -2, -3]


@pytest.mark.parametrize("spread", [HERE, Processes(2)])
def test_every_item_once(spread):
    assert dict(spread(abs, ITEMS)) == {0: 1, 1: 2, 2: 3}
    assert not dict(spread(abs, []))
    with pytest.raises(ValueError, match="invalid literal"):
        dict(spread(int, ["1", "x"]))
