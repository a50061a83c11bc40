"""The engine: its protocol, what it goes on from, what it may change, and that noise is drawn again."""

import numpy as np
import pytest
import torch

from omnisync_core.engines.xdub.engine import PlacedDiT, Settings, check_hearing, filled
from omnisync_core.engines.xdub.noise import FARTHEST, distance
from omnisync_core.errors import InputError
from omnisync_core.models.whisper import WhisperEncoder
from tests.engines.xdub import small
from tests.fake import cancel_and_edit, drifting, edit_alone

SIZE, WINDOW = small.SIZE, small.WINDOW
MOUTH = np.float32([0.5, 0.65, 0.2])


def pictures(frames: int, start: int = 0) -> np.ndarray:
    return drifting(frames, start, SIZE, 0.005)


def spoken(frames: int, start: int = 0) -> np.ndarray:
    """Features of three frames before and of the frames."""
    states = np.random.default_rng(1).normal(0.5, 0.5, (200, 2, small.HEARS + small.WAV)).astype(np.float32)
    return states[start : start + frames + 3]


def edited(engine, frames=WINDOW, start=0, *, anchor=None, seed=7, on_step=lambda step, steps: None, speech=None):
    heard = spoken(frames, start) if speech is None else speech
    mouths = np.tile(MOUTH, (frames, 1))
    return edit_alone(engine, pictures(frames, start), heard, mouths, anchor=anchor, seed=seed, on_step=on_step)


def test_a_window_of_the_real_network():
    network, steps = small.dit(), []
    engine = small.engine(PlacedDiT(network), steps=2, redraws=0)
    edit = edited(engine, on_step=lambda step, total: steps.append((step, total)))
    assert edit.edited_THWC.shape == edit.reference_THWC.shape == (WINDOW, SIZE, SIZE, 3)
    assert np.isfinite(edit.edited_THWC).all()
    assert steps == [(1, 2), (2, 2)]
    again = edited(small.engine(PlacedDiT(network), steps=2, redraws=0))
    assert np.array_equal(edit.edited_THWC, again.edited_THWC)


def test_what_the_network_is_given():
    denoiser = small.Mouth()
    edited(small.engine(denoiser))
    calls = denoiser.calls
    assert [call["rows"] for call in calls] == [3] * 3
    assert [call["motion"] for call in calls] == [0] * 3
    assert [round(call["level"], 1) for call in calls] == [1000, 909.1, 714.3]
    context, audio = calls[0]["context"], calls[0]["audio"]
    assert context.shape == (3, 512, small.CONFIG.text_dim)
    assert (context[:, 1:] == 0).all()
    assert torch.equal(context[0, 0], torch.linspace(-1, 1, small.CONFIG.text_dim))
    assert (audio[:2] == 0).all()
    assert torch.equal(audio[2], torch.from_numpy(spoken(WINDOW)).reshape(5, 8, -1))


def test_the_sound_and_the_reference_decide():
    first = edited(small.engine(redraws=0))
    other = edited(small.engine(redraws=0), speech=-spoken(WINDOW))
    change = np.abs(first.edited_THWC - other.edited_THWC).max((0, 3))
    assert change[72, 60] > 0.05
    assert change[24, 24] < 1e-5
    assert np.array_equal(first.reference_THWC, small.Blocks().decode(small.Blocks().encode(pictures(WINDOW))))
    assert np.abs(first.edited_THWC - first.reference_THWC)[:, :16].max() < 1e-4


def test_a_window_goes_on_from_five_finished_frames():
    codec, denoiser = small.Blocks(), small.Mouth()
    engine = small.engine(denoiser, codec)
    before = edited(engine)
    anchor = np.clip(before.edited_THWC[-5:] + 0.1, 0, 1)
    codec.encoded.clear()
    after = edited(engine, start=12, anchor=anchor)
    assert codec.encoded == [5, WINDOW]
    assert {call["motion"] for call in denoiser.calls[3:]} == {2}
    expected = small.Blocks().decode(small.Blocks().encode(anchor))
    assert np.allclose(after.edited_THWC[:5], expected, atol=1e-5)


def test_a_window_that_was_moved_back_goes_on_from_its_anchor_s_end():
    """Thirteen finished frames: eight stay, the last five are gone on from, four frames are new."""
    codec, denoiser = small.Blocks(), small.Mouth()
    anchor = np.clip(pictures(13, 20) + 0.05, 0, 1)
    edit = edited(small.engine(denoiser, codec, redraws=0), start=20, anchor=anchor)
    assert np.array_equal(edit.edited_THWC[:8], anchor[:8])
    assert len(edit.edited_THWC) == WINDOW
    assert codec.encoded == [5, WINDOW, WINDOW]
    assert codec.decoded == [WINDOW, 9]
    heard = torch.from_numpy(spoken(WINDOW, 20)[8:]).reshape(3, 8, -1)
    assert torch.equal(denoiser.calls[0]["audio"][2, :3], heard)
    whole = small.Blocks().decode(small.Blocks().encode(pictures(WINDOW, 20)))
    assert np.array_equal(edit.reference_THWC, whole)


