"""Sync Score and Compare Videos in a real host."""

import numpy as np
import pytest
import torch

TONE = {"waveform": torch.sin(torch.arange(16000) * 0.2)[None, None], "sample_rate": 16000}
IMAGES = torch.rand(25, 48, 64, 3, generator=torch.Generator().manual_seed(0))


def run(host, node, links, **values):
    prompt = {name: host.give(value) for name, value in links.items()}
    inputs = {**{name: [name, 0] for name in links}, **values}
    prompt["node"] = {"class_type": node, "inputs": inputs}
    return host.run(prompt)["node"]


@pytest.fixture
def weights(host):
    """A SyncNet of random weights in models/metrics."""
    import folder_paths

    net = host.module("omnisync_core.bench.syncnet").SyncNet()
    path = host.module("nodes.host.folders").folder_of("metrics") / "syncnet_v2.model"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), path)
    folder_paths.filename_list_cache.pop("metrics", None)
    yield path
    path.unlink()
    folder_paths.filename_list_cache.pop("metrics", None)


def track_of(host, images):
    """A mouth that stays in the middle."""
    count = len(images)
    return host.module("omnisync_core.mouth").MouthTrack(
        np.arange(count) / 25, np.full((count, 2), 0.5), np.full(count, 0.2), np.ones(count), np.full(count, "user"),
        np.zeros(count, int), (images.shape[2], images.shape[1]),
    )  # fmt: skip


def test_images_and_a_sound_are_scored(host, weights):
    links = {"source": IMAGES, "audio": TONE, "mouth_track": track_of(host, IMAGES)}
    confidence, distance, offset, report = run(host, "OmniSyncSyncScore", links, fps=25.0)
    assert confidence >= 0
    assert distance > 0
    assert -15 <= offset <= 15
    assert report.startswith(f"LSE-C {confidence:.3f}, LSE-D {distance:.3f}")


def test_a_video_is_scored_with_its_own_sound(host, weights):
    from comfy_api.latest import InputImpl, Types

    parts = Types.VideoComponents(images=IMAGES, audio=TONE, frame_rate=25)
    video = InputImpl.VideoFromComponents(parts)
    track = track_of(host, IMAGES)
    own = run(host, "OmniSyncSyncScore", {"source": video, "mouth_track": track}, fps=25.0)
    given = run(host, "OmniSyncSyncScore", {"source": video, "audio": TONE, "mouth_track": track}, fps=25.0)
    assert own == given


def test_a_file_is_scored_as_the_same_frames_in_memory(host, weights, tmp_path):
    """Lossless, with its own sound, 25 frames a second: what is read from it is what was written."""
    from fractions import Fraction

    from comfy_api.latest import InputImpl

    images = (IMAGES * 255).round() / 255
    wave = TONE["waveform"][0].numpy()
    write_pictures = host.module("omnisync_core.media").write_pictures
    write_pictures(tmp_path / "clip.mp4", (image.numpy() for image in images), Fraction(25), "bgr0", (wave, 16000))
    track = track_of(host, images)
    file = InputImpl.VideoFromFile(str(tmp_path / "clip.mp4"))
    found = run(host, "OmniSyncSyncScore", {"source": file, "mouth_track": track}, fps=25.0)
    in_memory = run(host, "OmniSyncSyncScore", {"source": images, "audio": TONE, "mouth_track": track}, fps=25.0)
    assert found[:2] == pytest.approx(in_memory[:2], abs=1e-3)
    assert found[2] == in_memory[2]


def test_a_video_without_a_sound_is_told(host, weights):
    from comfy_api.latest import InputImpl, Types

    mute = InputImpl.VideoFromComponents(Types.VideoComponents(images=IMAGES, audio=None, frame_rate=25))
    with pytest.raises(Exception, match="there is no sound: the video before has none"):
        run(host, "OmniSyncSyncScore", {"source": mute, "mouth_track": track_of(host, IMAGES)}, fps=25.0)


def test_frames_that_are_no_numbers_are_told(host, weights):
    nan = IMAGES.clone()
    nan[3] = float("nan")
    links = {"source": nan, "audio": TONE, "mouth_track": track_of(host, nan)}
    with pytest.raises(Exception, match="frame 3 holds NaN"):
        run(host, "OmniSyncSyncScore", links, fps=25.0)


def test_without_weights_the_file_its_place_and_its_licence_are_named(host):
    links = {"source": IMAGES, "audio": TONE}
    with pytest.raises(Exception, match=r"needs the file syncnet_v2\.model .*metrics.*robots\.ox\.ac\.uk.*licence"):
        run(host, "OmniSyncSyncScore", links, fps=25.0)


def test_images_without_a_sound_are_told(host, weights):
    with pytest.raises(Exception, match="images have no sound: connect audio"):
        run(host, "OmniSyncSyncScore", {"source": IMAGES}, fps=25.0)


def test_a_clip_that_is_too_short_is_told(host, weights):
    links = {"source": IMAGES[:4], "audio": TONE, "mouth_track": track_of(host, IMAGES[:4])}
    with pytest.raises(Exception, match="SyncNet needs 6 frames"):
        run(host, "OmniSyncSyncScore", links, fps=25.0)


def test_equal_videos_are_equal_and_a_shift_is_what_it_is(host):
    picture, table = run(host, "OmniSyncCompareVideos", {"result": IMAGES, "reference": IMAGES}, fps=25.0, frames=8)
    assert picture.shape[0] == 1
    assert picture.shape[2:] == (1280, 3)
    assert "| equal frames, % | 100 |" in table
    assert "| largest difference, of 255 | 0 |" in table
    grey = torch.full((10, 48, 64, 3), 0.4)
    _, table = run(host, "OmniSyncCompareVideos", {"result": grey + 10 / 255, "reference": grey}, fps=25.0, frames=8)
    assert "| root of the mean square, of 255 | 10 |" in table
    assert "| equal frames, % | 0 |" in table
    assert "lpips: needs" in table


def test_bad_pairs_are_told_in_one_line(host):
    nan = IMAGES.clone()
    nan[3] = float("nan")
    for result, reference, message in (
        (IMAGES, torch.rand(25, 32, 32, 3), "the two are of different sizes: 64 x 48 and 32 x 32"),
        (nan, IMAGES, "NaN|finite"),
        (IMAGES, torch.rand(0, 48, 64, 3), "at least one picture"),
    ):
        with pytest.raises(Exception, match=message):
            run(host, "OmniSyncCompareVideos", {"result": result, "reference": reference}, fps=25.0, frames=8)


def test_frames_are_compared_that_are_shown_at_the_same_time(host):
    from comfy_api.latest import InputImpl, Types

    levels = torch.linspace(0, 1, 50)[:, None, None, None].expand(50, 48, 64, 3)
    fast = InputImpl.VideoFromComponents(Types.VideoComponents(images=levels, audio=None, frame_rate=50))
    slow = InputImpl.VideoFromComponents(Types.VideoComponents(images=levels[::2], audio=None, frame_rate=25))
    _, table = run(host, "OmniSyncCompareVideos", {"result": slow, "reference": fast}, fps=25.0, frames=25)
    assert "| equal frames, % | 100 |" in table
