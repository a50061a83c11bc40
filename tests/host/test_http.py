"""The pack over HTTP, as scripts and the browser meet it: a server in a process of its own."""

import copy
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from omnisync_core.engines.latents import LatentEngine
from tests.host.serving import ROOT

API = ROOT / "workflows" / "api"
ASSETS = ROOT / "omnisync_core" / "assets" / "demo"
MOUTH_TRACK = "4"
"""In `lip_sync_a_video`."""
FRAMES = {
    # workflow: (inputs that make it quick, frames of the result)
    "lip_sync_a_video": ({"3.steps": 2, "5.preview_seconds": 0.6}, 15),
    "the_parts": ({"10.steps": 2}, 17),
    "cartoon_or_animal": ({"3.steps": 2, "5.preview_seconds": 0.6}, 15),
    "two_speakers": ({"3.steps": 2, "9.preview_seconds": 0.6}, 15),
    "long_video": ({"4.steps": 2, "6.preview_seconds": 0.6}, 15),
}


def prompt_of(name, **changes):
    prompt = json.loads((API / f"{name}.json").read_text(encoding="utf-8"))
    for key, value in changes.items():
        node, _, given = key.partition(".")
        assert given in prompt[node]["inputs"], key
        prompt[node]["inputs"][given] = value
    return prompt


def frames_of(path):
    with av.open(str(path)) as video:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])


def result_of(server, history):
    """The saved video of a job that succeeded."""
    assert history["status"]["status_str"] == "success", history["status"]
    saved = [item for output in history["outputs"].values() for item in output.get("images", ())]
    (video,) = [item for item in saved if item["type"] == "output"]
    return server.base / "output" / video["subfolder"] / video["filename"]


@pytest.mark.parametrize("name", FRAMES)
def test_queue_brings_every_workflow_s_video(server, name, tmp_path):
    """The command posts, follows the websocket and fetches."""
    changes, count = FRAMES[name]
    words = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    made = queue(server, API / f"{name}.json", *words, "--out", str(tmp_path))
    assert made.returncode == 0, made.stderr
    videos = sorted(tmp_path.glob("*.mp4"))
    assert videos
    assert {len(frames_of(video)) for video in videos} == {count}
    assert all(str(video) in made.stdout for video in videos)
    assert "100%" in made.stderr


def test_queue_uploads_own_files(server, tmp_path):
    files = ["--set", f"1.file={ASSETS / 'source.mp4'}", "--set", f"8.audio={ASSETS / 'target.wav'}"]
    quick = ["--set", "3.steps=2", "--set", "5.preview_seconds=0.6"]
    made = queue(server, API / "own_files.json", *files, *quick, "--out", str(tmp_path))
    assert made.returncode == 0, made.stderr
    assert len(frames_of(next(tmp_path.glob("*.mp4")))) == 15
    assert (server.base / "input" / "source.mp4").is_file()


def queue(server, *words):
    command = [sys.executable, "-m", "omnisync_core", "queue", *map(str, words), "--host", server.url]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("lip_sync_a_video", "3.steps", -1),
        ("lip_sync_a_video", "3.tau", 2.0),
        ("lip_sync_a_video", "3.w_peak", -1.0),
        ("lip_sync_a_video", "2.model_name", "../../secret.safetensors"),
        ("lip_sync_a_video", "5.length_policy", "stretch"),
        ("lip_sync_a_video", "5.seed", -1),
        ("lip_sync_a_video", "5.preview_seconds", -1.0),
        ("lip_sync_a_video", "5.preview_seconds", math.nan),
        ("lip_sync_a_video", "4.point_x", 1.5),
        ("lip_sync_a_video", "4.point_y", math.nan),
        ("the_parts", "8.frame_count", -1),
        ("the_parts", "26:5.size", 8),
    ],
)
def test_a_bad_value_is_refused_and_names_the_input(server, name, key, value):
    """The host refuses the whole prompt where no output is left: Mouth Track is one, and is right but for its own."""
    node, _, given = key.partition(".")
    status, answer = server.post("/prompt", {"prompt": prompt_of(name, **{key: value})})
    assert status == (400 if name == "lip_sync_a_video" and node == MOUTH_TRACK else 200)
    errors = json.dumps(answer["node_errors"][node])
    assert given in errors, errors


def test_what_is_not_connected_is_refused_and_named(server):
    prompt = prompt_of("lip_sync_a_video")
    del prompt["5"]["inputs"]["engine"]
    _, answer = server.post("/prompt", {"prompt": prompt})
    assert "engine" in json.dumps(answer["node_errors"]["5"])


def test_queue_ends_where_one_output_is_refused(server, tmp_path):
    """Although the host would run the others."""
    refused = queue(server, API / "lip_sync_a_video.json", "--set", "3.steps=-1", "--out", str(tmp_path))
    assert refused.returncode == 2
    assert "steps" in refused.stderr


def test_cancelled_in_the_middle_and_the_next_job_runs(server):
    slow = prompt_of("lip_sync_a_video", **{"3.steps": 400, "5.preview_seconds": 0.6, "5.seed": 1})
    job = server.queue(slow)
    wait_for(lambda: "editing" in state_of(server, job), server)
    server.post("/interrupt", {"prompt_id": job})
    asked = time.monotonic()
    assert server.wait(job)["status"]["status_str"] == "error"
    assert any(name == "execution_interrupted" for name, _ in server.wait(job)["status"]["messages"])
    assert time.monotonic() - asked < 60, "a step takes a second or two"
    quick = prompt_of("lip_sync_a_video", **{"3.steps": 2, "5.preview_seconds": 0.6, "5.seed": 2})
    assert len(frames_of(result_of(server, server.wait(server.queue(quick))))) == 15


def state_of(server, job):
    """`editing` once the job has come to its first window."""
    running = [item[1] for item in server.get("/queue")["queue_running"]]
    return "editing" if job in running and list(unfinished(server).glob("*/manifest.json")) else ""


def unfinished(server) -> Path:
    return server.base / "output" / "omnisync_unfinished"


def wait_for(happened, server, seconds=600):
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, server.log()
        time.sleep(0.1)


def test_a_killed_server_goes_on_where_it_was(server):
    asked = {"3.steps": 3, "5.preview_seconds": 3.0, "5.seed": 3}  # six windows: a group of four, and one of two
    prompt = prompt_of("lip_sync_a_video", **asked)
    server.queue(prompt)
    wait_for(lambda: len(windows(server)) >= LatentEngine.group, server)
    server.kill()
    before = {path: path.stat().st_mtime_ns for path in windows(server)[: LatentEngine.group]}
    server.start()
    resumed = server.queue(prompt)
    kept = copy.copy(before)
    history = wait_and_watch(server, resumed, kept)
    assert kept == before, "a finished group was made again"
    whole = server.queue(prompt_of("lip_sync_a_video", **asked, **{"5.resume": False}))
    assert np.array_equal(frames_of(result_of(server, history)), frames_of(result_of(server, server.wait(whole))))
    assert not windows(server), "a job that is done leaves nothing"


def windows(server):
    return sorted(unfinished(server).glob("*/*window_*.npz"))


def wait_and_watch(server, job, kept):
    """The job's history; meanwhile the times of the kept files are read again until they go."""
    while job not in (done := server.get(f"/history/{job}")):
        for path in kept:
            if path.exists():
                kept[path] = path.stat().st_mtime_ns
        time.sleep(0.05)
    return done[job]
