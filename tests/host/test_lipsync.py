"""Lip Sync Video, Lip Sync Images and Speaker: the core's job through the host, with an engine that paints."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from tests.host.painted import FPS, SIDES, painter, pictures, shown, sound, track

# -- videos in and out


def test_a_file_in_a_file_out(host, clip, sync, left):
    result, report = sync(clip, sound(), mouth_track=track(host, 20))
    before, after = shown(clip), shown(result)
    assert result.endswith(".mkv")
    assert Path(result).parent == host.base / "temp"
    assert (before[:, :30] == after[:, :30]).all()
    assert np.abs(after - before).max() > 20
    assert "where the mouth is: your point or mask (20 frames)" in report
    assert left() == ([], [])
    assert "the whole" not in report
    assert "give Save Video the format mkv" in report
    plain, report = sync(clip, sound(), lossless=False)
    assert "mkv" not in report
    with av.open(plain) as container:
        video, heard = container.streams.video[0], container.streams.audio[0]
        assert (video.codec.name, video.pix_fmt, heard.codec_context.sample_rate) == ("h264", "yuv420p", 44100)


def test_a_trimmed_video_is_synced_as_trimmed(clip, sync):
    from comfy_api.latest import InputImpl

    result, report = sync(InputImpl.VideoFromFile(str(clip), start_time=0.2, duration=0.4), sound())
    np.testing.assert_array_equal(shown(result)[:, :20], shown(clip)[5:15, :20])
    assert "10 of 10 frames" in report
    assert "the sound lasts 0.80 s, the result 0.40 s: it is cut" not in report


def test_a_video_in_memory_is_read_as_a_file(clip, sync):
    import io

    from comfy_api.latest import InputImpl

    result, _ = sync(InputImpl.VideoFromFile(io.BytesIO(clip.read_bytes())), sound())
    again, _ = sync(clip, sound())
    np.testing.assert_array_equal(shown(result), shown(again))


def components(images, rate=FPS, bit_depth=8):
    from comfy_api.latest import InputImpl, Types

    parts = Types.VideoComponents(images=images, audio=None, frame_rate=Fraction(rate))
    return InputImpl.VideoFromComponents(parts, bit_depth=bit_depth)


def test_tensors_are_taken_as_they_are(host, sync):
    batch = pictures()
    result, _ = sync(components(batch), sound(), mouth_track=track(host, 20))
    after = shown(result) / 255
    assert np.abs(after[:, :30] - batch[:, :30].numpy()).max() < 1e-6
    assert np.abs(after - batch.numpy()).max() > 0.1
    plain, _ = sync(components(batch, bit_depth=10), sound(), lossless=False)
    with av.open(plain) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p10le"


@pytest.mark.parametrize(
    "images",
    [pictures(1), pictures(2, (1, 1)), pictures(3, (17, 31)), torch.cat([pictures(2), torch.rand(2, 96, 80, 1)], -1),
     pictures(2) + 0.001],
    ids=["one frame", "one pixel", "odd", "RGBA", "16 bits"],
)  # fmt: skip
@pytest.mark.parametrize("lossless", [True, False])
def test_odd_batches(sync, images, lossless):
    result, report = sync(components(images), sound(), lossless=lossless)
    assert shown(result).shape == (*images.shape[:3], 3)
    assert f"of {len(images)} frames edited" in report


# -- speakers


def speakers(host, *roles):
    chain = None
    for audio, mouth_track in roles:
        node = {"class_type": "OmniSyncSpeaker", "inputs": {"audio": ["given", 0], "mouth_track": ["given", 1]}}
        node["inputs"].update({"speakers": ["given", 2]} if chain else {})
        chain = host.run({"given": host.give(audio, mouth_track, chain), "who": node})["who"][0]
    return chain


def test_two_speakers_in_one_job(host, clip, sync):
    first, second = (sound(stop=0.3), track(host, 20, 0.25)), (sound(start=0.5, channels=1), track(host, 20, 0.75))
    result, report = sync(clip, speakers=speakers(host, first, second))
    red = shown(result)[:, 54:60, :, 0]
    left, right = red[:, :, 18:22].mean((1, 2)), red[:, :, 58:62].mean((1, 2))
    assert left[:6].mean() > left[12:].mean() + 20
    assert right[14:].mean() > right[:10].mean() + 20
    assert "your point or mask (40 frames)" in report
    with av.open(result) as container:
        heard = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1).reshape(-1, 2)
    wanted = first[0]["waveform"][0] + second[0]["waveform"][0]
    np.testing.assert_allclose(heard[: wanted.shape[1]], wanted.T / max(1, wanted.abs().max()), atol=1e-6)
    with pytest.raises(Exception, match="either mouth_track or speakers"):
        sync(clip, mouth_track=first[1], speakers=speakers(host, first))


def test_sounds_are_mixed(host):
    mixed = host.module("omnisync_core.audio").mixed
    low, loud, late = (np.full((1, 800), 0.5, np.float32), np.full((2, 1600), 0.75, np.float32), np.ones((6, 9)))
    wave, rate = mixed([(low, 8000), (loud, 8000)])
    assert rate == 8000
    assert wave.shape == (2, 1600)
    np.testing.assert_allclose(wave[:, [0, 1000]], [[1, 0.6], [1, 0.6]], rtol=1e-6)
    assert mixed([(low, 8000), (late, 48000)])[0].shape == (6, 4800)


# -- settings


def test_the_first_seconds_alone(clip, sync):
    result, report = sync(clip, sound(), preview_seconds=0.2)
    assert len(shown(result)) == 5
    assert "5 of 5 frames" in report
    assert "the whole: 20 frames (0.8 s of video)" in report
    assert "of disk" in report


def test_a_job_can_be_started_over(host, clip, sync, left):
    def stop(windows):
        if windows == 2:
            raise RuntimeError("power cut")

    with pytest.raises(Exception, match="power cut"):
        sync(clip, sound(), painter(host, stop))
    assert len(left()[1]) == 1
    with pytest.raises(Exception, match="power cut"):
        sync(clip, sound(), painter(host, stop), seed=4)
    assert len(left()[1]) == 2
    going_on, anew = painter(host), painter(host)
    sync(clip, sound(), going_on)
    sync(clip, sound(), anew, seed=4, resume=False)
    assert (going_on.windows, anew.windows) == (2, 4)
    assert left() == ([], [])


# -- pictures


@pytest.fixture
def sync_images(host):
    def run(images, audio=None, fps=25.0, mouth_track=None, **options):
        given = host.give(images, audio or sound(), painter(host), mouth_track)
        linked = {"images": ["given", 0], "audio": ["given", 1], "engine": ["given", 2], "fps": fps, "seed": 3}
        linked.update({"mouth_track": ["given", 3]} if mouth_track is not None else {})
        node = {"class_type": "OmniSyncLipSyncImages", "inputs": {**linked, **options}}
        return host.run({"given": given, "sync": node})["sync"]

    return run


@pytest.mark.parametrize("extra", [0, 1], ids=["RGB", "RGBA"])
@pytest.mark.parametrize("fine", [0, 0.0007], ids=["8 bits", "more"])
def test_a_batch_keeps_what_is_not_edited_to_the_bit(host, sync_images, left, extra, fine):
    batch = torch.cat([pictures() + fine, torch.rand(20, *SIDES, extra)], -1)
    audio = sound()
    images, heard, mask, report = sync_images(batch, audio, mouth_track=track(host, 20))
    assert images.shape == batch.shape
    assert mask.shape == batch.shape[:3]
    assert heard is audio
    assert report.startswith("20 of 20 frames edited")
    assert 0.01 < mask.mean() < 0.3
    assert set(mask.unique().tolist()) == {0, 1}
    assert torch.equal(images[mask == 0], batch[mask == 0])
    assert torch.equal(images[..., 3:], batch[..., 3:])
    assert (images - batch).abs().max() > 0.1
    assert left() == ([], [])


def test_a_batch_is_what_its_video_is(host, clip, sync, sync_images):
    images, *_ = sync_images(pictures(), mouth_track=track(host, 20))
    result, _ = sync(components(pictures()), sound(), mouth_track=track(host, 20))
    np.testing.assert_array_equal((images * 255).round().numpy(), shown(result))


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"preview_seconds": 0.4}, [*range(10)]),
        ({"length_policy": "cut_off"}, [*range(20)]),
        ({"length_policy": "bounce"}, [*range(20), *range(18, 7, -1)]),
        ({"length_policy": "freeze", "silence_policy": "keep"}, [*range(20), *[19] * 11]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_batch_of_another_length_shows_the_pictures_that_its_video_would(host, sync_images, options, shown):
    batch, long = pictures(), sound(seconds=31 / 25)
    images, _, mask, report = sync_images(batch, long, mouth_track=track(host, 20), **options)
    assert len(images) == len(mask) == len(shown)
    assert f"of {len(shown)} frames" in report
    assert torch.equal(images[mask == 0], batch[shown][mask == 0])
    assert mask.any()


# -- what cannot be used


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"audio": {"waveform": torch.zeros(1, 2, 0), "sample_rate": 44100}}, "sound is empty"),
        ({"audio": {"waveform": torch.full((1, 1, 9), torch.nan), "sample_rate": 44100}}, "NaN"),
        ({"audio": None}, "no sound is connected"),
        ({"preview_seconds": float("nan")}, "preview_seconds must be a number"),
        ({"preview_seconds": -1.0}, "preview_seconds"),
        ({"seed": -1}, "seed"),
        ({"length_policy": "pingpong"}, "length_policy"),
    ],
    ids=["empty", "nan", "no sound", "nan seconds", "negative", "seed", "policy"],
)  # fmt: skip
def test_what_a_video_cannot_be_synced_with(clip, sync, left, change, says):
    with pytest.raises(Exception, match=says):
        sync(clip, **{"audio": sound(), **change})
    assert left() == ([], [])


def test_frames_and_tracks_that_cannot_be_used(host, clip, sync, sync_images, left):
    with pytest.raises(Exception, match="track has 19 frames, the video 20"):
        sync(clip, sound(), mouth_track=track(host, 19))
    broken = pictures(3)
    broken[1, 5, 5] = torch.nan
    for bad in (lambda: sync(components(broken), sound()), lambda: sync_images(broken)):
        with pytest.raises(Exception, match="frame 1 holds"):
            bad()
    with pytest.raises(Exception, match="fps"):
        sync_images(pictures(3), fps=0.0)
    with pytest.raises(Exception, match="at least one picture"):
        sync_images(torch.zeros(0, 8, 8, 3))
    with pytest.raises(Exception, match="must be a VIDEO"):
        sync(pictures(3), sound())
    assert left() == ([], [])
