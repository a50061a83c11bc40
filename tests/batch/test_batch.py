"""A batch in one process: a row of outcome and at most one file for each row, whatever stops it."""

import json
import os
from dataclasses import replace

import pytest

pytest.importorskip("pyarrow", reason="the table of a batch is Parquet: pip install pyarrow")

from omnisync_core import files
from omnisync_core.batch import ledger as ledgers
from omnisync_core.batch import run as runs
from omnisync_core.batch.cluster import Worker
from omnisync_core.batch.outcome import RESULTS, read_results
from omnisync_core.batch.run import open_batch, run_here
from omnisync_core.errors import InputError, OutputError
from omnisync_core.job.lock import Lock
from omnisync_core.job.manifest import file_digest
from omnisync_core.manifest import Row
from omnisync_core.pipeline import sync_video
from tests.batch.batches import OPTIONS, FakeChoice, Napping, digests, run, write_rows
from tests.fake import write_sound, write_video


@pytest.fixture
def rows(tmp_path):
    return write_rows(tmp_path / "in", 3)


def test_every_row_has_an_outcome_and_its_file_is_what_one_job_makes(rows, tmp_path):
    silent = write_sound(tmp_path / "silent.wav", 0.4, bursts=())
    quiet = Row(8, "quiet", rows[0].video, silent)
    gone = Row(9, "gone", tmp_path / "no.mkv", rows[0].audio)
    (tmp_path / "torn.mkv").write_bytes(b"no video")
    torn = Row(10, "torn", tmp_path / "torn.mkv", rows[0].audio)
    everything = [gone, rows[0], torn, quiet, *rows[1:]]
    table, states = run(everything, tmp_path / "out", options=replace(OPTIONS, silence="keep"))
    assert list(table) == [row.id for row in everything]
    assert states == {"done": 3, "passed": 1, "refused": 2}
    assert table["gone"].reason == f"no such file: {tmp_path / 'no.mkv'}"
    assert not table["gone"].output
    assert "torn.mkv" in table["torn"].reason
    assert table["quiet"].reason.startswith("silence")
    for row in rows:
        alone = tmp_path / f"{row.id}.mkv"
        sync_video(row.video, row.audio, alone, Napping(0), replace(OPTIONS, silence="keep"))
        assert table[row.id].sha256 == file_digest(alone) == file_digest(table[row.id].output)
        assert table[row.id].seconds > 0
        assert table[row.id].video_seconds == pytest.approx(0.4)
    assert set(digests(tmp_path / "out")) == {"clip0.mkv", "clip1.mkv", "clip2.mkv", "quiet.mkv"}
    assert not (tmp_path / "out" / ledgers.FOLDER / "work").exists()


def test_the_same_again_does_nothing_again(rows, tmp_path, monkeypatch):
    first, _ = run(rows, tmp_path / "out")
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.mkv")}
    monkeypatch.setattr(FakeChoice, "load", None)  # no engine is needed
    again, _ = run(rows, tmp_path / "out")
    assert again == first
    assert made == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.mkv")}


@pytest.mark.parametrize("change", ["sound", "engine", "options", "removed", "cut short"])
def test_what_changed_is_made_again(rows, tmp_path, change):
    before, _ = run(rows, tmp_path / "out")
    engine, options, output = FakeChoice(), OPTIONS, tmp_path / "out" / "clip1.mkv"
    if change == "sound":
        write_sound(rows[1].audio, 0.4, loudness=0.9)
        os.utime(rows[1].audio, ns=(1, 1))
    elif change == "engine":
        engine = FakeChoice(name="other")
    elif change == "options":
        options = replace(OPTIONS, seed=5)
    elif change == "removed":
        output.unlink()
    else:
        output.write_bytes(output.read_bytes()[:-9])
    made = []
    after, _ = run(rows, tmp_path / "out", engine, options=options, tell=lambda outcome: made.append(outcome.id))
    assert made == (["clip0", "clip1", "clip2"] if change in ("engine", "options") else ["clip1"])
    assert file_digest(output) == after["clip1"].sha256
    same = after["clip1"].sha256 == before["clip1"].sha256
    assert same == (change in ("engine", "removed", "cut short"))


