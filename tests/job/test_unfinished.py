"""What is pruned of unfinished jobs: the old and the many, never one that runs, never anything else."""

import os
import time

import numpy as np
import pytest

from omnisync_core.job.store import Store
from omnisync_core.job.unfinished import prune, remove, unfinished


def job(state, seed, days=0.0, windows=2):
    """A job that was stopped `days` ago; its folder."""
    store = Store.open(state / "none", {"seed": seed}, resume=True, state=state)
    store.write("track", at=np.zeros(3))
    for index in range(windows):
        store.write(f"window_{index:05d}", edited=np.random.default_rng(seed).integers(0, 255, 5000, np.uint8))
    store.close()
    for path in store.folder.iterdir():
        os.utime(path, (time.time() - 86400 * days,) * 2)
    return store.folder


def test_what_lies_there(tmp_path):
    assert unfinished(tmp_path / "none") == []
    old, new = job(tmp_path, 1, days=3), job(tmp_path, 2, windows=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "note.txt").write_text("mine")
    found = unfinished(tmp_path)
    assert [entry.folder for entry in found] == [new, old]
    assert [entry.windows for entry in found] == [1, 2]
    assert found[1].days == pytest.approx(3, abs=0.01)
    assert 10_000 < found[1].size < 20_000
    assert not any(entry.is_running for entry in found)


def test_the_old_are_pruned(tmp_path):
    old, new = job(tmp_path, 1, days=31), job(tmp_path, 2, days=29)
    assert [entry.folder for entry in prune(tmp_path)] == [old]
    assert not old.exists()
    assert new.is_dir()


def test_the_oldest_are_pruned_where_they_are_too_many(tmp_path):
    folders = [job(tmp_path, seed, days=seed) for seed in range(4)]
    size = sum(entry.size for entry in unfinished(tmp_path)[:2])
    assert [entry.folder for entry in prune(tmp_path, size=size)] == folders[2:]
    assert [entry.folder for entry in unfinished(tmp_path)] == folders[:2]
    assert not prune(tmp_path, size=size)
    assert [entry.folder for entry in prune(tmp_path, size=1)] == [folders[1]]


def test_a_job_that_runs_is_never_pruned(tmp_path):
    folder = job(tmp_path, 1, days=100)
    store = Store.open(tmp_path / "none", {"seed": 1}, resume=True, state=tmp_path)
    for path in folder.iterdir():
        os.utime(path, (0, 0))
    (entry,) = unfinished(tmp_path)
    assert entry.is_running
    assert not prune(tmp_path)
    assert not remove(entry)
    assert folder.is_dir()
    store.close()
    assert [entry.folder for entry in prune(tmp_path)] == [folder]


def test_what_is_no_job_stays(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "window_00000.npz").write_text("mine")
    state = tmp_path / "state"
    (state / "0123").mkdir(parents=True)
    (state / ("0" * 24)).symlink_to(outside)
    (state / ("1" * 24)).write_text("a file")
    assert not prune(state, days=-1)
    assert len(list(state.iterdir())) == 3
    assert list(outside.iterdir())
