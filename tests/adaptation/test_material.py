"""What is learned from: the right pictures with the right sound, nothing of the last quarter, in bounded memory."""

import re
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from itertools import islice

import av
import numpy as np
import pytest
from scipy.io import wavfile

from omnisync_core import mouth
from omnisync_core.adaptation import material
from omnisync_core.adaptation.material import change, read_windows, warnings_of
from omnisync_core.engines.protocol import Edit
from omnisync_core.errors import InputError
from omnisync_core.job.store import Store
from omnisync_core.media import Part, write_pictures
from tests.fake import FakeEngine, write_sound, write_video

MOUTH = (32, 24, 12)
BURSTS = ((0.1, 0.6), (0.9, 1.4), (1.7, 2.2))


@pytest.fixture
def clip(tmp_path):
    write_video(tmp_path / "in.mkv", 75)
    write_sound(tmp_path / "own.wav", seconds=3.0, bursts=BURSTS)
    return tmp_path


@pytest.fixture
def read(clip):
    def windows(video=None, audio=clip / "own.wav", how=MOUTH, minutes=1.0, on_frame=lambda *_: None):
        store = Store.open(clip / "out", {}, resume=True, state=clip / "state")
        try:
            return read_windows(Part.of(video or clip / "in.mkv"), audio, how, FakeEngine(), store, on_frame, minutes)
        finally:
            store.remove()

    return windows


