"""Learning a person on tiny networks: the file fits, the last quarter stays unseen, and a stop loses nothing."""

import errno
import itertools
import os
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from omnisync_core.adaptation import AdaptOptions, adapt, kept, learned_from, learning, run
from omnisync_core.adaptation.learning import LowRank, split
from omnisync_core.adapter import read_adapter
from omnisync_core.checkpoint import write_bundle
from omnisync_core.engines.omnisync import load_engine
from omnisync_core.errors import InputError, OutputError
from omnisync_core.media import Part
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
    """Some steps: the clock passes where it is looked at."""
    settings = {"minutes": 1.0, "mouth": MOUTH} | settings
    progress, output = settings.pop("progress", None), settings.pop("output", clip / "p.safetensors")
    return adapt(
        clip / "in.mkv", output, audio=clip / "own.wav", model=clip / "tiny.safetensors",
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
    result = learn(clip)
    assert result.steps > 3
    adapter = read_adapter(clip / "p.safetensors")
    assert adapter.about["windows"] == result.windows
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
    windows = seen[0]
    assert windows.times_WT.max() <= 0.75 * 3.0
    assert len(windows) >= 3


def test_a_stop_loses_nothing(clip, clock, monkeypatch):
    class Enough(Exception):
        pass

    def stop(progress):
        if progress.stage == "learning" and progress.done > 50:
            raise Enough

    whole, taken = learning.Pupil.step, []
    monkeypatch.setattr(learning.Pupil, "step", lambda *given: taken.append(1) or whole(*given))
    monkeypatch.setattr(run, "SAVE_SECONDS", 1.0)
    with pytest.raises(Enough):
        learn(clip, progress=stop)
    before = len(taken)
    assert before > 3
    assert not (clip / "p.safetensors").exists()
    with pytest.raises(InputError, match="was stopped"):
        learn(clip)
    stages = set()
    result = learn(clip, resume=True, minutes=2.0, progress=lambda progress: stages.add(progress.stage))
    assert stages == {"learning"}
    assert result.steps == len(taken) - 1, "all but the one in which it was stopped were kept"
    assert len(taken) > before


def test_what_is_told_of_time_is_in_seconds_and_does_not_pass_its_end(clip, clock):
    events = []
    learn(clip, progress=events.append)
    stages = [progress.stage for progress in events]
    assert list(dict.fromkeys(stages)) == ["reading", "changing", "learning"]
    assert all(0 <= progress.done <= progress.total for progress in events)
    assert events[-1].done == events[-1].total == 60


def test_a_first_round_that_takes_too_long_ends_and_learning_begins(clip, clock, monkeypatch):
    monkeypatch.setattr(run, "LEAST_WINDOWS", 3)
    monkeypatch.setattr(run, "CHANGING_SHARE", 0.0)
    result = learn(clip)
    assert result.windows == 3
    assert result.steps > 3


def test_a_disk_that_is_full_loses_nothing(clip, clock, monkeypatch):
    whole, failed = os.replace, []

    def full(source, target):
        if str(target).endswith("state.npz") and not failed:
            failed.append(target)
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="No space left on device; free some and resume"):
        learn(clip)
    stages = set()
    result = learn(clip, resume=True, progress=lambda progress: stages.add(progress.stage))
    assert stages == {"learning"}
    assert read_adapter(result.output).about["steps"] == result.steps


def test_a_disk_that_is_full_at_the_end_loses_nothing(clip, clock, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run, "write_adapter", full)
    with pytest.raises(OutputError, match="No space left on device; what was learned is kept"):
        learn(clip)
    monkeypatch.undo()
    assert learn(clip, resume=True, minutes=0.001).steps > 3


def test_an_output_folder_that_is_gone_is_one_line(clip, clock):
    gone = clip / "gone"
    gone.mkdir()

    def remove(progress):
        if progress.stage == "learning":
            shutil.rmtree(gone, ignore_errors=True)

    with pytest.raises(OutputError, match="is gone: it was removed while the job ran"):
        learn(clip, output=gone / "p.safetensors", progress=remove)
    with pytest.raises(OutputError, match="there is no folder"):
        learn(clip, output=gone / "p.safetensors")


def test_a_second_job_on_the_same_output_is_refused(clip, clock):
    refused = []

    def again(progress):
        if progress.stage == "changing" and not refused:
            with pytest.raises(InputError, match="is at work in") as caught:
                learn(clip, resume=True)
            refused.append(str(caught.value))

    assert learn(clip, progress=again).steps > 3
    assert len(refused) == 1


def test_what_was_learned_from_the_same_is_taken_and_another_s_is_not(clip, clock):
    result = learn(clip)
    options = AdaptOptions(mouth=MOUTH)
    base = read_adapter(result.output).base
    asked = learned_from(Part.of(clip / "in.mkv"), clip / "own.wav", base, options)
    assert kept(result.output, asked, 1.0).share == result.share
    assert kept(result.output, asked, 1.5) is None
    assert kept(clip / "none.safetensors", asked, 1.0) is None
    other = learned_from(Part.of(clip / "in.mkv"), clip / "own.wav", base, replace(options, seed=1))
    with pytest.raises(InputError, match="was learned from something else: choose another name"):
        kept(result.output, other, 1.0)


def test_steps_whose_numbers_run_over_change_nothing(clip, clock, monkeypatch):
    whole, number = learning.generator_loss, itertools.count()

    def sometimes(*given):
        losses = whole(*given)
        return {"loss": losses["loss"] * (np.nan if next(number) % 2 else 1.0)}

    monkeypatch.setattr(learning, "generator_loss", sometimes)
    learn(clip)
    assert all(torch.isfinite(value).all() for value in read_adapter(clip / "p.safetensors").tensors.values())
    monkeypatch.setattr(learning, "generator_loss", lambda *given: {"loss": whole(*given)["loss"] * np.nan})
    monkeypatch.setattr(run, "MOST_LOST", 2)
    with pytest.raises(InputError, match="2 steps in a row gave no numbers"):
        learn(clip)


def test_the_caller_s_random_numbers_stay(clip, clock):
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    learn(clip)
    assert torch.equal(torch.rand(3), expected)


def test_kept_out_are_the_last_and_share_no_frame():
    times_WT = np.arange(20)[:, None] * 12 + np.arange(17)
    rows, out = split(times_WT)
    assert rows.tolist() == list(range(17))
    assert out.tolist() == [18, 19]
    assert not np.intersect1d(times_WT[rows], times_WT[out]).size


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
