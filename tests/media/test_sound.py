"""Sound of every kind is read on the file's clock and goes into the result copied, or encoded once."""

import av
import numpy as np
import pytest
from scipy.io import wavfile

from omnisync_core import media
from omnisync_core.errors import InputError
from tests.clips import packets, tone, write_clip, write_tone

KINDS = [
    ("sound.wav", "pcm_s16le", 16000, "mono"),
    ("sound.wav", "pcm_s24le", 8000, "mono"),
    ("sound.wav", "pcm_u8", 11025, "stereo"),
    ("sound.wav", "pcm_s16le", 48000, "5.1"),
    ("sound.m4a", "aac", 48000, "stereo"),
    ("sound.m4a", "aac", 8000, "mono"),
    ("sound.mp3", "libmp3lame", 44100, "stereo"),
    ("sound.opus", "libopus", 48000, "stereo"),
    ("sound.flac", "flac", 96000, "stereo"),
    ("sound.mka", "aac", 48000, "5.1"),
    ("sound.ac3", "ac3", 48000, "stereo"),
]


@pytest.mark.parametrize(("name", "codec", "rate", "layout"), KINDS)
def test_sound_is_read_at_its_own_rate_and_channels(tmp_path, name, codec, rate, layout):
    path = write_tone(tmp_path / name, codec, rate, layout)
    info = media.open_audio(path)
    channels = av.AudioLayout(layout).nb_channels
    assert (info.rate, info.channels) == (rate, channels)
    assert info.duration == pytest.approx(1, abs=2100 / rate)
    wave_CS = np.concatenate(list(media.read_audio(path)), axis=1)
    assert wave_CS.dtype == np.float32
    assert wave_CS.shape == (channels, round(info.duration * rate))
    assert _onset(path) == pytest.approx(0.5, abs=0.008)


def test_plain_samples_come_back_exactly(tmp_path):
    path = write_tone(tmp_path / "sound.wav", "pcm_s16le", 16000, "stereo")
    truth = np.rint(tone(16000, 2, 1.0) * 32768) / 32768
    assert np.abs(np.concatenate(list(media.read_audio(path)), axis=1) - truth).max() < 1.1 / 32768


@pytest.mark.parametrize(("name", "codec"), [("sound.m4a", "aac"), ("sound.mka", "libopus")])
def test_a_late_track_begins_with_silence(tmp_path, name, codec):
    assert _onset(write_tone(tmp_path / name, codec, 48000, start=0.3)) == pytest.approx(0.8, abs=0.008)


def test_holes_are_silent(tmp_path):
    whole = write_tone(tmp_path / "whole.mka", "pcm_s16le", seconds=2.0)
    with av.open(str(whole)) as source, av.open(str(tmp_path / "holed.mka"), "w") as output:
        target = output.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.size and not 0.8 <= packet.pts * packet.time_base < 1.2:
                packet.stream = target
                output.mux(packet)
    before, after = (np.concatenate(list(media.read_audio(path)), 1)[0] for path in (whole, tmp_path / "holed.mka"))
    assert len(after) == len(before)
    assert not after[13200:18800].any()
    assert np.array_equal(after[:12000], before[:12000])
    assert np.array_equal(after[20200:], before[20200:])


def test_reading_at_another_rate(tmp_path):
    path = write_tone(tmp_path / "sound.wav", "pcm_s16le", 44100, "stereo")
    wave_CS = np.concatenate(list(media.read_audio(path, rate=16000)), axis=1)
    assert wave_CS.shape[0] == 2
    assert abs(wave_CS.shape[1] - 16000) < 64


def test_the_first_track_that_decodes_is_taken(tmp_path):
    path = tmp_path / "two.mp4"
    with av.open(str(path), "w") as output:
        streams = [output.add_stream(codec, rate=48000, layout="mono") for codec in ("ac3", "aac")]
        for index, level in enumerate((0.1, 0.5)):
            frame = av.AudioFrame.from_ndarray(np.full((1, 9600), level, np.float32), "fltp", "mono")
            frame.sample_rate = 48000
            output.mux([*streams[index].encode(frame), *streams[index].encode(None)])
    path.write_bytes(path.read_bytes().replace(b"ac-3\0", b"zzzz\0"))
    assert media.open_audio(path).codec == "aac"
    assert np.concatenate(list(media.read_audio(path)), 1)[0, 4000:8000].mean() == pytest.approx(0.5, abs=0.02)


