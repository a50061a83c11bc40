"""The corpus of odd inputs (`tests/odd.py`) through the nodes that take them: a right result, or one line of theirs.

Nothing may be left behind in either case.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests import odd
from tests.clips import pictures
from tests.host.painted import OPTIONS, painter, sound

WIDTH, HEIGHT, FRAMES = 64, 48, 10


def node(name, **inputs):
    return {"class_type": name, "inputs": inputs}


@pytest.fixture
def left(host):
    """Nothing of a job lies in the host's folders afterwards."""
    yield
    import folder_paths

    temp, unfinished = Path(folder_paths.get_temp_directory()), host.output / "omnisync_unfinished"
    assert not [path for path in temp.glob("omnisync_*") if path.is_dir()]
    assert not list(unfinished.glob("*"))


@pytest.fixture
def refused(host, left):
    """`refused(prompt, *words)`: the node that fails says so itself, in one line that holds the words."""

    def refused(prompt, *words):
        with pytest.raises(Exception) as caught:
            host.run(prompt)
        assert ".omnisync_core.errors." in host._executor.status_messages[-1][1]["exception_type"], caught.value
        line = str(caught.value).strip()
        assert line.isprintable()
        assert len(line) < 600
        assert all(word in line for word in words), line

    return refused


def video_of(path, start=0.0, duration=0.0):
    from comfy_api.latest import InputImpl

    return InputImpl.VideoFromFile(str(path), start_time=start, duration=duration)


def track(host, count=FRAMES, size=(WIDTH, HEIGHT)):
    return host.module("omnisync_core.mouth").MouthTrack(
        np.arange(count) / 25, np.tile([[0.5, 0.6]], (count, 1)), np.full(count, 0.2), np.ones(count, np.float32),
        np.full(count, "user"), np.zeros(count, int), size,
    )  # fmt: skip


def synced(host, video, audio, mouth_track, **options):
    return {
        "given": host.give(video, audio, painter(host), mouth_track),
        "node": node("OmniSyncLipSyncVideo", video=["given", 0], audio=["given", 1], engine=["given", 2],
                     mouth_track=["given", 3], **{**OPTIONS, **options}),
    }  # fmt: skip


@pytest.fixture
def whole(host, tmp_path):
    """A video of ten frames with which nothing is wrong."""
    return video_of(odd.jumping_video(tmp_path / "whole.mkv", 0))


# -- sounds


def heard(host, taker, audio, video):
    """A prompt in which a node takes the AUDIO."""
    given = host.give(video, audio, painter(host), track(host), torch.zeros(FRAMES, HEIGHT, WIDTH, 3))
    if taker == "OmniSyncLipSyncVideo":
        return synced(host, video, audio, track(host))
    inputs = {
        "OmniSyncLipSyncImages": {
            "images": ["given", 4], "engine": ["given", 2], "mouth_track": ["given", 3], "fps": 25.0, "seed": 0,
        },
        "OmniSyncSpeaker": {"mouth_track": ["given", 3]},
        "OmniSyncSyncReport": {"source": ["given", 4], "fps": 25.0, "mouth_track": ["given", 3]},
        "OmniSyncEncodeAudioWhisper": {
            "audio_encoder": ["model", 3], "fps": 25.0, "frame_count": 9, "strength": 1.0, "offset_ms": 0.0,
        },
    }[taker]  # fmt: skip
    model = node("OmniSyncLoadModel", model_name="omnisync_mini (bundled)", weight_dtype="default")
    needed = {"model": model} if "audio_encoder" in inputs else {}
    return {**needed, "given": given, "node": node(taker, audio=["given", 1], **inputs)}


@pytest.mark.parametrize("rate", odd.ODD_RATES)
@pytest.mark.parametrize(
    "taker",
    ["OmniSyncLipSyncVideo", "OmniSyncLipSyncImages", "OmniSyncSpeaker", "OmniSyncSyncReport",
     "OmniSyncEncodeAudioWhisper"],
)  # fmt: skip
def test_rates_that_no_sound_has(host, refused, whole, taker, rate):
    refused(heard(host, taker, {**sound(), "sample_rate": rate}, whole), "sample rate", f"got {rate}")


@pytest.mark.parametrize(("channels", "lossless"), [(6, False), (8, False), (8, True)])
def test_many_channels(host, left, whole, channels, lossless):
    prompt = synced(host, whole, sound(0.4, channels=channels), track(host), lossless=lossless)
    result, report = host.run(prompt)["node"]
    found = host.module("omnisync_core.media").open_audio(result.get_stream_source())
    assert found.channels == channels
    assert "10 of 10 frames edited" in report


@pytest.mark.parametrize("channels", [9, 65, 255])
def test_too_many_channels(host, refused, whole, channels):
    refused(synced(host, whole, sound(0.4, channels=channels), track(host)), f"{channels} channels", "mix it down")


def test_a_wave_of_many_channels_is_heard(host, left):
    assert host.module("nodes.types").mono_wave(sound(0.4, channels=255)).duration == pytest.approx(0.4, abs=1e-3)


