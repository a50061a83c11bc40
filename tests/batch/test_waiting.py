"""A cluster without hosts: the driver says so after a while, and what comes before and after is as it was."""

import threading
from types import SimpleNamespace

import pytest

from omnisync_core.batch import waiting
from omnisync_core.batch.waiting import has_room, rows_while_hosts
from omnisync_core.errors import OutputError

NEEDS = {"GPU": 1, "CPU": 1}


def host(alive=True, **resources):
    return {"Alive": alive, "Resources": resources}


def test_who_could_hold_a_worker():
    assert has_room([host(CPU=4), host(CPU=2, GPU=1)], NEEDS)
    assert not has_room([host(CPU=4), host(alive=False, CPU=2, GPU=1), host(GPU=1)], NEEDS)
    assert not has_room([], NEEDS)


def test_what_comes_is_given_and_what_goes_wrong_is_raised():
    nobody = SimpleNamespace(nodes=list)

    def rows():
        yield 1
        yield 2
        raise ValueError("torn")

    given = rows_while_hosts(nobody, rows(), NEEDS)
    assert [next(given), next(given)] == [1, 2]
    with pytest.raises(ValueError, match="torn"):
        next(given)
    assert list(rows_while_hosts(nobody, iter([]), NEEDS)) == []


def test_the_last_host_that_dies_ends_the_wait_and_one_that_comes_back_does_not(monkeypatch):
    """Its rows never come. The third look, 100 s after the second, finds the host back; then it is away for good."""
    stuck, clock = threading.Event(), [0.0]

    def nodes():
        clock[0] += 100
        return [host(alive=clock[0] == 300, CPU=1, GPU=1), host(CPU=8)]

    def rows():
        yield 1
        stuck.wait()

    monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    given = rows_while_hosts(SimpleNamespace(nodes=nodes), rows(), NEEDS)
    assert next(given) == 1
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.001)
    with pytest.raises(OutputError, match=r"no living host of the cluster had 1 GPU, 1 CPU for 300 s") as error:
        next(given)
    stuck.set()
    assert "\n" not in str(error.value)
    assert "the same command goes on" in str(error.value)
    assert clock[0] == 700