def test_noise_is_not_gone_on_from():
    denoiser = small.Mouth()
    anchor = np.random.default_rng(0).uniform(0, 1, (13, SIZE, SIZE, 3)).astype(np.float32)
    edit = edited(small.engine(denoiser), start=20, anchor=anchor)
    assert {call["motion"] for call in denoiser.calls} == {0}
    assert edit.note == ""
    assert np.array_equal(edit.edited_THWC, edited(small.engine(), start=20).edited_THWC)


def test_a_short_window_is_filled_to_a_whole_one():
    codec, denoiser = small.Blocks(), small.Mouth()
    edit = edited(small.engine(denoiser, codec), 9)
    assert len(edit.edited_THWC) == len(edit.reference_THWC) == 9
    assert codec.encoded == [WINDOW]
    assert codec.decoded == [9, 9]
    audio = denoiser.calls[0]["audio"][2].flatten(0, 1)
    assert (audio[24:] == torch.from_numpy(spoken(9)[-1]).repeat(8, 1)).all()


def test_filling_plays_back_and_forth():
    numbers = np.arange(4.0).reshape(4, 1, 1, 1)
    assert filled(numbers, 13).ravel().tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0]
    assert filled(numbers[:1], 5).ravel().tolist() == [0] * 5
    assert filled(numbers, 4).ravel().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("noisy", "calls", "note"),
    [
        ((), 3, ""),
        ((2,), 6, "ended in noise and was drawn again once"),
        ((2, 5), 9, "ended in noise and was drawn again 2 times"),
        ((2, 5, 8), 9, "looks like noise (drawn again 2 times): try another seed or more steps"),
    ],
)
def test_noise_is_drawn_again_twice_at_most_and_reported(noisy, calls, note):
    denoiser, finished = small.Mouth(noisy), []
    edit = edited(small.engine(denoiser), on_step=lambda step, steps: finished.append(step))
    assert len(denoiser.calls) == calls
    assert finished == [1, 2, 3]
    assert edit.note == note
    far = distance(edit.edited_THWC, edit.reference_THWC, np.tile(MOUTH, (WINDOW, 1)))
    assert (far > FARTHEST) == note.startswith("looks like noise")


def test_a_sane_window_is_drawn_once_with_the_job_s_seed():
    assert np.array_equal(edited(small.engine()).edited_THWC, edited(small.engine(redraws=0)).edited_THWC)


def test_drawing_again_takes_another_seed():
    network = PlacedDiT(small.dit())
    once, again = (small.engine(network, steps=1, redraws=count) for count in (0, 1))
    first, second = edited(once), edited(again)
    assert "drawn again once" in second.note
    assert "looks like noise" in first.note
    other = edited(once, seed=8)
    assert not np.array_equal(first.edited_THWC, other.edited_THWC)


def test_what_is_far_from_a_source():
    source, mouths = pictures(5), np.tile(MOUTH, (5, 1))
    assert distance(source, source, mouths) == 0
    talking = source.copy()
    talking[:, 76:92, 48:80] = 1 - talking[:, 76:92, 48:80]
    assert distance(talking, source, mouths) < 0.02
    shifted = np.roll(source, 2, axis=2) + np.float32(0.04)
    assert distance(shifted, source, mouths) < FARTHEST / 2
    one_frame = source.copy()
    one_frame[3] = np.random.default_rng(0).uniform(0, 1, one_frame[3].shape)
    assert distance(one_frame, source, mouths) > FARTHEST
    one_frame[3, 0, 0, 0] = np.nan
    assert distance(one_frame, source, mouths) == float("inf")


def test_cancelling_leaves_the_engine_usable():
    cancel_and_edit(edited, small.engine(), small.engine())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps"),
        ({"audio_cfg_scale": float("nan")}, "audio_cfg_scale"),
        ({"ref_cfg_scale": -1}, "ref_cfg_scale"),
        ({"unguided_below": 1.5}, "unguided_below"),
        ({"reuse": 0}, "reuse"),
        ({"redraws": -1}, "redraws"),
        ({"crop_size": 500}, "multiple of 32"),
        ({"window_frames": 76}, "window_frames"),
        ({"window_frames": 5}, "window_frames"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(InputError, match=message):
        Settings(**settings)


def test_the_official_window():
    spec = Settings().spec
    assert (spec.window_frames, spec.overlap_frames, spec.crop_size, spec.shared_noise) == (77, 5, 512, True)
    assert spec.latent_frames(77) == 20
    assert spec.latent_frames(5) == 2


def test_too_many_frames():
    with pytest.raises(InputError, match="at most 17"):
        edited(small.engine(), WINDOW + 4)


def test_other_encoders_are_refused():
    check_hearing(small.CONFIG, small.whisper(), small.WAV)
    with pytest.raises(InputError, match=r"large-v2\.pt"):
        check_hearing(small.CONFIG, small.whisper(), 1024)
    third = WhisperEncoder({**small.WHISPER, "num_mel_bins": 128})
    with pytest.raises(InputError, match="128 mels"):
        check_hearing(small.CONFIG, third, small.WAV)