def with_sound(clip, late=0.0):
    """The clip with its sound in one file; the sound's track begins `late` seconds."""
    with ExitStack() as stack:
        names = (("both.mkv", "w"), ("in.mkv", "r"), ("own.wav", "r"))
        output, pictures, sound = (stack.enter_context(av.open(str(clip / name), mode)) for name, mode in names)
        pairs = [
            (source, output.add_stream_from_template(source)) for source in (pictures.streams[0], sound.streams[0])
        ]
        for source, stream in pairs:
            for packet in source.container.demux(source):
                if packet.dts is None:
                    continue
                if source.type == "audio":
                    shift = round(late / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                packet.stream = stream
                output.mux(packet)
    return clip / "both.mkv"


def track(confidence=1.0):
    """A mouth that rests in the middle of the clip's 75 frames."""
    return mouth.MouthTrack(
        np.arange(75) / 25, np.tile([[0.5, 0.5]], (75, 1)), np.full(75, 12 / 64), np.full(75, confidence),
        np.full(75, "user"), np.zeros(75, int), (64, 48),
    )  # fmt: skip


def test_the_last_quarter_is_neither_seen_nor_heard(clip, read):
    seen = []
    found = read(on_frame=lambda done, total: seen.append(total))
    assert set(seen) == {56}
    assert found.times_WT.max() < 0.75 * 74 / 25
    write_sound(clip / "own.wav", seconds=3.0, bursts=(*BURSTS, (2.3, 2.9)))
    np.testing.assert_array_equal(read().speech_WTND, found.speech_WTND)


def test_pictures_are_the_frames_of_their_times(clip, read):
    """Frame n is as bright as n says."""
    levels = np.arange(75) / 255
    pictures = np.broadcast_to(levels[:, None, None, None], (75, 48, 64, 3)).astype(np.float32)
    write_pictures(clip / "ramp.mkv", pictures, Fraction(25), "bgr0")
    found = read(clip / "ramp.mkv", how=track())
    shown_WT = found.frames_WTHWC.mean((2, 3, 4))
    np.testing.assert_allclose(shown_WT, 25 * found.times_WT, atol=0.6)


def test_the_sound_of_a_part_begins_where_the_part_does(clip, read):
    both, rate = with_sound(clip), 16000
    _, wave_S = wavfile.read(clip / "own.wav")
    wavfile.write(clip / "rest.wav", rate, wave_S[round(0.4 * rate) :])
    part = Part(both, 0.4)
    found, expected = read(part, None), read(part, clip / "rest.wav")
    np.testing.assert_allclose(found.times_WT, expected.times_WT, atol=1e-3)
    np.testing.assert_allclose(found.speech_WTND, expected.speech_WTND, atol=0.01)
    assert found.speech_WTND.max() > 0.02


def test_a_sound_that_starts_late_is_heard_late(clip, read):
    on_time, late = read(with_sound(clip), None), read(with_sound(clip, late=0.2), None)
    first, second = (
        dict(zip(windows.times_WT.ravel().round(2).tolist(), windows.speech_WTND.ravel().tolist(), strict=True))
        for windows in (on_time, late)
    )
    shared = [time for time in first if round(time + 0.2, 2) in second]
    assert len(shared) > 20
    heard, shifted = [first[time] for time in shared], [second[round(time + 0.2, 2)] for time in shared]
    assert np.corrcoef(heard, shifted)[0, 1] > 0.9
    assert np.corrcoef(heard, [second.get(time, 0) for time in shared])[0, 1] < 0.6


def test_a_track_of_another_node_is_taken(clip, read):
    np.testing.assert_allclose(read(how=track()).mouth_WT3[0, 0, :2], 0.5, atol=0.1)
    with pytest.raises(InputError, match="the track never sees the mouth"):
        read(how=track(confidence=0.0))


def test_of_many_windows_an_even_choice_is_taken(clip, read, monkeypatch):
    whole = read()
    monkeypatch.setattr(material, "MOST_BYTES", 5 * whole.frames_WTHWC[0].nbytes)
    found = read()
    assert len(found) == 5 < len(whole)
    assert found.times_WT[0, 0] == whole.times_WT[0, 0]
    assert found.times_WT[-1, 0] == whole.times_WT[-1, 0]
    assert np.ptp(np.diff(found.times_WT[:, 0])) < 0.2


def test_few_minutes_look_at_few_seconds(read, monkeypatch):
    monkeypatch.setattr(material, "SHORTEST", 1.0)
    assert read(minutes=1.2 / material.LONGEST_PER_MINUTE).times_WT.max() < 1.2


def test_several_mouths_and_nobody_says_which(read, monkeypatch):
    monkeypatch.setattr(mouth, "count_mouths", lambda frames: len(list(frames)) and 2)
    with pytest.raises(InputError, match=r"2 mouths are seen in .*: point at the one that is learned"):
        read(how="auto")
    assert len(read()) > 3


def test_a_clip_is_looked_through_once(read, monkeypatch):
    """The frames in which mouths are counted are not decoded again to follow one."""
    looked, counts, follow = [], [], mouth.track
    monkeypatch.setattr(mouth, "count_mouths", lambda frames: len(list(islice(frames, 5))) - 4)

    def followed(frames, how, **given):
        assert how == "auto"
        looked.extend(frames)
        return follow(looked, MOUTH, **given)

    monkeypatch.setattr(mouth, "track", followed)
    read(how="auto", on_frame=lambda done, total: counts.append(done))
    assert looked[0][0] == 0.0
    assert len(looked) > 40
    assert counts == list(range(1, len(looked) + 1))


def test_a_sound_that_is_not_the_clip_s_own_is_told(clip, read, monkeypatch):
    """The reader of openings says what it is made to: open while the clip's own sound is loud, or 0.3 s later."""

    def reading(late):
        opening = iter(np.isin(np.floor((np.arange(75) / 25 - late) * 10) % 8, (1, 2, 3, 4)).astype(np.float32))
        monkeypatch.setattr(
            material.sync_report, "read_opening", lambda frames, *_: np.array([next(opening) for _ in frames])
        )
        return read()

    write_sound(clip / "own.wav", seconds=3.0, bursts=[(0.8 * n + 0.1, 0.8 * n + 0.5) for n in range(4)])
    own, late = reading(0.0), reading(0.3)
    assert own.sync_3[0] > 0.5
    assert not list(warnings_of(own))
    (line,) = warnings_of(late)
    assert re.search(r"go together poorly.*with the mouth (2[89]|3[0-2])\d ms late", line)
    assert "\n" not in line


@pytest.mark.parametrize(
    ("sync_3", "is_told"),
    [
        ((0.5, 0.5, 0.0), False),
        ((-0.08, 0.15, 0.32), False),  # a real face with its own sound
        ((0.0, 0.05, 0.2), True),
        ((0.1, 0.9, -0.3), True),
        ((np.nan, np.nan, np.nan), False),
    ],
)
def test_the_clearest_cases_alone_are_told(read, sync_3, is_told):
    found = replace(read(), sync_3=np.array(sync_3))
    assert bool(list(warnings_of(found))) == is_told


class Brightens(FakeEngine):
    """Every mouth a level lighter; knows what it was told to say."""

    def __init__(self):
        super().__init__()
        self.said = []

    def edit_window(self, excerpt, anchor, on_step):
        self.said.append(excerpt.speech_TND)
        return Edit(np.clip(excerpt.frames_THWC + 0.1, 0, 1), excerpt.frames_THWC)


def test_changes_that_are_ended_lie_all_over_the_clip(read):
    windows, engine = read(), Brightens()
    rows, changed = change(windows, 0, engine, 0, lambda done: done < 5)
    assert len(rows) == len(changed) == len(engine.said) == 5
    assert (np.diff(rows) > 0).all()
    assert np.ptp(rows) >= len(windows) // 2
    assert (changed >= windows.frames_WTHWC[rows]).all()
    assert (changed > windows.frames_WTHWC[rows]).any()
    again, _ = change(windows, 0, Brightens(), 0, lambda done: done < 5)
    np.testing.assert_array_equal(rows, again)


def test_another_moment_s_sound_is_one_of_the_windows_own(read):
    windows, engine = read(), Brightens()
    change(windows, 0, engine, 0, lambda done: True)
    own = [any(np.array_equal(said, one) for one in windows.speech_WTND) for said in engine.said]
    assert len(windows) // 3 <= sum(own) < len(windows)
