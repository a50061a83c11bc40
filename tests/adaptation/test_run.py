"""Learning a person on tiny networks: the file fits, the last quarter stays unseen, and a stop loses nothing."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from omnisync_core.adaptation import AdaptOptions, adapt, run
from omnisync_core.adaptation.learning import LowRank, split
from omnisync_core.adapter import read_adapter
from omnisync_core.checkpoint import write_bundle
from omnisync_core.engines.omnisync import load_engine
from omnisync_core.errors import InputError
from omnisync_core.models.vae import VideoVAE
from tests import tiny
from tests.fake import write_sound, write_video

MOUTH = (32, 24, 12)


@pytest.fixture
def clip(tmp_path):
    write_video(tmp_path / "in.mkv", 75)
    write_sound(tmp_path / "own.wav", seconds=3.0, bursts=((0.1, 0.6), (0.9, 1.4), (1.7, 2.6)))
    vae = replace(tiny.VAE, skips=True)
    torch.manual_seed(0)
    networks = tiny.networks() | {"vae": VideoVAE(vae)}
    write_bundle(tmp_path / "tiny.safetensors", networks, tiny.CONFIG | {"vae": asdict(vae)}, dtype=torch.float32)
    return tmp_path


def learn(clip, **settings):
    """Six steps: the clock is the number of steps."""
    settings = {"minutes": 0.4, "mouth": MOUTH} | settings
    progress = settings.pop("progress", None)
    return adapt(
        clip / "in.mkv", clip / "p.safetensors", audio=clip / "own.wav", model=clip / "tiny.safetensors",
        options=AdaptOptions(**settings), device="cpu", progress=progress,
    )  # fmt: skip


@pytest.fixture
def clock(monkeypatch):
    """Time that passes where it is looked at alone."""
    now = [0.0]

    def monotonic():
        now[0] += 0.7
        return now[0]

    monkeypatch.setattr(run, "monotonic", monotonic)
    monkeypatch.setattr(run, "MOST_ROUNDS", 1)
    return now


def test_the_file_fits_the_model_it_was_learned_with(clip, clock):
    told = learn(clip)
    assert told.steps > 3
    adapter = read_adapter(clip / "p.safetensors")
    assert adapter.told["windows"] == told.windows
    engine = load_engine(clip / "tiny.safetensors", adapter=clip / "p.safetensors", device="cpu")
    assert engine.fingerprint["model"].startswith(adapter.base)
    assert not (clip / "p.safetensors.omnisync").exists()


def test_time_words_and_encoders_stay(clip, clock):
    learn(clip)
    keys = read_adapter(clip / "p.safetensors").tensors
    assert all(key.startswith(("diffusion_model.blocks.", "vae.decoder.")) for key in keys)
    assert not [key for key in keys if "text_attention" in key]


def test_the_last_quarter_is_never_seen(clip, clock, monkeypatch):
    seen = []
    whole = run.read_windows
    monkeypatch.setattr(run, "read_windows", lambda *given: seen.append(whole(*given)) or seen[-1])
    learn(clip)
    windows, _ = seen[0]
    assert windows.times_WT.max() <= 0.75 * 3.0
    assert len(windows) >= 3


def test_a_stop_loses_nothing(clip, clock):
    class Enough(Exception):
        pass

    def stop(progress):
        if progress.stage == "learning" and progress.done > 15:
            raise Enough

    run_before = run.SAVE_SECONDS
    run.SAVE_SECONDS = 1.0
    try:
        with pytest.raises(Enough):
            learn(clip, progress=stop)
    finally:
        run.SAVE_SECONDS = run_before
    assert not (clip / "p.safetensors").exists()
    with pytest.raises(InputError, match="was stopped"):
        learn(clip)
    stages = []
    told = learn(clip, resume=True, progress=lambda progress: stages.append(progress.stage))
    assert set(stages) == {"learning"}
    assert told.steps > len(stages)


def test_kept_out_are_the_last():
    rows, out = split(20)
    assert rows.tolist() == list(range(18))
    assert out.tolist() == [18, 19]


def test_a_low_rank_addition_is_nothing_at_the_start():
    weight = torch.randn(5, 7)
    assert torch.equal(LowRank(weight, 2)(weight), weight)


@pytest.mark.parametrize(
    ("sound", "says"),
    [
        ({"seconds": 1.5, "bursts": ((0, 1.4),)}, "at least 2 s are needed"),
        ({"seconds": 3.0, "bursts": ((0.2, 0.3),)}, "speaks in"),
    ],
)
def test_too_short_or_without_speech(clip, sound, says):
    write_sound(clip / "own.wav", **sound)
    with pytest.raises(InputError, match=says):
        learn(clip)


@pytest.mark.parametrize("minutes", [0, -1, 1e9, np.nan])
def test_minutes_are_minutes(minutes):
    with pytest.raises(InputError, match="minutes must be"):
        AdaptOptions(minutes=minutes)


def test_the_output_is_a_safetensors_file(clip):
    with pytest.raises(InputError, match=r"must end in \.safetensors"):
        adapt(clip / "in.mkv", clip / "p.mp4")


def test_a_decoder_that_does_not_look_at_the_source_cannot_learn_a_person(clip):
    write_bundle(clip / "tiny.safetensors", tiny.networks(), tiny.CONFIG, dtype=torch.float32)
    with pytest.raises(InputError, match="does not look at the source"):
        learn(clip)
