"""Published files: read without running anything in them, and any layout is read off its keys or refused in a line."""

import os
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from omnisync_core.engines.latentsync import load_unet, read_unet, read_whisper
from omnisync_core.engines.latentsync.blocks import steady_norm
from omnisync_core.engines.latentsync.config import BlockConfig, read_config
from omnisync_core.engines.latentsync.unet import UNet
from omnisync_core.errors import CheckpointError, InputError
from tests.engines.latentsync import small


@pytest.fixture(scope="module")
def state():
    return small.unet().state_dict()


def meta(config) -> dict[str, torch.Tensor]:
    return UNet(config, device="meta").state_dict()


def same(found, expected) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in expected)


def test_both_kinds_of_file_give_the_same_unet(tmp_path, state):
    torch.save({"global_step": 3, "state_dict": state}, tmp_path / "a.pt")
    torch.save(state, tmp_path / "b.pt")
    torch.save(state, tmp_path / "c.pt", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "d.safetensors")
    for name in ("a.pt", "b.pt", "c.pt", "d.safetensors"):
        assert same(read_unet(tmp_path / name), state), name
    halves = load_unet({key: value.half() for key, value in state.items()}, dtype=torch.float16)
    assert halves.dtype == halves.conv_in.weight.dtype == torch.float16


def test_whisper_in_openais_file(tmp_path):
    whisper = small.whisper()
    names = {"embed_positions.weight": "positional_embedding", "layers.": "blocks.", "self_attn.q_proj": "attn.query",
             "self_attn.k_proj": "attn.key", "self_attn.v_proj": "attn.value", "self_attn.out_proj": "attn.out",
             "self_attn_layer_norm": "attn_ln", "fc1": "mlp.0", "fc2": "mlp.2", "final_layer_norm": "mlp_ln",
             "layer_norm.": "ln_post."}  # fmt: skip
    theirs = {}
    for key, value in whisper.state_dict().items():
        for ours, name in names.items():
            key = key.replace(ours, name)
        theirs[key] = value
    theirs["decoder.token_embedding.weight"] = torch.zeros(2, 16)
    torch.save({"dims": {"n_audio_head": 2}, "model_state_dict": theirs}, tmp_path / "tiny.pt")
    found = read_whisper(tmp_path / "tiny.pt")
    assert found.config["encoder_attention_heads"] == 2
    assert same(found.state_dict(), whisper.state_dict())


class Malice:
    def __reduce__(self):
        return os.mkdir, ("owned",)


def test_nothing_in_a_file_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Malice()}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Malice()))
    (tmp_path / "c.pt").write_bytes(b"")
    (tmp_path / "d.safetensors").write_bytes(b"no tensors")
    torch.save([1], tmp_path / "e.pt")
    torch.save({"state_dict": {}}, tmp_path / "f.pt")
    for name in ("a.pt", "b.pt", "c.pt", "d.safetensors", "e.pt", "f.pt", "absent.pt"):
        with pytest.raises(CheckpointError) as caught:
            read_unet(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("up", [0, 1])
def test_motion_modules_anywhere_or_nowhere(up):
    still = tuple(replace(layer, motion=None) for layer in small.CONFIG.up[up].layers)
    blocks = tuple(BlockConfig(still, b.sampler) if i == up else b for i, b in enumerate(small.CONFIG.up))
    config = replace(small.CONFIG, up=blocks)
    assert read_config(meta(config)) == config


def test_the_layout_is_read_off_the_keys():
    assert read_config(meta(small.CONFIG)) == small.CONFIG
    moved = replace(small.CONFIG, mid=(small.CONFIG.mid[0], small.layer(32)))
    assert read_config(meta(moved)) == moved
    assert moved.max_frames == 24
    assert moved.audio_dim == small.AUDIO


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("conv_in.weight"), "conv_in.weight"),
        (lambda state: state.pop("conv_out.bias"), "1 tensors are missing"),
        (lambda state: state.update({"conv_out.bias": torch.zeros(5)}), "shape"),
        (lambda state: [state.pop(key) for key in list(state) if key.startswith("up_blocks.1")], "expected as many"),
        (lambda state: [state.pop(key) for key in list(state) if "up_blocks.1.resnets.1" in key], "do not take in"),
        (lambda state: state.clear(), "no tensor"),
    ],
)
def test_other_networks_are_refused_in_a_line(state, change, message):
    changed = dict(state)
    change(changed)
    with pytest.raises(CheckpointError, match=message) as error:
        load_unet(changed)
    assert "\n" not in str(error.value)


def test_a_tensor_more_is_left_alone(state):
    """The official program loads its files without strictness; those of trainings hold more than the network."""
    assert same(load_unet({**state, "more": torch.zeros(1), "conv_in.ema": torch.zeros(2)}).state_dict(), state)


def test_other_groups_and_heads_are_said(state):
    with pytest.raises(CheckpointError, match="groups="):
        load_unet(state, groups=24)
    assert load_unet(state, heads=4, groups=16).config.heads == 4


@pytest.mark.parametrize("time", [7, 7.0, torch.tensor(7), torch.tensor([7]), torch.tensor([7.0, 7.0])])
def test_timesteps_in_any_form_give_the_same(state, time):
    unet, sample = load_unet(state), torch.randn(2, 13, 2, 8, 8)
    audio = torch.randn(2, 2, 50, small.AUDIO)
    assert torch.equal(unet(sample, time, audio), unet(sample, 7, audio))


def test_a_norm_of_lone_numbers_gives_its_bias():
    """Plain float32 gives their rounding error, magnified a thousand times."""
    norm, lone = torch.nn.GroupNorm(32, 32, eps=1e-6), torch.full((2, 32, 1, 1), 7.7) + torch.rand(2, 32, 1, 1)
    assert not steady_norm(norm, lone).any()
    assert norm(lone).any()


def test_inputs_that_do_not_fit_are_told():
    unet = small.unet()
    good = torch.zeros(1, 13, 2, 8, 8), 1, torch.zeros(1, 2, 50, small.AUDIO)
    with pytest.raises(InputError, match="13"):
        unet(torch.zeros(1, 4, 2, 8, 8), *good[1:])
    with pytest.raises(InputError, match="at most 24 frames"):
        unet(torch.zeros(1, 13, 25, 8, 8), 1, torch.zeros(1, 25, 50, small.AUDIO))
    with pytest.raises(InputError, match="sound"):
        unet(*good[:2], torch.zeros(1, 3, 50, small.AUDIO))
    assert unet(*good).shape == (1, 4, 2, 8, 8)
