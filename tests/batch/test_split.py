"""A long clip in pieces: the same bytes as in one piece, whatever becomes of some of them."""

from dataclasses import replace

import pytest

pytest.importorskip("pyarrow", reason="the table of a batch is Parquet: pip install pyarrow")

import itertools

from omnisync_core.batch.clip import Task, edit_clip, edit_part, split_clip
from omnisync_core.batch.ledger import Ledger
from omnisync_core.job.manifest import file_digest
from omnisync_core.pipeline import sync_video
from tests.batch.batches import OPTIONS
from tests.fake import FakeEngine, write_sound, write_video

CUTS = (23, 41, 60, 77)


@pytest.fixture
def task(tmp_path):
    video = write_video(tmp_path / "film.mp4", 100, cuts=CUTS, codec="libx264", options={"g": "12"})
    sound = write_sound(tmp_path / "film.wav", 4.0)
    (tmp_path / "out").mkdir()
    return Task("film", str(video), str(sound), str(tmp_path / "out" / "film.mkv"), "key", "centre", 4.0)


@pytest.fixture
def alone(task, tmp_path):
    """The digest of what one process makes of it."""
    sync_video(task.video, task.audio, tmp_path / "alone.mkv", FakeEngine(group=3), OPTIONS)
    return file_digest(tmp_path / "alone.mkv")


@pytest.mark.parametrize("lost", [(), (1,)], ids=["all", "one lost"])
def test_pieces_join_to_the_same_bytes(task, alone, tmp_path, lost):
    ledger = Ledger(tmp_path / "out")
    pieces = split_clip(task, FakeEngine(group=3), OPTIONS, ledger, 0.5)
    assert len(pieces) >= 3
    assert pieces[0].start == 0
    assert all(one.stop == two.start for one, two in itertools.pairwise(pieces))
    workers = []
    for number, piece in enumerate(reversed(pieces)):
        if number not in lost:
            workers.append(FakeEngine(group=3))
            edit_part(task, piece, workers[-1], OPTIONS, ledger)
    last = FakeEngine(group=3)
    outcome = edit_clip(task, last, OPTIONS, ledger)
    assert (outcome.state, outcome.sha256) == ("done", alone)
    assert bool(last.calls) == bool(lost)
    assert not (tmp_path / "out" / ".omnisync" / "work").exists()


def test_a_piece_reads_what_it_needs(task, tmp_path, monkeypatch):
    """The video is decoded once to be counted, and a late piece does not decode all before it."""
    from omnisync_core import media
    from omnisync_core.media.source import Source

    ledger = Ledger(tmp_path / "out")
    *_, last = split_clip(task, FakeEngine(group=3), OPTIONS, ledger, 0.5)
    decoded, real = [], Source._frame
    monkeypatch.setattr(Source, "_frame", lambda *given: decoded.append(1) or real(*given))
    monkeypatch.setattr(media, "probe_video", None)
    edit_part(task, last, FakeEngine(group=3), OPTIONS, ledger)
    assert 0 < len(decoded) < 60


def test_a_clip_that_cannot_be_cut_is_one_piece(task, tmp_path):
    whole = replace(task, id="whole", key="other", video=str(write_video(tmp_path / "one.mkv", 60)))
    pieces = split_clip(whole, FakeEngine(group=3), OPTIONS, Ledger(tmp_path / "out"), 0.5)
    assert len(pieces) == 1
