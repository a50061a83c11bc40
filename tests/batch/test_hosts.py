"""What dies while it works: a host for good, and every worker that gets a certain clip."""

import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="the table of a batch is Parquet: pip install pyarrow")
pytest.importorskip("ray", reason="more than one process needs Ray: pip install -r requirements-batch.txt")
pytest.importorskip("ray.data")

from omnisync_core.batch.cluster import Cluster
from omnisync_core.batch.ledger import FOLDER
from omnisync_core.manifest import Row
from omnisync_core.synth.clips import write_video
from tests.batch.batches import FakeChoice, Napping, digests, run, write_rows
from tests.fake import write_sound

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


class Deadly(FakeChoice):
    """A clip that is red all over ends the process of whoever edits it."""

    def load(self):
        return Ending(0)


class Ending(Napping):
    def edit_window(self, excerpt, anchor, on_step):
        color_C = excerpt.frames_THWC.mean((0, 1, 2))
        if np.abs(excerpt.frames_THWC - color_C).max() < 0.02 and np.ptp(color_C) > 0.3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().edit_window(excerpt, anchor, on_step)


@pytest.fixture(scope="module")
def hosts():
    """A cluster of two, and the second of them, which the first test removes."""
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


def test_a_clip_that_kills_its_workers_is_given_up(hosts, tmp_path):
    rows = write_rows(tmp_path / "in", 4)
    video = tmp_path / "in" / "deadly.mkv"
    write_video(video, np.full((10, 48, 64, 3), (220, 30, 30), np.uint8), 25)
    rows.insert(1, Row(9, "deadly", video, write_sound(tmp_path / "in" / "deadly.wav", 0.4)))
    table, states = run(rows, tmp_path / "out", Deadly(), Cluster(hosts[0].address, workers=1))
    assert states == {"done": 4, "failed": 1}
    assert table["deadly"].reason == "3 workers died at it: out of memory, or a file that breaks the decoder"
    assert len(digests(tmp_path / "out")) == 4
    assert not list((tmp_path / "out" / FOLDER).rglob("*.begun"))
