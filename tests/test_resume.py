"""A job stopped at any moment and resumed ends with the same bytes as one that ran through."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from omnisync_core.errors import InputError, OutputError
from omnisync_core.job.lock import is_held
from omnisync_core.job.manifest import plain
from omnisync_core.job.options import SyncOptions
from omnisync_core.job.store import Store
from omnisync_core.pipeline import sync_video
from tests.fake import SPEC, FakeEngine, write_sound, write_video

ROOT = Path(__file__).resolve().parents[1]
CHILD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from tests.fake import FakeEngine
from omnisync_core.job.options import SyncOptions
from omnisync_core.pipeline import sync_video

folder, output, stage, at = sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])
engine = FakeEngine()

def stop(progress):
    if progress.stage == stage and progress.done == at:
        print("here", len(engine.calls), flush=True)
        time.sleep(60)

options = SyncOptions(mouth="centre", resume=True, seed=3)
sync_video(f"{folder}/in.mkv", f"{folder}/in.wav", output, engine, options, stop)
print("done", len(engine.calls), flush=True)
"""


@pytest.fixture
def folder(tmp_path):
    write_video(tmp_path / "in.mkv", frames=40, cuts=(22,))
    write_sound(tmp_path / "in.wav", 1.6)
    return tmp_path


def child(folder, output, stage="never", at=0):
    """Run the job until it is at this point, then kill it; its last word."""
    command = [sys.executable, "-c", CHILD, str(ROOT), str(folder), str(output), stage, str(at)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}) as job:
        word = job.stdout.readline()
        job.kill()
    return word.split()


def run(folder, output, engine=None, progress=None, **options):
    options = SyncOptions(**{"mouth": "centre", "seed": 3, **options})
    return sync_video(folder / "in.mkv", folder / "in.wav", folder / output, engine or FakeEngine(), options, progress)


class Stop(Exception):
    pass


def stop_at(count):
    """A listener that cancels at its n-th event."""
    seen = []

    def listen(progress):
        seen.append(progress)
        if len(seen) == count:
            raise Stop

    return listen


def test_killed_again_and_again(folder):
    whole, killed = folder / "whole.mp4", folder / "killed.mp4"
    assert child(folder, whole) == ["done", "9"]
    assert child(folder, killed, "editing", 8) == ["here", "2"]
    assert not killed.exists()
    assert (folder / "killed.mp4.omnisync").is_dir()
    assert child(folder, killed, "editing", 20) == ["here", "4"]
    assert child(folder, killed, "writing", 15) == ["here", "3"]
    assert not killed.exists()
    assert child(folder, killed) == ["done", "0"]
    assert killed.read_bytes() == whole.read_bytes()
    assert {path.name for path in folder.iterdir()} == {"in.mkv", "in.wav", "whole.mp4", "killed.mp4"}


@pytest.mark.parametrize("group", [1, 3])
@pytest.mark.parametrize("options", [{"length": "bounce"}, {"silence": "keep"}], ids=str)
def test_cancelled_at_many_points(folder, options, group):
    write_sound(folder / "in.wav", 2.2, bursts=((0, 0.9), (1.5, 9)))
    events = []
    run(folder, "whole.mkv", FakeEngine(group=group), events.append, **options)
    for count in range(1, len(events) + 1, 29):
        with pytest.raises(Stop):
            run(folder, "out.mkv", FakeEngine(group=group), stop_at(count), **options)
        assert not (folder / "out.mkv").exists()
        run(folder, "out.mkv", FakeEngine(group=group), resume=True, **options)
        assert (folder / "out.mkv").read_bytes() == (folder / "whole.mkv").read_bytes(), f"event {count}"
        (folder / "out.mkv").unlink()


def test_a_group_of_which_a_window_is_missing_is_edited_again(folder, monkeypatch):
    """Its windows are anchored in each other before they are rounded to 8 bits."""
    run(folder, "whole.mkv", FakeEngine(group=3))
    write = Store.write

    def full(store, name, **arrays):
        if name == "window_00001":
            raise Stop
        write(store, name, **arrays)

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Store, "write", full)
        run(folder, "out.mkv", FakeEngine(group=3))
    assert (folder / "out.mkv.omnisync" / "window_00000.npz").exists()
    engine = FakeEngine(group=3)
    run(folder, "out.mkv", engine, resume=True)
    assert engine.groups[1] == [0, 5, 5]
    assert (folder / "out.mkv").read_bytes() == (folder / "whole.mkv").read_bytes()


def test_finished_windows_are_not_thrown_away(folder):
    with pytest.raises(Stop):
        run(folder, "out.mp4", progress=stop_at(60))
    with pytest.raises(InputError, match="--resume, or delete"):
        run(folder, "out.mp4")
    run(folder, "out.mp4", resume=True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 4}, "seed was 3, now 4"),
        ({"silence": "keep"}, 'silence was "close", now "keep"'),
        ({"mouth": (30, 20)}, "mouth was"),
        ({"engine": FakeEngine(steps=5)}, "engine.steps was 3, now 5"),
        ("in.wav", "sound was"),
        ("in.mkv", "video was"),
    ],
    ids=str,
)
def test_another_job_is_not_continued(folder, change, says):
    with pytest.raises(Stop):
        run(folder, "out.mp4", progress=stop_at(60))
    if change == "in.wav":
        write_sound(folder / "in.wav", 1.5)
    elif change == "in.mkv":
        (folder / "in.mkv").unlink()
        write_video(folder / "in.mkv", frames=39, cuts=(22,))
    with pytest.raises(InputError, match="another job: .*" + says) as caught:
        run(folder, "out.mp4", resume=True, **(change if isinstance(change, dict) else {}))
    assert "; " not in str(caught.value)


