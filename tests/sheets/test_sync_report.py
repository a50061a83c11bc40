"""The chart and figures of a mouth against a sound, and the sheet of a track, on made-up truths."""

import numpy as np
import pytest

from omnisync_core.audio import ArrayWave
from omnisync_core.errors import InputError
from omnisync_core.mouth import MouthTrack
from omnisync_core.sheets import sync_report, track_sheet
from omnisync_core.sheets.sync_report import LAGS, SyncReading, describe, draw, read

COUNT, FPS = 50, 25


def track(count=COUNT, confidence=1.0, shots=None, warnings=()):
    return MouthTrack(
        np.arange(count) / FPS, np.tile([0.5, 0.6], (count, 1)), np.full(count, 0.2),
        np.full(count, confidence) if np.isscalar(confidence) else np.asarray(confidence),
        np.array(["landmarks"] * count), np.zeros(count, int) if shots is None else np.asarray(shots), (64, 48),
        warnings,
    )  # fmt: skip


def bursts(seconds=2.0):
    """Noise that is loud in each second's first half."""
    time = np.arange(round(16000 * seconds)) / 16000
    return ArrayWave(np.random.default_rng(0).normal(0, 0.2, len(time)) * ((time % 1) < 0.5))


def pictures(count=COUNT):
    return [np.full((48, 64, 3), 128, np.uint8)] * count


def reading_of(monkeypatch, delay=0.0, confidence=1.0):
    """A mouth that is open while the sound of `bursts` is loud, `delay` seconds late."""
    opening = (((np.arange(COUNT) / FPS - delay) % 1) < 0.5).astype(np.float32)
    given = iter(np.split(opening, [sync_report.BATCH]))
    monkeypatch.setattr(sync_report, "read_opening", lambda frames, places, width: next(given)[: len(frames)])
    return read(pictures(), np.arange(COUNT) / FPS, track(confidence=confidence), bursts())


def test_a_mouth_on_time_correlates_at_no_delay(monkeypatch):
    reading = reading_of(monkeypatch)
    assert reading.r > 0.9
    assert abs(reading.best[1]) <= 0.04
    assert len(reading.tiles) == sync_report.TILES
    assert "r 0.9" in describe(reading) or "r 1.0" in describe(reading)


def test_a_late_mouth_is_told_by_how_much(monkeypatch):
    reading = reading_of(monkeypatch, delay=0.2)
    assert reading.best[1] == pytest.approx(0.2, abs=0.05)
    assert reading.best[0] > reading.r + 0.3
    assert "ms after the sound" in describe(reading)


def test_frames_without_a_mouth_are_left_out(monkeypatch):
    confidence = np.where(np.arange(COUNT) < 20, 0.0, 1.0)
    reading = reading_of(monkeypatch, confidence=confidence)
    assert np.isnan(reading.opening_N[:20]).all()
    assert reading.r > 0.9
    assert "mouth known in 30 of 50 frames" in describe(reading)


def test_the_reader_itself_gives_a_number_per_frame():
    frames = [np.random.default_rng(0).random((48, 64, 3)).astype(np.float32)] * 3
    reading = read(frames, np.arange(3) / FPS, track(3), bursts(0.2))
    assert np.isfinite(reading.opening_N).all()
    assert np.isnan(reading.r)


def test_another_number_of_frames_is_told():
    with pytest.raises(InputError, match="the mouth track has 50 frames, the source 4"):
        read(pictures(4), np.arange(50) / FPS, track(), bursts())


@pytest.mark.parametrize("count", [1, 2, 40])
def test_any_reading_is_drawn(count):
    nothing = np.full(count, np.nan)
    times, flat = np.arange(count) / FPS, np.zeros(count)
    empty = SyncReading(times, nothing, flat, flat, np.full(len(LAGS), np.nan), 0.1)
    chart = draw(empty)
    assert chart.dtype == np.uint8
    assert chart.shape[1:] == (1280, 3)
    assert "too few frames" in describe(empty)


@pytest.mark.parametrize("size", [(640, 360), (200, 640), (1, 1), (64, 64)])
def test_a_sheet_shows_frames_of_any_shape(size):
    lost = np.where(np.arange(COUNT) > 30, 0.0, 1.0)
    found = track(confidence=lost, shots=np.arange(COUNT) > 25, warnings=("a line that the user should read",))
    samples = track_sheet.Samples()
    for _ in range(COUNT):
        samples.add(np.full((size[1], size[0], 3), 0.5, np.float32))
    chosen = samples.chosen()
    assert len(chosen) == track_sheet.TILES
    assert chosen[0][0] == 0
    assert chosen[-1][0] >= 0.8 * COUNT
    sheet = track_sheet.draw(found, chosen)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] == track_sheet.WIDTH
    assert sheet.shape[0] < 1300


def test_few_frames_are_held_of_a_long_video():
    samples = track_sheet.Samples(4)
    for _ in range(1000):
        samples.add(np.zeros((4, 4, 3), np.uint8))
        assert len(samples._kept) <= 9
    assert samples.chosen()[0][0] == 0
    assert len(samples.chosen()) == 4