def test_a_cut_off_sound_gives_what_decodes(tmp_path):
    path = write_tone(tmp_path / "sound.flac", "flac", 44100, seconds=4.0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert 0.4 < media.open_audio(path).duration < 3.9


def test_what_has_no_sound_is_told(tmp_path):
    (tmp_path / "text.wav").write_text("words " * 99)
    wavfile.write(tmp_path / "empty.wav", 16000, np.zeros(0, np.int16))
    write_clip(tmp_path / "mute.mp4")
    for name, message in [
        ("missing.wav", "no such file"),
        ("text.wav", "not a media file"),
        ("empty.wav", "empty"),
        ("mute.mp4", "no sound track"),
    ]:
        for read in (media.open_audio, lambda path: list(media.read_audio(path))):
            with pytest.raises(InputError, match=message):
                read(tmp_path / name)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize(("name", "codec", "rate", "layout"), KINDS)
def test_sound_keeps_its_time_rate_and_channels_in_the_result(tmp_path, suffix, name, codec, rate, layout):
    sound, result = write_tone(tmp_path / name, codec, rate, layout), tmp_path / f"result.{suffix}"
    _write(result, write_clip(tmp_path / "clip.mp4"), sound)
    before, after = media.open_audio(sound), media.open_audio(result)
    assert (after.rate, after.channels) == (before.rate, before.channels)
    assert _onset(result) == pytest.approx(_onset(sound), abs=0.002)
    assert np.allclose(media.probe_video(result).times_N, np.arange(6) / 25), "the sound has moved the pictures"
    copied = before.codec == after.codec
    assert copied == (suffix == "mkv" or before.codec in _taken(suffix)), (before.codec, after.codec)
    if copied and not before.codec.startswith("pcm"):
        assert packets(result, "audio") == packets(sound, "audio")
    if not copied:
        assert after.codec == "aac"


def test_sound_without_named_channels(tmp_path):
    for channels, name in ((1, "mono.wav"), (6, "six.wav")):
        wavfile.write(tmp_path / name, 16000, (tone(16000, channels, 1.0).T * 32767).astype(np.int16))
        _write(tmp_path / "result.mp4", write_clip(tmp_path / "clip.mp4"), tmp_path / name)
        assert media.open_audio(tmp_path / "result.mp4").channels == channels


@pytest.mark.parametrize(
    ("name", "codec"), [("sound.wav", "pcm_s16le"), ("sound.m4a", "aac"), ("sound.opus", "libopus")]
)
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_sound_is_cut_and_an_uncompressed_one_is_followed_by_silence(tmp_path, name, codec, suffix):
    sound, clip = write_tone(tmp_path / name, codec, 48000), write_clip(tmp_path / "clip.mp4")
    _write(tmp_path / f"short.{suffix}", clip, sound, audio_duration=0.7)
    assert media.open_audio(tmp_path / f"short.{suffix}").duration == pytest.approx(0.7, abs=0.03)
    _write(tmp_path / f"long.{suffix}", clip, sound, audio_duration=1.5)
    padded = codec == "pcm_s16le" or (suffix, codec) == ("mov", "libopus")
    duration = media.open_audio(tmp_path / f"long.{suffix}").duration
    assert duration == pytest.approx(1.5 if padded else 1.0, abs=0.03)
    wave_CS = np.concatenate(list(media.read_audio(tmp_path / f"long.{suffix}")), axis=1)
    assert np.abs(wave_CS[:, 49800:]).max(initial=0) < 0.01


def test_sound_of_a_video_can_be_given(tmp_path):
    clip, sound = write_clip(tmp_path / "clip.mp4"), write_tone(tmp_path / "sound.m4a", "aac", 16000)
    _write(tmp_path / "speaking.mp4", clip, sound)
    _write(tmp_path / "again.mp4", clip, tmp_path / "speaking.mp4")
    assert packets(tmp_path / "again.mp4", "audio") == packets(sound, "audio")


def test_more_channels_than_aac_has_are_told(tmp_path):
    wavfile.write(tmp_path / "ten.wav", 16000, np.zeros((1600, 10), np.int16))
    with pytest.raises(InputError, match="8 channels"):
        _write(tmp_path / "result.mp4", write_clip(tmp_path / "clip.mp4"), tmp_path / "ten.wav")
    _write(tmp_path / "result.mkv", tmp_path / "clip.mp4", tmp_path / "ten.wav")
    assert media.open_audio(tmp_path / "result.mkv").channels == 10


def _taken(suffix):
    shared = {"aac", "mp3", "ac3"}
    return shared | ({"opus", "flac"} if suffix == "mp4" else {"pcm_s16le", "pcm_s24le"})


def _write(path, source, sound, **options):
    with media.VideoWriter(path, source, sound, **options) as writer:
        for frame in media.read_frames(source):
            writer.write(frame)


def _onset(path):
    wave_CS = np.concatenate(list(media.read_audio(path)), axis=1)
    return np.argmax(np.abs(wave_CS).max(0) > 0.1) / media.open_audio(path).rate