def test_nothing_to_resume_begins(folder):
    assert run(folder, "out.mp4", resume=True).frames == 40


def test_nothing_done_leaves_nothing(folder):
    with pytest.raises(Stop):
        run(folder, "out.mp4", progress=stop_at(5))
    assert {path.name for path in folder.iterdir()} == {"in.mkv", "in.wav"}
    run(folder, "out.mp4")


def stopped(folder):
    """A job with finished windows that was stopped, and what it would have given."""
    run(folder, "whole.mp4")
    with pytest.raises(Stop):
        run(folder, "out.mp4", progress=stop_at(60))
    return folder / "out.mp4.omnisync"


def same_in_the_end(folder):
    run(folder, "out.mp4", resume=True)
    assert (folder / "out.mp4").read_bytes() == (folder / "whole.mp4").read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-300],
        lambda data: b"",
        lambda data: data[:40],
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
        lambda data: data[:-32],
    ],
    ids=["cut off", "empty", "a head", "a bit", "no seal"],
)
def test_a_damaged_window_is_made_again(folder, damage):
    path = stopped(folder) / "window_00001.npz"
    path.write_bytes(damage(path.read_bytes()))
    same_in_the_end(folder)


def test_the_frames_of_another_window_are_not_taken(folder):
    state = stopped(folder)
    (state / "window_00001.npz").write_bytes((state / "window_00000.npz").read_bytes())
    same_in_the_end(folder)


def test_the_window_of_another_job_is_not_taken(folder):
    state = stopped(folder)
    with pytest.raises(Stop):
        run(folder, "other.mp4", progress=stop_at(60), seed=4)
    (state / "window_00001.npz").write_bytes((folder / "other.mp4.omnisync" / "window_00001.npz").read_bytes())
    same_in_the_end(folder)


@pytest.mark.parametrize("text", [None, "", "{", "[]"])
def test_a_damaged_manifest_is_made_again(folder, text):
    state = stopped(folder)
    (state / "manifest.json").unlink()
    if text is not None:
        (state / "manifest.json").write_text(text)
    same_in_the_end(folder)


def test_a_damaged_track_is_made_again(folder):
    (stopped(folder) / "track.npz").write_bytes(b"nothing")
    same_in_the_end(folder)


def test_a_window_that_is_damaged_while_the_job_runs_is_told(folder):
    def damage(progress):
        if progress.stage == "writing" and progress.done == 1:
            for path in (folder / "out.mp4.omnisync").glob("window*"):
                path.write_bytes(b"nothing")

    run(folder, "whole.mp4")
    with pytest.raises(InputError, match=r"was damaged while the job ran: resume"):
        run(folder, "out.mp4", progress=damage)
    same_in_the_end(folder)


def test_a_second_job_on_one_output_is_told_of_the_first(folder):
    counts = []

    def second(progress):
        if progress.stage == "editing" and progress.done in (2, 20):
            for resume in (False, True):
                with pytest.raises(InputError, match=rf"a job \(process {os.getpid()}\) is at work in .*out.mp4"):
                    run(folder, "out.mp4", resume=resume)
            counts.append(progress.done)

    run(folder, "out.mp4", progress=second)
    run(folder, "whole.mp4")
    assert counts == [2, 20]
    assert (folder / "out.mp4").read_bytes() == (folder / "whole.mp4").read_bytes()


def test_a_lock_of_a_process_that_is_gone_does_not_count(folder):
    state = stopped(folder)
    (state / "lock").write_text(str(os.getpid()))
    assert not is_held(state)
    assert not is_held(folder)
    same_in_the_end(folder)


@pytest.mark.parametrize("stage", ["reading", "planned", "editing", "writing"])
def test_a_state_that_is_removed_in_the_middle_is_told(folder, stage):
    def remove(progress):
        if progress.stage == stage:
            shutil.rmtree(folder / "out.mp4.omnisync", ignore_errors=True)

    with pytest.raises(OutputError, match="is gone: it was removed while the job ran"):
        run(folder, "out.mp4", progress=remove)
    run(folder, "whole.mp4")
    same_in_the_end(folder)


@pytest.mark.parametrize("stage", ["reading", "planned", "editing", "writing"])
def test_an_output_folder_that_is_removed_in_the_middle_is_told(folder, stage):
    def remove(progress):
        if progress.stage == stage:
            shutil.rmtree(folder / "there", ignore_errors=True)

    (folder / "there").mkdir()
    with pytest.raises((InputError, OutputError), match=r"is gone|does not exist") as caught:
        run(folder, "there/out.mp4", progress=remove)
    assert "\n" not in str(caught.value)
    assert not (folder / "there").exists()


def test_options_are_compared_by_what_they_hold():
    masks = np.zeros((2, 4, 4), np.float32)
    other = masks.copy()
    other[1, 2, 3] = 1
    found = plain({"masks": masks, "at": (3, np.float32(0.5)), "spec": SPEC, "path": Path("m")})
    assert found["at"] == [3, 0.5]
    assert found["path"] == "m"
    assert found["spec"]["crop_size"] == 24
    assert json.loads(json.dumps(found)) == found == plain({**found, "masks": masks.copy()})
    assert plain(other) != found["masks"] != plain(masks[:1])


def test_a_half_written_window_does_not_count(tmp_path):
    store = Store.open(tmp_path / "out.mp4", {"seed": 1}, resume=False)
    store.write("window_00000", edited=np.arange(3))
    (store.folder / "window_00001.npz.part").write_bytes(b"half")
    assert store.finished() == 1
    assert not store.has("window_00001")
    store.close()
    again = Store.open(tmp_path / "out.mp4", {"seed": 1}, resume=True)
    assert again.read("window_00000")["edited"].tolist() == [0, 1, 2]
    again.remove()
    assert not list(tmp_path.iterdir())
