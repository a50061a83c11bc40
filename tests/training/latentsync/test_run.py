"""LatentSync's trainings from a TOML file to a file that the engine loads, at the smallest size."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from omnisync_core.engines.latentsync import load_unet, read_unet
from omnisync_core.errors import InputError
from omnisync_core.training import loop
from omnisync_core.training.latentsync import run
from omnisync_core.training.latentsync.run import LatentSyncOptions, read_options
from omnisync_core.training.latentsync.syncnet import load_syncnet
from tests.engines.latentsync import small
from tests.training.latentsync import known
from tests.training.latentsync.footage import write_footage
from tests.training.latentsync.test_faces import Mean


@pytest.fixture
def clips(tmp_path, monkeypatch) -> Path:
    """Two clips; SyncNet, VAE and judges as small as they come."""
    (tmp_path / "clips").mkdir()
    write_footage(tmp_path / "clips" / "a.mp4")
    write_footage(tmp_path / "clips" / "b.mp4", frames=16)
    monkeypatch.setitem(run.LAYOUTS, "pixel", known.SYNCNET)
    monkeypatch.setattr(run, "read_picture_vae", lambda path: None)
    monkeypatch.setattr(run, "Codec", lambda vae: Mean())
    monkeypatch.setattr(run, "load_perceptual", lambda *paths: Far())
    monkeypatch.setattr(run, "load_videomae", lambda path: Pooled())
    monkeypatch.setattr(run, "read_whisper", lambda path: small.whisper())
    return tmp_path / "clips"


class Far(torch.nn.Module):
    def forward(self, one, other):
        return (one - other).abs().mean((1, 2, 3))


class Pooled(torch.nn.Module):
    def forward(self, video):
        return F.avg_pool3d(video, (2, 56, 56)).flatten(1)


def trained(work: Path, clips: Path, **more) -> Path:
    table = {"clips": str(clips), "steps": 2, "batch": 2, "resolution": 64, "layout": "pixel", **more}
    rows = [f"{name} = {value!r}" for name, value in table.items()]
    path = work.parent / "config.toml"
    path.write_text("\n".join([f"out = '{work}'", "seed = 3", "[latentsync]", *rows]))
    return loop.train(path)


def test_syncnet_then_stage_2(tmp_path, clips, capsys):
    syncnet = trained(tmp_path / "sync", clips, stage="syncnet", unseen=str(clips))
    assert syncnet.name == "stable_syncnet.safetensors"
    assert "unseen: loss" in capsys.readouterr().out
    final = load_syncnet(syncnet, known.SYNCNET)
    assert not final.training
    kept = load_syncnet(tmp_path / "sync" / "latentsync_syncnet.pt", known.SYNCNET).state_dict()
    assert all(torch.equal(kept[key], value) for key, value in final.state_dict().items())
    before = small.unet().state_dict()
    torch.save({"global_step": 1, "state_dict": before}, tmp_path / "unet.pt")
    files = {"unet": str(tmp_path / "unet.pt"), "whisper": "w", "vae": "v", "vgg": "g", "lpips": "l", "videomae": "m"}
    path = trained(tmp_path / "two", clips, stage="2", syncnet=str(syncnet), lr=1e-3, **files)
    after = read_unet(path)
    load_unet(after)
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    assert changed
    assert all("motion_modules." in key or "attentions." in key for key in changed)
    assert [key for key in changed if "motion_modules." in key]
    assert [key for key in changed if "attn2." in key]
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [
        "heard", "latentsync_2.jsonl", "latentsync_2.pt", "latentsync_unet.safetensors",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "table, reason",
    [({"stage": "3"}, "latentsync.stage must be one of syncnet, 1, 2, 2_efficient, got '3'"),
     ({"stage": "syncnet", "layout": "wide"}, "latentsync.layout must be one of pixel_attention"),
     ({"stage": "1"}, "stage 1 needs the paths latentsync.unet, latentsync.whisper, latentsync.vae"),
     ({"stage": "syncnet", "resolution": 100}, "multiple of 8 from 48 on, got 100"),
     ({"stage": "syncnet", "rate": 1}, r"unknown \['rate'\]")],
)  # fmt: skip
def test_a_wrong_table_is_one_line(table, reason):
    with pytest.raises(InputError, match=reason) as error:
        read_options({"clips": "clips", "steps": 1, **table})
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"lacks \['steps'\]"):
        read_options({"stage": 1, "clips": "clips"})


def test_a_stage_needs_the_files_of_its_judges():
    asked = dict.fromkeys(("unet", "whisper", "vae", "syncnet", "vgg", "lpips", "videomae"), "x")
    needed = {
        stage: LatentSyncOptions(stage, "clips", 1, **asked).needed for stage in ("syncnet", "1", "2", "2_efficient")
    }
    assert needed == {
        "syncnet": (), "1": ("unet", "whisper", "vae"), "2": tuple(asked),
        "2_efficient": ("unet", "whisper", "vae", "syncnet", "vgg", "lpips"),
    }  # fmt: skip
    assert LatentSyncOptions("syncnet", "clips", 1, vae="x", layout="latent").needed == ("vae",)
