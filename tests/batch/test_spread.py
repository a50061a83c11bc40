"""The same work over Ray: every item once, with its place."""

import pytest

from omnisync_core.batch.spread import Hosts
from omnisync_core.errors import InputError


@pytest.fixture
def ray():
    found = pytest.importorskip("ray", reason="pip install -r requirements-batch.txt")
    pytest.importorskip("ray.data")
    yield found
    found.shutdown()


def test_every_item_once(ray):
    assert dict(Hosts("local")(abs, [-1, -2, -3])) == {0: 1, 1: 2, 2: 3}
    assert not dict(Hosts("local")(abs, []))


def test_no_cluster_at_the_address(ray):
    with pytest.raises(InputError, match=r"no Ray cluster at 127\.0\.0\.1:1 "):
        dict(Hosts("127.0.0.1:1")(abs, [-1]))
