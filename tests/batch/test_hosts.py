"""A host that dies for good while it works."""

import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="the table of a batch is Parquet: pip install pyarrow")
pytest.importorskip("ray", reason="more than one process needs Ray: pip install -r requirements-batch.txt")
pytest.importorskip("ray.data")

from omnisync_core.batch.cluster import Cluster
from tests.batch.batches import FakeChoice, Napping, digests, run, write_rows

LONGEST = 300
"""Seconds; a test that waits for ever fails."""
SMALL = {"num_cpus": 2, "object_store_memory": 100_000_000}


@dataclass(frozen=True)
class StuckThere(FakeChoice):
    """Tells on which host it was opened, and never ends a clip on one of them."""

    notes: str = ""
    stuck: str = ""

    def load(self):
        import ray

        host = ray.get_runtime_context().get_node_id()
        (Path(self.notes) / host).touch()
        return Napping(3600 if host == self.stuck else 0)


@pytest.fixture(scope="module")
def hosts():
    """A cluster of two, and the second of them."""
    from ray.cluster_utils import Cluster as Nodes

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # by default a busy machine starves them
        nodes = Nodes(initialize_head=True, head_node_args={**SMALL, "include_dashboard": False})
        second = nodes.add_node(**SMALL)
    yield nodes, second
    nodes.shutdown()


@pytest.fixture(autouse=True)
def _bounded():
    def late(*_):
        raise TimeoutError(f"not done in {LONGEST} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_the_clips_of_a_host_that_died_are_made_by_the_others(hosts, tmp_path):
    nodes, second = hosts
    rows, notes = write_rows(tmp_path / "in", 8), tmp_path / "notes"
    notes.mkdir()

    def remove_once_at_work():
        while not (notes / second.node_id).exists():
            time.sleep(0.1)
        time.sleep(0.5)
        nodes.remove_node(second, allow_graceful=False)

    removing = threading.Thread(target=remove_once_at_work, daemon=True)
    removing.start()
    engine = StuckThere(notes=str(notes), stuck=second.node_id)
    many, states = run(rows, tmp_path / "many", engine, Cluster(nodes.address, workers=2))
    assert not removing.is_alive(), "it was to die at work"
    assert states == {"done": 8}
    alone, _ = run(rows, tmp_path / "one")
    assert {row.id: row.sha256 for row in many.values()} == {row.id: row.sha256 for row in alone.values()}
    assert digests(tmp_path / "one") == digests(tmp_path / "many")
