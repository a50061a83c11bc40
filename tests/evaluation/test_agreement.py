"""The judge of sync, where what it must say is known."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from omnisync_core.errors import CheckpointError
from omnisync_core.evaluation.agreement import agreement, found
from omnisync_core.evaluation.synth import evaluate
from omnisync_core.synth.clips import make_clip
from omnisync_core.training.latentsync.mel import sync_mel
from omnisync_core.training.latentsync.syncnet import SMALL, StableSyncNet
from tests.fake import SourceEngine

COUNT = 40


def cosines(shift: int) -> np.ndarray:
    """Whose pictures agree with the sound that comes `shift` windows later, and less with what is further away."""
    away = np.abs(np.arange(COUNT)[:, None] + shift - np.arange(COUNT))
    return np.exp(-((away / 2) ** 2))


def test_a_judge_that_is_never_wrong():
    false = np.abs(np.subtract.outer(np.arange(COUNT), np.arange(COUNT))) >= 4
    said = found(cosines(0), false)
    assert said.accuracy == 1
    assert said.agreement == pytest.approx(1)
    assert said.offset == 0
    assert said.confidence > 0.9


@pytest.mark.parametrize("shift", [-6, 3])
def test_a_sound_that_is_late_is_told_by_how_much(shift):
    said = found(cosines(shift), np.zeros((COUNT, COUNT), bool))
    assert said.offset == shift
    assert said.agreement < 0.2
    assert said.accuracy == 0


@pytest.mark.parametrize("answer", [0.0, 1.0])
def test_who_always_says_the_same_is_right_half_of_the_time(answer):
    false = ~np.eye(COUNT, dtype=bool)
    said = found(np.full((COUNT, COUNT), answer), false)
    assert said.accuracy == 0.5
    assert said.confidence == 0


class Reads(torch.nn.Module):
    """Looks at a mouth and hears a sound by one number each: how bright, how loud over the windows' mean."""

    def __init__(self):
        super().__init__()
        self.config = SMALL
        self.visual_encoder = self.audio_encoder = self.tell

    def watch(self, faces):
        return faces[..., SMALL.resolution // 2 :, :].flatten(1, 2)

    def tell(self, x):
        level = x.mean((1, 2, 3))
        turn = (level - level.mean()) / level.std() * 0.5
        return torch.stack([turn.cos(), turn.sin()], 1)


def test_a_clip_is_seen_with_the_sound_at_its_time(monkeypatch):
    """Pictures as bright as the sound is loud then: a judge that compares just that finds when they were made for."""
    monkeypatch.setattr("omnisync_core.evaluation.agreement.BATCH", 1000)
    clip = make_clip(3, size=64, seconds=3.0)
    mel_M = sync_mel(np.pad(clip.target_wave, (0, 16000))).mean(0)
    loud_T = np.array([mel_M[at : at + 4].mean() for at in (np.arange(75) * 3.2).astype(int)])
    loud_T = 255 * (loud_T - loud_T.min()) / np.ptp(loud_T)
    bright = np.broadcast_to(loud_T[:, None, None, None], clip.truth_frames.shape).astype(np.uint8)
    said, late = agreement(bright, clip, Reads()), agreement(np.roll(bright, -8, axis=0), clip, Reads())
    assert abs(said.offset) <= 1
    assert abs(late.offset - 8) <= 1
    assert said.agreement > late.agreement
    assert said.agreement > 0.95


def test_evaluate_has_a_judge_where_one_is_given(tmp_path, capsys):
    torch.manual_seed(0)
    save_file(StableSyncNet(SMALL).state_dict(), tmp_path / "stable_syncnet.safetensors")
    engine = SourceEngine()
    given = {"clips": 2, "seed": 4, "engines": lambda folder, sampling: engine, "size": 96, "seconds": 1.2,
             "prompts": False}  # fmt: skip
    with pytest.raises(CheckpointError, match="no such model file"):
        evaluate(tmp_path / "out", syncnet=tmp_path / "absent.pt", **given)
    assert not (tmp_path / "out").exists()
    evaluate(tmp_path / "out", syncnet=tmp_path / "stable_syncnet.safetensors", **given)
    rows = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["syncnet"]
    assert rows["result"] == rows["source unchanged"]
    assert len(rows["truth itself"]) == 2
    assert all(0 <= row["accuracy"] <= 1 for row in rows["truth itself"])
    assert "## SyncNet (stable_syncnet.safetensors) with the new sound" in capsys.readouterr().out
