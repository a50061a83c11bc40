"""Mouth Track by itself: an output node with its sheet, and as much of the video as a preview needs."""

from fractions import Fraction

import numpy as np
import pytest
import torch

SIZE = 96, 64


def pictures(frames=20):
    still = np.kron(np.random.default_rng(0).random((8, 12, 3)), np.ones((8, 8, 1))).astype(np.float32)
    return torch.from_numpy(np.repeat(still[None], frames, 0)).contiguous()


def video(kind, frames=20):
    """20 frames in 2 s: pictures in memory, a file, or the file from its 5th frame on."""
    from io import BytesIO

    from comfy_api.latest import InputImpl, Types

    made = InputImpl.VideoFromComponents(Types.VideoComponents(images=pictures(frames), frame_rate=Fraction(10)))
    if kind == "tensors":
        return made
    made.save_to(stream := BytesIO())
    return InputImpl.VideoFromFile(stream, start_time=0.5 if kind == "trimmed" else 0)


def prompt(host, source, seconds=0.0, **inputs):
    given = {name: ["given", number] for number, name in enumerate(("source", *inputs))}
    widgets = {"speaker": "point", "index": 0, "point_x": 0.5, "point_y": 0.6, "preview_seconds": seconds}
    return {
        "given": host.give(source, *inputs.values()),
        "track": {"class_type": "OmniSyncMouthTrack", "inputs": {**given, **widgets}},
    }


def test_it_runs_alone_and_shows_its_sheet(host):
    assert host.is_output("OmniSyncMouthTrack")
    host.run(prompt(host, pictures(3)))
    shown = host._executor.history_result["outputs"]["track"]
    for kind in ("images", "omnisync_frame"):
        (file,) = shown[kind]
        assert (host.base / "temp" / file["subfolder"] / file["filename"]).is_file()
    assert shown["images"] != shown["omnisync_frame"]
    assert len(shown["omnisync_mouth"]) == 4


@pytest.fixture
def elsewhere(host, monkeypatch):
    """The finder sees a mouth at 70,20 and none at the point; what the browser gets."""
    from server import PromptServer

    tracking, face = host.module("omnisync_core.mouth.tracking"), host.module("omnisync_core.mouth.detect").Face
    monkeypatch.setattr(tracking, "find_mouths", lambda rgb: [face(70.0, 20.0, 12.0, 0.0, 0.9, "finder")])
    monkeypatch.setattr(tracking, "mouth_at", lambda *_: None)
    messages = []
    monkeypatch.setattr(PromptServer.instance, "client_id", "browser")
    monkeypatch.setattr(PromptServer.instance, "last_prompt_id", "prompt", raising=False)
    monkeypatch.setattr(PromptServer.instance, "send_sync", lambda *words: messages.append(words))
    return messages


def test_a_click_on_no_mouth_is_refused_and_shown(host, elsewhere):
    with pytest.raises(Exception, match=r"no mouth is seen at 48,38, but at 70,20: click there, or give .*point_width"):
        host.run(prompt(host, pictures(3)))
    ((event, messages, browser),) = elsewhere
    assert (event, browser, messages["node"], messages["prompt_id"]) == ("executed", "browser", "track", "prompt")
    for kind in ("images", "omnisync_frame"):
        (file,) = messages["output"][kind]
        assert (host.base / "temp" / file["subfolder"] / file["filename"]).is_file()
    assert np.allclose(messages["output"]["omnisync_mouth"], [70 / 96, 20 / 64, 12 / 96, 0.9])


def test_a_click_with_a_width_is_believed(host, elsewhere):
    asked = prompt(host, pictures(3))
    asked["track"]["inputs"]["point_width"] = 0.2
    track, *_ = host.run(asked)["track"]
    assert np.allclose([*track.center_N2[0], track.width_N[0]], [0.5, 0.6, 0.2], atol=0.01)
    assert not elsewhere


@pytest.mark.parametrize("kind", ["images", "tensors", "file", "trimmed"])
@pytest.mark.parametrize(("seconds", "frames"), [(0.5, 5), (0.25, 3), (99, None)])
def test_only_the_first_seconds_are_looked_at(host, kind, seconds, frames):
    source = pictures(50) if kind == "images" else video(kind)
    rate, total = (25, 50) if kind == "images" else (10, 15 if kind == "trimmed" else 20)
    frames = total if frames is None else int(np.ceil(seconds * rate))
    track, *_ = host.run(prompt(host, source, seconds))["track"]
    assert len(track.pts_N) == frames
    assert np.allclose(track.pts_N, np.arange(frames) / rate, atol=1e-3)


def test_what_was_found_on_all_frames_is_cut_too(host):
    box = {"x": 40, "y": 36, "width": 16, "height": 8, "label": "mouth"}
    masks = torch.zeros(20, SIZE[1], SIZE[0])
    masks[:, 36:44, 40:56] = 1
    for found in ({"bboxes": [[box]] * 20}, {"mask": masks}, {"mask": masks[0]}):
        track, *_ = host.run(prompt(host, video("file"), 0.5, **found))["track"]
        assert len(track.pts_N) == 5
        assert abs(track.center_N2[4, 0] * SIZE[0] - 48) < 2


def test_the_pipeline_takes_a_track_that_covers_what_is_shown(host):
    fitted = host.module("omnisync_core.mouth.looks").fitted_track
    whole, *_ = host.run(prompt(host, video("file")))["track"]
    part, *_ = host.run(prompt(host, video("file"), 0.5))["track"]
    info = type("Video", (), {"frame_count": 20, "times_N": whole.pts_N, "width": 96, "height": 64})
    assert np.array_equal(fitted(part, info, 5).center_N2, part.center_N2)
    assert len(fitted(part, info, 3).pts_N) == 3
    for count, times_N in ((6, whole.pts_N), (5, whole.pts_N * 2)):
        info.times_N = times_N
        with pytest.raises(Exception, match="has 5 frames, the video 20: make it from the same video"):
            fitted(part, info, count)


@pytest.mark.parametrize("seconds", [-1, float("nan"), 1e9])
def test_odd_seconds_are_told(host, seconds):
    with pytest.raises(Exception, match="preview_seconds"):
        host.run(prompt(host, pictures(3), seconds))