@pytest.mark.parametrize("rate", odd.ODD_RATES)
@pytest.mark.parametrize("taker", ["OmniSyncLipSyncVideo", "OmniSyncMouthTrack"])
def test_the_own_sound_of_pictures(host, refused, taker, rate):
    from comfy_api.latest import InputImpl, Types

    images, own = torch.zeros(FRAMES, HEIGHT, WIDTH, 3), {**sound(), "sample_rate": rate}
    video = InputImpl.VideoFromComponents(Types.VideoComponents(images=images, audio=own, frame_rate=25))
    refused(watched(host, taker, video), "sample", f"{rate}")


# -- videos, pictures and the part of them that is shown


def watched(host, taker, video):
    """A prompt in which a node takes the VIDEO."""
    if taker == "OmniSyncLipSyncVideo":
        return synced(host, video, sound(0.4), None)
    inputs = {
        "OmniSyncMouthTrack": {
            "source": ["given", 0], "speaker": "point", "index": 0, "point_x": 0.5, "point_y": 0.6,
            "preview_seconds": 0.0,
        },
        "OmniSyncSyncReport": {"source": ["given", 0], "audio": ["given", 1], "fps": 25.0, "mouth_track": ["given", 2]},
        "OmniSyncCompareVideos": {"result": ["given", 0], "reference": ["given", 0], "fps": 25.0, "frames": 4},
    }[taker]  # fmt: skip
    return {"given": host.give(video, sound(0.4), track(host)), "node": node(taker, **inputs)}


WATCHERS = ("OmniSyncLipSyncVideo", "OmniSyncMouthTrack", "OmniSyncSyncReport", "OmniSyncCompareVideos")


@pytest.mark.parametrize(("gap", "message"), odd.JUMPS)
@pytest.mark.parametrize("taker", WATCHERS)
def test_a_video_whose_clock_jumps(host, refused, tmp_path, taker, gap, message):
    jumped = odd.jumping_video(tmp_path / "jump.mkv", gap)
    refused(watched(host, taker, video_of(jumped)), "jump.mkv", "after 0.16 s", message)


def test_a_short_gap_is_a_gap(host, left, tmp_path):
    video = video_of(odd.jumping_video(tmp_path / "gap.mkv", 40))
    result, _ = host.run(synced(host, video, sound(0.4), track(host), silence_policy="keep"))["node"]
    assert host.module("omnisync_core.media").probe_video(result.get_stream_source()).frame_count == FRAMES


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", [None, 1, 2, 6])
def test_pictures_with_exif(host, refused, tmp_path, suffix, orientation):
    picture = next(pictures(1))
    path = odd.turned_picture(tmp_path / f"a{suffix}", picture, orientation)
    prompt = synced(host, video_of(path), sound(0.4), track(host, 1, picture.shape[1::-1]))
    if orientation in (None, 1):
        assert "1 of 1 frames edited" in host.run(prompt)["node"][1]
    else:
        refused(prompt, "turned by its EXIF data, which would be lost; save it upright")


@pytest.mark.parametrize("mode", odd.TIFF_MODES)
def test_tiff_of_every_kind(host, refused, tmp_path, mode):
    picture = next(pictures(1))
    path = odd.tiff(tmp_path / "a.tif", picture, mode)
    prompt = synced(host, video_of(path), sound(0.4), track(host, 1, picture.shape[1::-1]))
    if mode in ("F", "I"):
        refused(prompt, "no frame of it can be decoded")
    else:
        assert "1 of 1 frames edited" in host.run(prompt)["node"][1]


@pytest.mark.parametrize("part", [(99.0, 0.0), (float("nan"), 0.0), (0.0, float("nan")), (1e300, 0.0), (0.0, -1.0)])
@pytest.mark.parametrize("taker", WATCHERS[:2])
def test_a_trim_that_leaves_nothing(host, refused, tmp_path, taker, part):
    path = odd.jumping_video(tmp_path / "whole.mkv", 0)
    refused(watched(host, taker, video_of(path, *part)), "whole.mkv")


# -- bundles


@pytest.fixture
def bundle(host):
    """`bundle(text)`: a prompt that loads a file whose metadata hold this text for a configuration."""
    import folder_paths
    from safetensors.torch import save_file

    path = host.base / "models" / "omnisync" / "odd.safetensors"
    path.parent.mkdir(exist_ok=True)

    def bundle(text):
        save_file({"dit.weight": torch.ones(2)}, path, {"omnisync.config": text, "omnisync.digest": "0" * 64})
        folder_paths.filename_list_cache.clear()
        host.forget()
        return {"node": node("OmniSyncLoadModel", model_name=path.name, weight_dtype="default")}

    yield bundle
    path.unlink(missing_ok=True)
    folder_paths.filename_list_cache.clear()


@pytest.mark.parametrize(("path", "value", "words"), odd.WRONG_VALUES)
def test_what_is_wrong_in_a_bundle_is_named(refused, bundle, path, value, words):
    refused(bundle(json.dumps(odd.changed(path, value))), "odd.safetensors", words)


@pytest.mark.parametrize("key", odd.CODE_KEYS)
@pytest.mark.parametrize("part", ["whisper", "text"])
def test_keys_that_name_code_are_refused(refused, bundle, part, key):
    refused(bundle(json.dumps(odd.changed((part, key), "kernels-community/flash-attn"))), "is no key of a bundle")


@pytest.mark.parametrize("text", odd.NO_CONFIGURATION)
def test_what_is_no_configuration(refused, bundle, text):
    refused(bundle(text), "odd.safetensors")
