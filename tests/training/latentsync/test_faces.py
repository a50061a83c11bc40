"""Clips to learn from: windows of picture and sound that belong together, and one line for what does not serve."""

import numpy as np
import pytest
import torch

from omnisync_core.engines.latentsync.mask import kept
from omnisync_core.errors import InputError
from omnisync_core.training.latentsync.faces import FaceClip, HeardClip, draw_faces, read_clips
from omnisync_core.training.latentsync.mel import sync_mel
from tests.engines.latentsync import small
from tests.training.latentsync import known
from tests.training.latentsync.footage import write_footage

CONFIG, SIDE = known.SYNCNET, 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("footage")
    write_footage(folder / "a.mp4")
    return folder


class Mean:
    """A codec whose latents are the mean of 8 x 8 pixels."""

    def to(self, device):
        return self

    def encode(self, pictures):
        smaller = torch.nn.functional.avg_pool2d(pictures.flatten(0, 1), 8)
        return torch.cat([smaller, smaller[:, :1]], 1).unflatten(0, pictures.shape[:2])

    def decode(self, latents):
        return torch.nn.functional.interpolate(latents[:, :3], scale_factor=8)


def test_a_window_is_read_where_it_is(folder):
    clip = FaceClip(folder / "a.mp4", SIDE, CONFIG)
    for first in (0, 7, 16):
        faces = clip.faces(first)
        assert faces.shape == (4, 3, SIDE, SIDE)
        assert faces.dtype == np.float32
        levels = (faces.mean((1, 2, 3)) + 1) * 127.5
        assert levels == pytest.approx(10 * np.arange(first, first + 4), abs=3)
    assert clip.length == 17
    assert clip.mel(0).shape == clip.mel(16).shape == (80, 13)
    whole = sync_mel(clip.wave.read(0, clip.wave.duration))
    assert np.array_equal(clip.mel(5), whole[:, 16:29]), "frame 5 is shown after 0.2 s, which is column 16"


def test_what_is_heard_is_kept_for_the_next_time(folder, tmp_path):
    clip = HeardClip(folder / "a.mp4", SIDE, CONFIG, small.whisper(), tmp_path)
    audio = clip.audio(6)
    assert audio.shape == (4, 50, small.AUDIO)
    assert len(list(tmp_path.glob("*.npy"))) == 1
    again = HeardClip(folder / "a.mp4", SIDE, CONFIG, None, tmp_path)
    assert np.array_equal(again.audio(6), audio), "the encoder is not asked again"
    assert np.array_equal(clip.audio(7)[:3], audio[1:])


def test_a_batch_has_its_reference_from_another_moment(folder, tmp_path):
    clip = HeardClip(folder / "a.mp4", SIDE, CONFIG, small.whisper(), tmp_path)
    rng = np.random.default_rng(1)
    for _ in range(5):
        batch = draw_faces([clip], 2, Mean(), rng, torch.device("cpu"))
        assert batch.truth.shape == batch.masked.shape == batch.reference.shape == (2, 4, 4, 4, 4)
        shown, other = (x[:, 0].mean((2, 3)) for x in (batch.truth, batch.reference))
        assert ((shown - other).abs() > 3 * 10 / 127.5).all(), "no frame in common"
        hidden = torch.nn.functional.avg_pool2d(torch.as_tensor(kept(SIDE))[None], 8)[0]
        assert torch.allclose(batch.masked[0, 0], batch.truth[0, 0] * hidden, atol=0.02)
        assert batch.mask.shape == (2, 1, 4, 4, 4)
        assert batch.audio_BFLD.shape == (2, 4, 50, small.AUDIO)
        assert batch.pictures_BFCHW.shape == (2, 4, 3, SIDE, SIDE)
        assert batch.mel_B1MF.shape == (2, 1, 80, 13)


@pytest.mark.parametrize(
    "reason, options",
    [("30.00 frames a second, expected 25", {"rate": 30}), ("has no sound", {"sound": False}),
     ("has 9 frames with sound to them, expected 12 or more", {"frames": 9})],
)  # fmt: skip
def test_what_does_not_serve_is_one_line(tmp_path, reason, options):
    path = write_footage(tmp_path / "b.mp4", **options)
    with pytest.raises(InputError, match=reason) as error:
        FaceClip(path, SIDE, CONFIG)
    assert "\n" not in str(error.value)


def test_a_folder_goes_on_without_what_does_not_serve(folder, tmp_path):
    write_footage(tmp_path / "short.mp4", frames=3)
    with pytest.raises(InputError, match="none of the 1 videos"), pytest.warns(UserWarning):
        read_clips(tmp_path, lambda path: FaceClip(path, SIDE, CONFIG))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.mp4").write_bytes((folder / "a.mp4").read_bytes())
    with pytest.warns(UserWarning, match=r"1 of 2 videos are left out; the first: .*short\.mp4"):
        assert len(read_clips(tmp_path, lambda path: FaceClip(path, SIDE, CONFIG))) == 1
    with pytest.raises(InputError, match="no videos in"):
        read_clips(tmp_path / "nowhere", lambda path: FaceClip(path, SIDE, CONFIG))