class Dies(BaseException):
    """Nothing cleans up, as after a kill."""


@pytest.mark.parametrize(
    ("owner", "step"), [(files, "sync"), (ledgers, "sync"), (ledgers, "_move"), (ledgers.Ledger, "_write")]
)
def test_killed_between_any_two_writes(rows, tmp_path, monkeypatch, owner, step):
    """At whatever call it dies: afterwards one file a row, each as in a run that nothing stopped."""
    rows, at = rows[:1], 0
    whole, _ = run(rows, tmp_path / "whole")
    while True:
        out, calls = tmp_path / f"out{at}", []
        real = getattr(owner, step)

        def dying(*given, real=real, calls=calls, at=at):
            calls.append(given)
            if len(calls) == at + 1:
                raise Dies
            return real(*given)

        with monkeypatch.context() as patch:
            patch.setattr(owner, step, dying)
            try:
                run(rows, out)
                break
            except Dies:
                pass
        table, states = run(rows, out)
        assert states == {"done": 1}
        assert {outcome.id: outcome.sha256 for outcome in table.values()} == {i: whole[i].sha256 for i in whole}
        assert digests(out) == digests(tmp_path / "whole")
        at += 1
    assert at >= 1


def test_a_stopped_clip_goes_on_and_the_table_is_written(rows, tmp_path, monkeypatch):
    class Stopping(Napping):
        left = 4

        def edit_window(self, *given):
            Stopping.left -= 1
            if Stopping.left == 0:
                raise KeyboardInterrupt
            return super().edit_window(*given)

    monkeypatch.setattr(FakeChoice, "load", lambda self: Stopping(0))
    long = [Row(1, "long", write_video(tmp_path / "long.mkv", 40), write_sound(tmp_path / "long.wav"))]
    with pytest.raises(KeyboardInterrupt):
        run(long, tmp_path / "out")
    assert read_results(tmp_path / "out" / RESULTS) == []
    made = []
    monkeypatch.setattr(FakeChoice, "load", lambda self: made.append(Napping(0)) or made[0])
    table, _ = run(long, tmp_path / "out")
    assert table["long"].state == "done"
    alone = Napping(0)
    sync_video(long[0].video, long[0].audio, tmp_path / "alone.mkv", alone, OPTIONS)
    assert len(made[0].calls) == len(alone.calls) - 2
    assert table["long"].sha256 == file_digest(tmp_path / "alone.mkv")


def test_an_engine_that_fails_costs_its_clip_alone(rows, tmp_path, monkeypatch):
    class Failing(Napping):
        def edit_window(self, excerpt, anchor, on_step):
            if len(self.calls) == 2:
                self.calls.append(None)
                raise RuntimeError("no memory\nfor this")
            return super().edit_window(excerpt, anchor, on_step)

    with monkeypatch.context() as patch:
        patch.setattr(FakeChoice, "load", lambda self: Failing(0))
        table, states = run(rows, tmp_path / "out")
    assert states == {"done": 2, "failed": 1}
    (failed,) = (outcome for outcome in table.values() if outcome.state == "failed")
    assert failed.reason == "no memory for this"
    assert not failed.output
    _, states = run(rows, tmp_path / "out")
    assert states == {"done": 3}


def test_where_all_fail_the_run_ends(rows, tmp_path, monkeypatch):
    class Broken(Napping):
        def edit_window(self, *_):
            raise RuntimeError("the device is lost")

    monkeypatch.setattr(FakeChoice, "load", lambda self: Broken(0))
    monkeypatch.setattr(runs, "MOST_FAILURES", 2)
    with pytest.raises(OutputError, match="2 clips in a row failed, the last: the device is lost"):
        run(rows, tmp_path / "out")
    assert len(read_results(tmp_path / "out" / RESULTS)) == 2


