"""The engine: its protocol, what it encodes, what it may change, and that windows continue each other."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from omnisync_core.audio import SAMPLE_RATE, ArrayWave
from omnisync_core.diffusion.guidance import Guidance
from omnisync_core.engines.latentsync import align, mask
from omnisync_core.engines.latentsync.ddim import Schedule
from omnisync_core.engines.latentsync.engine import PlacedUNet, Settings
from omnisync_core.engines.latentsync.hearing import LayeredSpeech
from omnisync_core.errors import InputError
from omnisync_core.models import whole_sound
from tests.engines.latentsync import small
from tests.fake import cancel_and_edit, drifting, edit_alone

SIZE = Settings().spec.crop_size
MOUTH = np.float32([0.5, 0.6, align.MOUTH_WIDTH / 112])


def pictures(frames: int, start: int = 0) -> np.ndarray:
    return drifting(frames, start, SIZE, 0.01)


def mouths(frames: int) -> np.ndarray:
    return np.tile(MOUTH, (frames, 1))


def spoken(frames: int, start: int = 0) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.normal(0.3, 0.3, (100, 50, small.AUDIO)).astype(np.float32)[start : start + frames]


def edited(engine, frames=5, start=0, *, anchor=None, seed=7, on_step=lambda step, steps: None, speech=None):
    heard = spoken(frames, start) if speech is None else speech
    return edit_alone(engine, pictures(frames, start), heard, mouths(frames), anchor=anchor, seed=seed, on_step=on_step)


def changed(edit) -> np.ndarray:
    """(S, S): how much is changed at most."""
    return np.abs(edit.edited_THWC - edit.reference_THWC).max((0, 3))


def test_a_window_of_the_real_network():
    engine, steps = small.engine(PlacedUNet(small.unet()), steps=2), []
    edit = edited(engine, 1, on_step=lambda step, total: steps.append((step, total)))
    assert edit.edited_THWC.shape == edit.reference_THWC.shape == (1, SIZE, SIZE, 3)
    assert edit.edited_THWC.dtype == np.float32
    assert np.isfinite(edit.edited_THWC).all()
    assert steps == [(1, 2), (2, 2)]
    assert changed(edit).max() > 0.01


def test_the_sound_the_seed_and_nothing_else_decide():
    first = edited(small.engine(), 2)
    assert np.array_equal(first.edited_THWC, edited(small.engine(), 2).edited_THWC)
    assert not np.array_equal(first.edited_THWC, edited(small.engine(), 2, speech=spoken(2, 50)).edited_THWC)


def test_only_the_masked_part_of_the_face_is_changed():
    change = changed(edited(small.engine()))
    affine = align.from_points(align.points_of_mouth(MOUTH * SIZE - np.float32([0.5, 0.5, 0])), 256)
    redrawn = align.restore(1 - mask.kept(256)[..., None], affine, (SIZE, SIZE), fill=0)[..., 0]
    assert change[redrawn < 1e-3].max() < 1e-3
    mouth_y, mouth_x = (round(value * SIZE) for value in (0.6, 0.5))
    assert change[mouth_y, mouth_x] > 0.02


def test_what_lies_outside_the_face_is_the_crop_itself():
    edit = edited(small.engine(), 3)
    assert np.array_equal(edit.reference_THWC[:, :, :20], pictures(3)[:, :, :20])
    assert np.array_equal(edit.edited_THWC[:, :, :20], pictures(3)[:, :, :20])


def test_shared_frames_are_encoded_once_and_change_nothing():
    codec = small.Blocks()
    engine = small.engine(codec=codec)
    before = edited(engine, 16)
    assert sum(codec.encoded) == 2 * 16
    assert sum(codec.decoded) == 16 + 16
    codec.encoded.clear()
    anchor = before.edited_THWC[-4:]
    after = edited(engine, 16, 12, anchor=anchor)
    assert sum(codec.encoded) == 2 * 12 + 4
    alone = edited(small.engine(), 16, 12, anchor=anchor)
    assert np.array_equal(after.edited_THWC, alone.edited_THWC)
    assert np.array_equal(after.reference_THWC, alone.reference_THWC)


def test_a_window_goes_on_from_its_anchor():
    free = edited(small.engine(), 9)
    anchor = np.clip(free.edited_THWC[:4] + 0.2, 0, 1)
    held = edited(small.engine(), 9, anchor=anchor)
    at = np.s_[:4, round(0.6 * SIZE), round(0.5 * SIZE)]
    assert np.abs(held.edited_THWC[at] - anchor[at]).max() < 0.04
    assert np.abs(free.edited_THWC[at] - anchor[at]).min() > 0.1


@pytest.mark.parametrize(("settings", "rows"), [({"cfg": 1.5}, 2), ({"cfg": 1.0}, 1), ({"cfg": 0.0}, 1)])
def test_the_sound_is_left_out_in_a_second_row_only_where_it_is_guided(settings, rows):
    denoiser = small.Loud()
    edited(small.engine(denoiser, **settings))
    assert {shape for shape, _ in denoiser.calls} == {(rows, 13, 5, 32, 32)}


def test_guidance_of_one_strength_is_cfg():
    flat = Guidance(w_peak=1.5, w_base=1.5, gamma=0, convention="normalised")
    plain, guided = edited(small.engine(cfg=1.5)), edited(small.engine(guidance=flat))
    assert np.allclose(plain.edited_THWC, guided.edited_THWC, atol=1e-6)
    off = small.Loud()
    edited(small.engine(off, guidance=Guidance(w_peak=1, w_base=1)))
    assert off.calls[0][0][0] == 1
    strong = edited(small.engine(guidance=replace(flat, w_peak=6.0, sigma_g=0.2)))
    stronger = np.abs(strong.edited_THWC - plain.edited_THWC).max((0, 3))
    assert stronger[round(0.6 * SIZE), round(0.5 * SIZE)] > 5 * stronger[round(0.85 * SIZE), round(0.3 * SIZE)]


def test_reuse_computes_every_third_step_in_full():
    denoiser = small.Loud()
    edited(small.engine(denoiser, steps=20, reuse=3), 2)
    assert [index for index, (_, cached) in enumerate(denoiser.calls) if not cached] == [0, 3, 6, 9, 12, 15, 18]


def test_cancelling_leaves_the_engine_usable():
    cancel_and_edit(edited, small.engine(), small.engine())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resolution": 384}, "256"),
        ({"steps": 0}, "steps"),
        ({"steps": 1000}, "steps"),
        ({"cfg": float("nan")}, "cfg"),
        ({"reuse": 0}, "reuse"),
        ({"overlap_frames": 16}, "overlap_frames"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(InputError, match=message):
        Settings(**settings)


def test_too_many_frames():
    with pytest.raises(InputError, match="at most 16"):
        edited(small.engine(), 17)


def test_the_face_fits_the_crop():
    """What the network sees of a mouth at its usual place lies inside the crop, top to chin."""
    for resolution in (256, 512):
        spec = Settings(resolution=resolution).spec
        size = spec.crop_size
        steady = np.float32([0.5 * size - 0.5, spec.mouth_height * size - 0.5, size / spec.crop_scale])
        affine = align.from_points(align.points_of_mouth(steady), resolution)
        corners = np.array([[0, 0, 1], [size - 1, size - 1, 1]]) @ affine.T
        width, height = align.face_size(resolution)
        assert (corners[0] < 0).all()
        assert corners[1][0] > width
        assert corners[1][1] > height


def test_a_turned_head_is_seen_upright():
    """The mouth stays where it is; the brows of a head turned clockwise go to the right of it."""
    roll = np.float32(0.4)
    affine = align.from_points(align.points_of_mouth(np.float32([100, 120, 30]), roll), 256)
    assert np.allclose(affine @ [100, 120, 1], align.MOUTH * 2.8, atol=0.05)
    above = np.array([100 + 40 * np.sin(roll), 120 - 40 * np.cos(roll), 1])
    assert np.allclose(affine @ above - affine @ [100, 120, 1], [0, -40 * 2.8 * align.MOUTH_WIDTH / 30], atol=0.05)
    engine = small.engine(steps=2)
    turned = np.concatenate([mouths(2), np.full((2, 1), roll)], axis=1)
    edit = edit_alone(engine, pictures(2), spoken(2), turned, anchor=None, seed=7, on_step=lambda step, steps: None)
    assert np.abs(edit.edited_THWC - edited(small.engine(steps=2), 2).edited_THWC).max() > 0.01


def test_noise_and_data_meet_the_schedules_ends():
    schedule, x0, eps = Schedule(20), torch.ones(1), torch.full((1,), 3.0)
    assert float(schedule.noised(0, x0, eps)) == pytest.approx(3.0 * (1 - 0.0065) ** 0.5 + 0.081, abs=0.05)
    assert float(schedule.noised(20, x0, torch.zeros(1))) == pytest.approx(0.99915**0.5, abs=1e-4)
    state = schedule.noised(4, x0, eps)
    assert float(schedule.step(4, state, eps)) == pytest.approx(float(schedule.noised(5, x0, eps)), abs=1e-5)


def test_sound_is_heard_alike_in_pieces_and_beyond_its_end(monkeypatch):
    wave = ArrayWave(np.random.default_rng(0).normal(0, 0.1, 31 * SAMPLE_RATE).astype(np.float32))
    whole, pieces = LayeredSpeech(small.whisper(), wave), LayeredSpeech(small.whisper(), wave)
    times = np.array([0.0, 1.3, 29.98, 30.02, 30.9])
    found = whole.at(times)
    assert found.shape == (5, 50, small.AUDIO)
    monkeypatch.setattr(whole_sound, "KEPT_SEGMENTS", 1)
    assert all(np.array_equal(pieces.at(times[i : i + 1])[0], found[i]) for i in (4, 0, 3, 2, 1))
    beyond = whole.at(np.array([40.0, 400.0]))
    assert np.array_equal(beyond[0], beyond[1])
    assert not np.array_equal(beyond[0], found[-1])


@pytest.mark.parametrize("samples", [1, 100, 399, 400, 1700])
def test_the_shortest_sounds(samples):
    speech = LayeredSpeech(small.whisper(), ArrayWave(np.full(samples, 0.1, np.float32)))
    assert np.isfinite(speech.at(np.array([0.0, 0.04, 2.0]))).all()


def test_memory_of_a_long_sound_does_not_grow():
    class Endless:
        duration = 3600.0
        longest = 0

        def read(self, start, stop):
            self.longest = max(self.longest, stop - start)
            return np.full(round((stop - start) * SAMPLE_RATE), 0.1, np.float32)

    wave = Endless()
    speech = LayeredSpeech(small.whisper(), wave)
    speech._loudest = 0.0
    for time in (0.0, 1800.0, 3599.0):
        speech.at(np.array([time]))
    assert wave.longest < 31
    assert len(speech._segments) <= 2
