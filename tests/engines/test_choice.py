"""Which engine files are; LatentSync from its three, without a host."""

import numpy as np
import pytest
import torch

from omnisync_core import cli
from omnisync_core.engines import choice
from omnisync_core.engines.latentsync.engine import LatentSyncEngine
from omnisync_core.errors import InputError
from tests.engines.latentsync import small
from tests.fake import pictures, write_sound, write_video


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Tiny random networks under the public names, as published."""
    folder = tmp_path_factory.mktemp("files")
    small.write_files(folder)
    write_video(folder / "in.mkv", 8, size=(128, 96))
    write_sound(folder / "in.wav", 0.4)
    return folder


def opened(files, **given):
    paths = files / "latentsync_unet.pt", files / "sd-vae-ft-mse.safetensors", files / "tiny.pt"
    return choice.open_engine(*paths, {"device": "cpu", "dtype": "float32", "resolution": 256, **given})


def test_three_files_are_latentsync(files):
    engine = opened(files, steps=2, guidance={})
    assert isinstance(engine, LatentSyncEngine)
    assert engine.settings.steps == 2
    assert engine.settings.cfg == 1.5
    assert engine.settings.reuse == 3
    assert engine.settings.guidance is None
    again, other = opened(files, steps=2), opened(files, steps=2, guidance={"w_peak": 3.0})
    assert again.fingerprint == engine.fingerprint != other.fingerprint
    assert other.settings.guidance.w_peak == 3.0


@pytest.mark.parametrize(
    ("model", "vae", "whisper", "given", "says"),
    [
        ("a.pt", None, None, {}, "--vae and --whisper"),
        ("a.pt", "v", None, {}, "give --whisper too"),
        (None, "v", "w", {}, "give --model too"),
        (None, None, None, {"cfg": 2.0}, "--cfg is of LatentSync"),
        ("a.pt", "v", "w", {"prompt": "loud"}, "--prompt is of OmniSync"),
        ("a.pt", "v", "w", {"tau": 0.5}, "--tau is of OmniSync"),
        ("a.pt", "v", "w", {"cfg": 2.0, "guidance": {"gamma": 1.0}}, "either --cfg"),
    ],
)
def test_files_and_settings_that_do_not_go_together_are_one_line(tmp_path, model, vae, whisper, given, says):
    paths = (None if name is None else tmp_path / name for name in (model, vae, whisper))
    with pytest.raises(InputError, match=says):
        choice.open_engine(*paths, given)


def test_another_whisper_is_told(files, tmp_path):
    other = small.WhisperEncoder({**small.WHISPER, "encoder_layers": 2})
    torch.save({"dims": {"n_audio_head": 2}, "model_state_dict": other.state_dict()}, tmp_path / "base.pt")
    with pytest.raises(InputError, match=r"tiny\.pt"):
        choice.open_engine(files / "latentsync_unet.pt", files / "sd-vae-ft-mse.safetensors", tmp_path / "base.pt")


def test_the_command_line_runs_latentsync_on_a_video(files, tmp_path):
    out = tmp_path / "out.mkv"
    status = cli.main([
        "lipsync", "--video", str(files / "in.mkv"), "--audio", str(files / "in.wav"), "--output", str(out),
        "--lossless", "--mouth", "64,60,16", "--model", str(files / "latentsync_unet.pt"), "--steps", "2",
        "--vae", str(files / "sd-vae-ft-mse.safetensors"), "--whisper", str(files / "tiny.pt"),
        "--resolution", "256", "--device", "cpu", "--dtype", "float32",
    ])  # fmt: skip
    assert status == 0
    change = np.abs(np.stack(pictures(out)).astype(int) - np.stack(pictures(files / "in.mkv")))
    assert change[:, 50:75, 48:80].max() > 3
    assert change[:, :20].max() == 0
