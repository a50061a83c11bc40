"""Stable Diffusion's autoencoder: files in either naming, whole or bare; anything else is one line."""

import re

import pytest
import torch
from safetensors.torch import save_file

from omnisync_core.errors import CheckpointError
from omnisync_core.models.picture_vae import PictureVAE, read_picture_vae

THEIRS = (
    (r"mid\.block_(\d)", lambda m: f"mid_block.resnets.{int(m[1]) - 1}"),
    (r"mid\.attn_1\.norm", "mid_block.attentions.0.group_norm"),
    (r"mid\.attn_1\.(q|k|v)\.", r"mid_block.attentions.0.to_\1."),
    (r"mid\.attn_1\.proj_out", "mid_block.attentions.0.to_out.0"),
    (r"encoder\.down\.(\d)\.block", r"encoder.down_blocks.\1.resnets"),
    (r"encoder\.down\.(\d)\.downsample", r"encoder.down_blocks.\1.downsamplers.0"),
    (r"decoder\.up\.(\d)\.block", lambda m: f"decoder.up_blocks.{3 - int(m[1])}.resnets"),
    (r"decoder\.up\.(\d)\.upsample", lambda m: f"decoder.up_blocks.{3 - int(m[1])}.upsamplers.0"),
    (r"nin_shortcut", "conv_shortcut"), (r"norm_out", "conv_norm_out"),
)  # fmt: skip


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return PictureVAE(32, (1, 2, 2, 2), 1).eval()


def diffusers(state):
    renamed = {}
    for name, value in state.items():
        for ours, theirs in THEIRS:
            name = re.sub(ours, theirs, name)
        renamed[name] = value[..., 0, 0] if "attentions" in name and value.ndim == 4 else value
    return renamed


def test_pictures_become_latents_an_eighth_as_large_and_come_back(vae):
    with torch.inference_mode():
        latents = vae.encode(torch.rand(2, 3, 64, 32) * 2 - 1)
        assert latents.shape == (2, 4, 8, 4)
        assert vae.decode(latents).shape == (2, 3, 64, 32)


def test_every_naming_gives_the_same_network(vae, tmp_path):
    state = {name: value.clone().contiguous() for name, value in vae.state_dict().items()}
    save_file(state, tmp_path / "ours.safetensors")
    save_file({name: value.contiguous() for name, value in diffusers(state).items()}, tmp_path / "theirs.safetensors")
    whole = {f"first_stage_model.{name}": value.half() for name, value in state.items()}
    torch.save({"state_dict": {**whole, "model.diffusion_model.x": torch.zeros(1)}}, tmp_path / "whole.ckpt")
    picture = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        wanted = vae.encode(picture)
        for name, near in (("ours.safetensors", 1e-6), ("theirs.safetensors", 1e-6), ("whole.ckpt", 2e-2)):
            found = read_picture_vae(tmp_path / name)
            torch.testing.assert_close(found.encode(picture), wanted, atol=near, rtol=0)


@pytest.mark.parametrize("spoil", [lambda state: state.clear(), lambda state: state.pop("decoder.conv_out.weight"),
                                   lambda state: state.update({"encoder.conv_in.weight": torch.zeros(7)})])  # fmt: skip
def test_other_files_are_one_line(vae, tmp_path, spoil):
    state = {"x": torch.zeros(1), **{name: value.clone().contiguous() for name, value in vae.state_dict().items()}}
    spoil(state)
    save_file(state or {"x": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="sd-vae-ft-mse") as caught:
        read_picture_vae(tmp_path / "a.safetensors")
    assert "\n" not in str(caught.value)
