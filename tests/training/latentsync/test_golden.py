"""Numbers of the official training code, with weights and inputs that `known.py` makes from their names.

How `ls_training.safetensors` and `ls_training_keys.json` came about: the official StableSyncNet, cosine_loss,
one_step_sampling, TREPALoss over VisionTransformer, melspectrogram (librosa) and the lpips package ran in float32 on a
CPU; `step.losses` are those of the lines of scripts/train_unet.py with the weights of configs/unet/stage2.yaml, where
a transposed convolution decodes. The vectors hold results only.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from omnisync_core.training.latentsync.contrastive import cosine_loss
from omnisync_core.training.latentsync.losses import noised, one_step
from omnisync_core.training.latentsync.mel import sync_mel
from omnisync_core.training.latentsync.stages import STAGE_2, FaceBatch, Judges, loss_at
from omnisync_core.training.latentsync.syncnet import LAYOUTS, StableSyncNet, SyncNetConfig, TowerConfig
from omnisync_core.training.latentsync.videomae import VideoMAE, VideoMAEConfig
from tests.training.latentsync import known
from tests.training.latentsync.known import numbers

HERE = Path(__file__).parents[2] / "golden"
WITHIN = 1e-4


@pytest.fixture(scope="module")
def gold() -> dict[str, torch.Tensor]:
    return load_file(HERE / "ls_training.safetensors")


def far(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max())


def test_keys_and_shapes_are_the_published_ones():
    keys = json.loads((HERE / "ls_training_keys.json").read_text(encoding="utf-8"))
    with torch.device("meta"):
        networks = {name: StableSyncNet(LAYOUTS[name]) for name in keys if name != "videomae"}
        networks["videomae"] = VideoMAE(VideoMAEConfig())
    assert {"pixel_attention", "pixel", "latent", "videomae"} == networks.keys()
    for name, network in networks.items():
        assert {key: list(value.shape) for key, value in network.state_dict().items()} == keys[name], name


def test_syncnet_sees_and_hears_as_officially(gold):
    seen_BD, heard_BD = known.syncnet()(numbers("pictures", 3, 12, 16, 32), numbers("mel", 3, 1, 80, 52))
    assert far(seen_BD, gold["sync.seen"]) < WITHIN
    assert far(heard_BD, gold["sync.heard"]) < WITHIN
    assert far(cosine_loss(seen_BD, heard_BD, torch.tensor([1.0, 0, 1])), gold["sync.loss"]) < WITHIN


def test_its_sound_is_the_official_one(gold):
    wave_S = numbers("wave", 8000).numpy() * np.linspace(0, 0.3, 8000).astype(np.float32)
    found = torch.from_numpy(sync_mel(wave_S))
    assert far(found, gold["mel"]) < WITHIN
    assert (sync_mel(np.zeros(800)) == -4).all() and (sync_mel(100 * wave_S).max() == 4), "cut off at both ends"


def test_pictures_differ_as_officially(gold):
    one, other = (numbers(name, 2, 3, 32, 48).tanh() for name in ("one", "other"))
    distance = known.perceptual()
    assert far(distance(one, other), gold["lpips"]) < WITHIN * float(gold["lpips"].max())
    assert distance(one, one).abs().max() == 0


def decode(latents_NChw: torch.Tensor) -> torch.Tensor:
    return F.conv_transpose2d(latents_NChw, numbers("decoder", 4, 3, 8, 8) / 4, stride=8)


def sixteen() -> StableSyncNet:
    visual = TowerConfig(48, known.SYNCNET.visual.widths, known.SYNCNET.visual.strides, known.SYNCNET.visual.attention)
    return known.fill(StableSyncNet(SyncNetConfig(known.SYNCNET.audio, visual, frames=16, resolution=32)))


def test_a_step_of_stage_2_costs_what_it_does_officially(gold):
    truth, noise, predicted = (numbers(name, 1, 4, 16, 4, 4) for name in ("truth", "noise", "predicted"))
    time_B = torch.tensor([431])
    noisy = noised(truth, noise, time_B)
    assert far(noisy, gold["step.noisy"]) < WITHIN
    assert far(one_step(noisy, predicted, time_B), gold["step.clean"]) < WITHIN
    still = torch.zeros_like(truth)
    batch = FaceBatch(
        truth, still, still, still[:, :1], audio_BFLD=torch.zeros(1, 16, 1, 1),
        pictures_BFCHW=numbers("pixels", 16, 3, 32, 32).tanh()[None], mel_B1MF=numbers("mel1", 1, 1, 80, 52),
    )  # fmt: skip
    judges = Judges(decode, sixteen(), known.perceptual(), known.fill(VideoMAE(known.VIDEOMAE)))
    losses = loss_at(lambda given, time, audio: predicted, batch, noise, time_B, judges, STAGE_2)
    found = torch.stack([losses[name] for name in ("reconstruction", "sync", "perceptual", "trepa", "loss")])
    assert (found / gold["step.losses"] - 1).abs().max() < WITHIN


def test_faces_of_another_size_are_watched_as_officially(gold):
    clean = gold["step.clean"].transpose(1, 2)[0]
    large = decode(clean).repeat_interleave(2, 2).repeat_interleave(2, 3)[None]
    assert far(sixteen().watch(large)[:, :6], gold["watched64"]) < WITHIN
