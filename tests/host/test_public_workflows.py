"""The workflows over public weights, with tiny random files of the same names where the host can read such files.

HuMo's transformer, the Wan VAE, video and sound come from files; UMT5, Whisper and LTX-2 have sizes fixed in the host
and are stood in for by objects with the same sockets.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

FOLDER = Path(__file__).resolve().parents[2] / "workflows" / "api" / "public"
HUMO = ("real_person_with_humo_1.7b", "real_person_with_humo_17b_fp8")
LTX = ("ltx-2_own_voice", "ltx-2_audio-visual_edit")


def prompt_of(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


class Clip:
    def __init__(self, tokens, width):
        self.shape = (1, tokens, width)

    def tokenize(self, text):
        return text

    def encode_from_tokens_scheduled(self, text):
        return [[torch.randn(self.shape, generator=torch.Generator().manual_seed(len(text))), {}]]


class Whisper:
    def __init__(self, patcher):
        self.patcher, self.model = patcher, torch.nn.Linear(1, 1)
        self.model.config = {"encoder_layers": 32, "d_model": 1280}

    def encode_audio(self, audio, sample_rate):
        loud = audio[0, 0].reshape(1500, 320).abs().mean(1)[None, :, None].expand(1, 1500, 1280)
        return {"encoded_audio_all_layers": (loud,) * 33, "audio_samples": audio.shape[-1]}


def drawn(network):
    """A network's weights, random but tame."""
    generator, weights = torch.Generator().manual_seed(0), {}
    for name, weight in network.state_dict().items():
        value = (
            torch.randn(weight.shape, generator=generator) / max(1, weight[0].numel() if weight.ndim > 1 else 1) ** 0.5
        )
        weights[name] = torch.ones_like(weight) if "gamma" in name else value if weight.ndim > 1 else 0.1 * value
    return weights


def kept_as(name, value):
    """In the type that the file's name says; in fp8 files vectors stay fp16."""
    return value.to(torch.float8_e4m3fn if "fp8" in name and value.ndim > 1 else torch.float16)


@pytest.fixture(scope="module")
def files(host):
    """`video.mp4`, `sound.wav` and tiny checkpoints by their public names, in the host's own folders."""
    import comfy.ldm.wan.vae
    import comfy.ops
    from comfy.ldm.wan.model import HumoWanModel

    media = host.module("omnisync_core.media")
    models, given = host.base / "models", host.base / "input"
    for folder in ("diffusion_models", "vae", "text_encoders", "audio_encoders", "checkpoints"):
        (models / folder).mkdir(exist_ok=True)
    for name, channels in (("humo_1.7B_fp16", 16), ("humo_17B_fp8_e4m3fn", 36)):
        network = HumoWanModel(
            in_dim=channels, dim=128, ffn_dim=64, num_heads=1, num_layers=1, text_dim=4096,
            dtype=torch.float32, operations=comfy.ops.disable_weight_init,
        )  # fmt: skip
        weights = {key: kept_as(name, value) for key, value in drawn(network).items()}
        save_file(weights, models / "diffusion_models" / f"{name}.safetensors")
    save_file(
        drawn(comfy.ldm.wan.vae.WanVAE(dim=8, z_dim=16, temperal_downsample=[False, True, True])),
        models / "vae" / "wan_2.1_vae.safetensors",
    )
    shade = np.linspace(0.2, 0.8, 64)[:, None, None] + np.zeros((64, 64, 3))
    pictures = (np.float32(shade + 0.05 * np.sin(index)) for index in range(12))
    from fractions import Fraction

    media.write_pictures(given / "video.mp4", pictures, Fraction(25), "yuv420p")
    wave = np.random.default_rng(0).normal(0, 0.1, (1, 8000)).astype(np.float32)
    media.write_samples(given / "sound.wav", wave, 16000)
    host.load("nodes_video.py", "nodes_audio.py", "nodes_audio_encoder.py", "nodes_lt.py", "nodes_lt_audio.py",
              "nodes_preview_any.py")  # fmt: skip


def clicked(prompt):
    """As after a click on the mouth: the test's video shows no face that could be found."""
    (track,) = (node["inputs"] for node in prompt.values() if node["class_type"] == "OmniSyncMouthTrack")
    track |= {"speaker": "point", "point_x": 0.5, "point_y": 0.6}
    return prompt


def with_small_numbers(prompt):
    for node in prompt.values():
        small = {"steps": 2, "start": 0, "end": 1, "crop_size": 64, "preview_seconds": 0.0}
        small["window_frames"] = 17 if "LTX" in node["class_type"] else 9
        small["overlap_frames"] = 5
        node["inputs"] |= {name: value for name, value in small.items() if name in node["inputs"]}
    return prompt


@pytest.mark.parametrize("name", HUMO)
def test_humo(host, files, name):
    import comfy.model_patcher
    from safetensors import safe_open

    prompt = with_small_numbers(clicked(prompt_of(name)))
    unet = next(node["inputs"]["unet_name"] for node in prompt.values() if node["class_type"] == "UNETLoader")
    with safe_open(host.base / "models" / "diffusion_models" / unet, "pt") as file:
        kind = file.get_tensor("blocks.0.self_attn.q.weight").dtype
    assert kind == (torch.float8_e4m3fn if "fp8" in unet else torch.float16)

    cpu = torch.device("cpu")
    patcher = comfy.model_patcher.ModelPatcher(torch.nn.Linear(1, 1), load_device=cpu, offload_device=cpu)
    prompt["4"], prompt["6"] = host.give(Clip(9, 4096)), host.give(Whisper(patcher))
    result = host.run(prompt)["8"]
    assert result[0].get_frame_count() == 12
    assert "12 of 12 frames edited" in result[1]


@pytest.mark.parametrize("name", LTX)
def test_ltx(host, files, name):
    """Every node and input is known to the host; the nodes themselves are run in test_ltx.py."""
    for node in prompt_of(name).values():
        schema = host.node(node["class_type"]).INPUT_TYPES()
        known = {**schema["required"], **schema.get("optional", {})}
        assert {key.split(".")[0] for key in node["inputs"]} <= set(known)
        assert set(schema["required"]) <= {key.split(".")[0] for key in node["inputs"]}
