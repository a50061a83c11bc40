"""Who makes results: files of other tools, this project's bundle, a workflow on a server."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from omnisync_core.bench import engines
from omnisync_core.bench.engines import open_maker, sampled
from omnisync_core.engines.omnisync import Sampling
from omnisync_core.errors import InputError, JobError
from omnisync_core.manifest import read_manifest
from omnisync_core.queue import read_setting, read_workflow
from omnisync_core.synth.clips import write_video
from tests.bench.benches import bench_of, states

ROOT = Path(__file__).parents[2]
pytest.importorskip("pyarrow", reason="benches are written as Parquet: pip install -r requirements-bench.txt")


def test_results_of_other_tools_are_found_by_their_ids(clips, seen):
    folder = clips / "theirs"
    folder.mkdir()
    write_video(folder / "clip 0.mkv", np.full((20, 48, 64, 3), 50, np.uint8), 25)
    write_video(folder / "clip 2.mkv", np.full((40, 24, 32, 3), 90, np.uint8), 50)  # other size and rate
    records = bench_of(clips, f"results:{folder}")
    assert [record["state"] for record in records] == ["done", "refused", "done"]
    assert "holds no clip 1.mp4" in records[1]["reason"]
    values = [record["metrics"]["lmd"]["values"]["lmd"] for record in records[::2]]
    assert np.allclose(values, [50, 90], atol=1)


def test_a_broken_result_is_a_row_whatever_is_measured(clips, seen):
    """Also where no metric looks at it: the table, the sheet and the others are there."""
    folder = clips / "theirs"
    folder.mkdir()
    for at in (0, 2):
        write_video(folder / f"clip {at}.mkv", np.full((20, 48, 64, 3), 50, np.uint8), 25)
    (folder / "clip 1.mp4").write_bytes(b"torn")
    records = bench_of(clips, f"results:{folder}", metrics=("cost",))
    assert [record["state"] for record in records] == ["done", "refused", "done"]
    assert "clip 1.mp4" in records[1]["reason"]
    assert "clip 1: refused: " in (clips / "out" / "table.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wav2lip", "no engine is called 'wav2lip'"),
        ("results:", "no engine is called"),
        ("results:/nowhere", "there is no folder of results"),
        ("humo", "humo runs on a ComfyUI server: give humo:FILE"),
        ("humo:/nowhere.json", "cannot read the workflow"),
        ("mini:/nowhere.safetensors", "no such model file"),
    ],
)
def test_an_engine_that_is_none_is_refused_in_one_line(text, message):
    with pytest.raises(InputError, match=message):
        open_maker(text)


def test_a_setting_changes_that_one_alone():
    usual = Sampling()
    changed = sampled(usual, ["tau=1", "w_peak=4"])
    assert (changed.tau, changed.guidance.w_peak) == (1.0, 4.0)
    assert (changed.steps, changed.guidance.gamma) == (usual.steps, usual.guidance.gamma)
    for text, message in (("tua=1", "a name of steps, tau"), ("steps=x", "steps must be a number, got 'x'")):
        with pytest.raises(InputError, match=message):
            sampled(usual, [text])
    with pytest.raises(InputError, match="--set changes how mini samples"):
        open_maker("source", settings=["tau=1"])


def test_a_workflow_gets_each_clip_s_files_and_mouth(clips, seen, monkeypatch):
    """The server is stood in for: it is told what to change, and gives back a video."""
    workflow = ROOT / "workflows" / "api" / "public" / "real_person_with_latentsync.json"
    posted = []

    def queue(path, host, settings, out, say):
        posted.append((path, host, settings))
        if len(posted) == 2:
            raise JobError("the server is gone")
        made = [out / "x.mkv", out / "report.txt"]
        shutil.copy(clips / "v0.mkv", made[0])
        return made

    monkeypatch.setattr(engines, "queue", queue)
    records = bench_of(clips, f"latentsync:{workflow}", host="http://far:1")
    assert states(records)[1] == ("clip 1", "failed", "the server is gone")
    assert [record["state"] for record in records[::2]] == ["done", "done"]
    path, host, settings = posted[0]
    assert (path, host) == (workflow, "http://far:1")
    values = dict(one.split("=", 1) for one in settings)
    assert values["1.file"] == str(clips / "v0.mkv")
    assert values["2.audio"] == str(clips / "s0.wav")
    assert (values["10.speaker"], values["10.point_x"], float(values["10.point_y"])) == ("point", "0.5", 34 / 48)
    assert values["10.preview_seconds"] == values["6.preview_seconds"] == "0"
    prompt = read_workflow(workflow)
    for one in settings:
        read_setting(prompt, one)  # what `queue` itself would refuse
    assert records[0]["made"]["cost"]["speed"] > 0
    bench_of(clips, f"latentsync:{workflow}", host="http://far:1")
    assert len(posted) == 4  # the one that failed is tried again


def test_the_mini_edits_measures_and_comes_back(clips):
    """The shipped bundle on a tiny clip: the edit, what it cost, and the way back to its own sound."""
    video = clips / "talk.mkv"
    shutil.copy(clips / "v0.mkv", video)
    (clips / "list.csv").write_text(f"id,video,audio,mouth_x,mouth_y\none,{video.name},s1.wav,32,34\n")
    maker = open_maker("mini")
    made = maker.make(read_manifest(clips / "list.csv")[0], clips / "made.mkv")
    assert made[0].is_file()
    assert made[1]["speed"] > 0
    assert made[1]["memory"] > 100
    assert maker.spec is not None
    assert maker.bring_back(read_manifest(clips / "list.csv")[0], made[0]) is None  # it has no sound of its own
    assert not list((clips / engines.UNFINISHED).iterdir())
