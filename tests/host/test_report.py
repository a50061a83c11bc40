"""Sync Report and the examples in a real host."""

import numpy as np
import pytest
import torch

TONE = {"waveform": torch.sin(torch.arange(16000) * 0.2)[None, None], "sample_rate": 16000}


def report(host, source, audio, fps=25.0, **inputs):
    prompt = {"source": host.give(source), "audio": host.give(audio)}
    prompt |= {name: host.give(value) for name, value in inputs.items()}
    links = {name: [name, 0] for name in prompt}
    prompt["report"] = {"class_type": "OmniSyncSyncReport", "inputs": {**links, "fps": fps}}
    return host.run(prompt)["report"]


@pytest.mark.parametrize("frames", [1, 12])
def test_images_are_reported_without_a_track_too(host, frames):
    chart, text = report(host, torch.rand(frames, 48, 64, 3), TONE)
    assert chart.shape[0] == 1
    assert chart.shape[2:] == (1280, 3)
    assert f"{frames} frame" in text


def test_the_true_lips_go_with_the_sound_better_than_the_others(host):
    """The bundled clips: somebody saying something else, and the sound's own lips."""
    figures = {}
    for name in ("person", "person, true lips"):
        prompt = {
            "example": {"class_type": "OmniSyncExample", "inputs": {"name": name}},
            "track": {"class_type": "OmniSyncMouthTrack", "inputs": {
                "source": ["example", 0], "speaker": "point", "index": 0, "point_x": 0.45, "point_y": 0.66}},
            "report": {"class_type": "OmniSyncSyncReport", "inputs": {
                "source": ["example", 0], "audio": ["example", 1], "fps": 25.0, "mouth_track": ["track", 0]}},
        }  # fmt: skip
        done = host.run(prompt)
        video, sound = done["example"]
        assert video.get_dimensions() == (512, 512)
        assert sound["waveform"].shape[:2] == (1, 1)
        assert done["track"][2].shape == (1, 512, 512)
        assert np.allclose(done["track"][0].pts_N[1], 0.04)
        line = next(line for line in done["report"][1].splitlines() if line.startswith("opening"))
        figures[name] = float(line.split(" r ")[1].split(";")[0])
    assert figures["person, true lips"] > figures["person"] + 0.3
    assert figures["person, true lips"] > 0.5


@pytest.mark.parametrize(
    ("source", "audio", "fps", "message"),
    [
        (torch.rand(2, 8, 8, 3), None, 25.0, "there is no sound"),
        (torch.rand(2, 8, 8, 3), {"waveform": torch.zeros(1, 1, 0), "sample_rate": 16000}, 25.0, "empty"),
        (torch.rand(2, 8, 8, 3), TONE, 0.0, "fps"),
        (torch.rand(2, 8, 8, 3), TONE, float("nan"), "fps"),
        (torch.rand(0, 8, 8, 3), TONE, 25.0, "at least one picture"),
    ],
)
def test_bad_input_is_told_in_one_line(host, source, audio, fps, message):
    with pytest.raises(Exception, match=message):
        report(host, source, audio, fps)


def test_a_track_of_another_length_is_told(host):
    prompt = {
        "source": host.give(torch.rand(3, 48, 64, 3)),
        "track": {"class_type": "OmniSyncMouthTrack", "inputs": {
            "source": ["source", 0], "speaker": "point", "index": 0, "point_x": 0.5, "point_y": 0.5}},
    }  # fmt: skip
    found = host.run(prompt)["track"][0]
    with pytest.raises(Exception, match="the mouth track has 3 frames, the source 5"):
        report(host, torch.rand(5, 48, 64, 3), TONE, mouth_track=found)


def test_a_name_that_is_no_example_is_refused(host):
    with pytest.raises(Exception, match="not in"):
        host.run({"example": {"class_type": "OmniSyncExample", "inputs": {"name": "../secret"}}})