def test_a_file_of_somebody_else_stays(rows, tmp_path):
    """Also where it is a row's own source."""
    mine = tmp_path / "in" / "v0.mkv"
    before = mine.read_bytes()
    table, states = run([Row(1, "v0", mine, rows[0].audio), rows[1]], tmp_path / "in")
    assert states == {"refused": 1, "done": 1}
    assert "not from this batch" in table["v0"].reason
    assert mine.read_bytes() == before


@pytest.mark.parametrize("change", [{"key": None}, {"outcome": {"id": "clip0", "colour": 3}}, {"outcome": 3}])
def test_a_damaged_record_costs_its_clip_alone(rows, tmp_path, change):
    """Nobody knows any more that the file is this batch's: it stays, and is told."""
    run(rows, tmp_path / "out")
    path = ledgers.Ledger(tmp_path / "out")._path("clip0")
    record = json.loads(path.read_text(encoding="utf-8")) | change
    path.write_text(json.dumps({name: value for name, value in record.items() if value is not None}), encoding="utf-8")
    before = digests(tmp_path / "out")
    table, states = run(rows, tmp_path / "out")
    assert states == {"refused": 1, "done": 2}
    assert "not from this batch" in table["clip0"].reason
    assert digests(tmp_path / "out") == before


def test_rows_that_cannot_be_are_rows(rows, tmp_path):
    wrong = [replace(rows[0], problem="row 1: it names no audio"), replace(rows[1], id="日" * 120), rows[2]]
    table, states = run(wrong, tmp_path / "out")
    assert states == {"refused": 2, "done": 1}
    assert table["clip0"].reason == "row 1: it names no audio"
    assert "at most 255" in table["日" * 120].reason


def test_one_batch_at_a_time(rows, tmp_path):
    batch = open_batch(rows, tmp_path / "out", ".mkv", OPTIONS, FakeChoice())
    lock = Lock(tmp_path / "out" / ledgers.FOLDER)
    lock.take()
    with pytest.raises(InputError, match="is at work in"):
        runs.run_batch(batch, run_here)
    lock.release()
    assert runs.run_batch(batch, run_here) == {"done": 3}


def test_what_it_will_take(rows, tmp_path):
    batch = open_batch(rows, tmp_path / "out", ".mkv", OPTIONS, FakeChoice(naps=0.05))
    assert str(batch).startswith("3 clips: 0 done before, 0 cannot be read, 3 to do with 1 s of video")
    assert runs.estimate(batch) > 3 * 0.05
    assert not (tmp_path / "out" / RESULTS).exists()
    assert not list((tmp_path / "out").iterdir())


def test_a_clip_at_which_three_workers_died_is_given_up(rows, tmp_path):
    """In this run alone, and what the others hold goes on."""
    batch = open_batch(rows, tmp_path / "out", ".mkv", OPTIONS, FakeChoice())
    deadly = batch.tasks[0]
    died = [batch.ledger.counted(deadly.key, "first-whole") for _ in range(3)]
    assert [process.__enter__() for process in died] == [0, 1, 2]  # and never left
    given = {"task": [task.as_json() for task in batch.tasks], "what": ["whole"] * 3}
    told = Worker(FakeChoice(), OPTIONS, str(batch.ledger.out), 0.0, "first")(given)
    assert dict(zip(told["id"], told["state"], strict=True)) == {"clip0": "failed", "clip1": "done", "clip2": "done"}
    assert told["reason"][0] == "3 workers died at it: out of memory, or a file that breaks the decoder"
    assert not batch.ledger.work(deadly.key).exists()
    again = Worker(FakeChoice(), OPTIONS, str(batch.ledger.out), 0.0, "second")(given)
    assert again["state"] == ["done"] * 3
    assert set(digests(tmp_path / "out")) == {"clip0.mkv", "clip1.mkv", "clip2.mkv"}
