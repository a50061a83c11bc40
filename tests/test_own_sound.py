"""Engines that hear the source: the video's own sound comes with the frames that are shown."""

from contextlib import ExitStack
from dataclasses import replace

import av
import numpy as np
import pytest

from omnisync_core import media
from omnisync_core.job.options import SyncOptions
from omnisync_core.pipeline import sync_video
from tests.fake import FakeEngine, write_sound, write_video


class Hearing(FakeEngine):
    """Keeps what it heard."""

    hears_source = True

    def __init__(self):
        super().__init__()
        self.heard = []

    def edit_window(self, excerpt, anchor, on_step):
        new, own = excerpt.speech_TND
        self.heard.append((new[:, 0, 0], None if own is None else own[:, 0, 0]))
        return super().edit_window(replace(excerpt, speech_TND=new), anchor, on_step)


@pytest.fixture
def folder(tmp_path):
    """A video of 30 frames whose own sound speaks from 0.43 to 0.77 s, and a new sound that speaks at once."""
    write_video(tmp_path / "mute.mkv", 30)
    write_sound(tmp_path / "own.wav", bursts=((0.43, 0.77),))
    write_sound(tmp_path / "new.wav", bursts=((0, 0.3),))
    names = (("in.mkv", "w"), ("mute.mkv", "r"), ("own.wav", "r"))
    with ExitStack() as stack:
        output, mute, own = (stack.enter_context(av.open(str(tmp_path / name), mode)) for name, mode in names)
        pairs = [(source, output.add_stream_from_template(source)) for source in (mute.streams[0], own.streams[0])]
        for source, stream in pairs:
            for packet in source.container.demux(source):
                if packet.dts is not None:
                    packet.stream = stream
                    output.mux(packet)
    return tmp_path


def heard(folder, video, length="source"):
    engine = Hearing()
    options = SyncOptions(mouth=(32, 24, 10), lossless=True, length=length)
    sync_video(video, folder / "new.wav", folder / "out.mkv", engine, options)
    return engine.heard[1:]  # the first call only times an edit


def loudest(windows):
    """Per window, whether the own sound speaks at its first frame."""
    return [bool(own[0] > 0.02) for _, own in windows]


def test_the_own_sound_comes_with_its_frames(folder):
    windows = heard(folder, folder / "in.mkv")
    starts = np.arange(len(windows)) * 4 / 25
    assert loudest(windows) == [bool(0.4 < start < 0.8) for start in starts]
    assert windows[0][0][0] > 0.02
    assert not windows[-1][0][0] > 0.02


def test_a_part_brings_its_own_part_of_the_sound(folder):
    windows = heard(folder, media.Part(folder / "in.mkv", 0.48, 1.2))
    assert loudest(windows)[:2] == [True, True]
    assert not loudest(windows)[-1]


def test_a_silent_video_has_none(folder):
    assert all(own is None for _, own in heard(folder, folder / "mute.mkv"))


def test_a_sound_track_without_a_sample_is_silent(folder):
    with av.open(str(folder / "empty.mkv"), "w") as output, av.open(str(folder / "mute.mkv")) as mute:
        pictures = output.add_stream_from_template(mute.streams[0])
        output.add_stream("pcm_s16le", rate=16000, layout="mono")
        for packet in mute.demux(0):
            if packet.dts is not None:
                packet.stream = pictures
                output.mux(packet)
    assert media.probe_video(folder / "empty.mkv").has_audio
    assert all(own is None for _, own in heard(folder, folder / "empty.mkv"))


def test_frames_shown_again_bring_their_sound_again(folder):
    once = heard(folder, folder / "in.mkv")
    write_sound(folder / "new.wav", seconds=2.3)
    again = heard(folder, folder / "in.mkv", length="loop")
    assert len(again) > len(once) + 3
    for (_, first), (_, second) in zip(once[:4], again[len(once) :], strict=False):
        np.testing.assert_array_equal(first, second)
