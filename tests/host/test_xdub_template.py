"""The template *Real person with X-Dub* as it is shipped, over tiny random files of the published names and layouts.

All files are read by the nodes that read them at home. The host fixes the sizes of its Wan 2.2 VAE and of wav2vec2:
here it builds the same two networks smaller. Nothing in the template is changed: 90 evaluations of 10,240 tokens, a
window of 77 frames at 512 pixels, which the clip's nine fill back and forth. In fp8 the loader's widget says so.
"""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.host import gguf_packs

TEMPLATE = Path(__file__).resolve().parents[2] / "workflows" / "api" / "public" / "real_person_with_x-dub.json"
HEARS, WAV, TEXT, FRAMES = 16, 768, 32, 9
FOLDERS = ("diffusion_models", "audio_encoders", "text_encoders", "vae")


def random(network, spread: float) -> dict:
    """A network's weights, random; norms stay near one."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, value in network.state_dict().items():
        drawn = torch.randn(value.shape, generator=generator)
        wide = max(1, value[0].numel()) ** 0.5 if value.ndim > 1 else 10.0
        state[key] = (1 + 0.1 * drawn if "gamma" in key or "norm" in key else spread * drawn / wide).contiguous()
    return state


@pytest.fixture
def smaller(monkeypatch):
    """The host's two networks of fixed size, with fewer channels and layers.

    And the attention that it takes on a graphics card: that of its `--cpu` needs eight times as long for these tokens.
    """
    import comfy.audio_encoders.audio_encoders as encoders
    import comfy.ldm.modules.attention as attention
    import comfy.ldm.wan.vae2_2 as vae

    monkeypatch.setattr(attention, "optimized_attention", attention.attention_pytorch)

    video, sound = vae.WanVAE, encoders.AudioEncoderModel
    monkeypatch.setattr(vae, "WanVAE", lambda **sizes: video(**{**sizes, "dim": 4, "dec_dim": 4}))
    monkeypatch.setattr(encoders, "AudioEncoderModel", lambda config: sound({**config, "num_layers": 1}))


@pytest.fixture
def files(host, smaller):
    import comfy.audio_encoders.audio_encoders as encoders
    import comfy.ldm.wan.vae2_2 as vae
    import folder_paths

    xdub, media = host.module("omnisync_core.engines.xdub"), host.module("omnisync_core.media")
    sizes = host.module("omnisync_core.engines.xdub.config")
    models = {name: host.base / "models" / name for name in FOLDERS}
    for folder in models.values():
        folder.mkdir(exist_ok=True)
    config = sizes.XDubConfig(16, 1, 1, 32, 48, TEXT, 32, HEARS + WAV, 16, 1, 1, 100)
    state = random(xdub.XDubDiT(config), 1.0)
    save_file(state, models["diffusion_models"] / "X-Dub_model.safetensors")
    whisper = host.module("omnisync_core.models.whisper").WhisperEncoder(
        {"d_model": HEARS, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 16,
         "num_mel_bins": 80, "max_source_positions": 1500}
    )  # fmt: skip
    torch.save({"dims": {"n_audio_head": 2}, "model_state_dict": whisper.state_dict()},
               models["audio_encoders"] / "large-v2.pt")  # fmt: skip
    wan = vae.WanVAE(z_dim=48, temperal_downsample=[False, True, True])
    save_file(random(wan, 0.3), models["vae"] / "Wan2.2_VAE.safetensors")
    base = {"model_type": "wav2vec2", "embed_dim": WAV, "num_heads": 12, "conv_norm": False, "conv_bias": False,
            "do_normalize": False, "do_stable_layer_norm": False}  # fmt: skip
    published = {f"wav2vec2.{key}": value for key, value in random(encoders.AudioEncoderModel(base).model, 1.0).items()}
    save_file(published, models["audio_encoders"] / "wav2vec2-base-960h.safetensors")
    row = {"empty_prompt": torch.linspace(-1, 1, TEXT)[None]}
    save_file(row, models["text_encoders"] / "xdub_empty_prompt.safetensors")
    shade = np.linspace(0.2, 0.8, 96)[:, None, None] + np.zeros((96, 128, 3))
    pictures = (np.float32(shade + 0.05 * np.sin(index)) for index in range(FRAMES))
    media.write_pictures(host.base / "input" / "video.mp4", pictures, Fraction(25), "yuv420p")
    wave = np.random.default_rng(0).normal(0, 0.1, (1, 8000)).astype(np.float32)
    media.write_samples(host.base / "input" / "sound.wav", wave, 16000)
    host.load("nodes_video.py", "nodes_audio.py", "nodes_audio_encoder.py", "nodes_preview_any.py")
    folder_paths.filename_list_cache.clear()
    return state


@pytest.mark.parametrize("weight_dtype", ["default", "fp8_e4m3fn"])
def test_the_template(host, files, weight_dtype):
    prompt, kinds = the_prompt(weight_dtype=weight_dtype)
    done = host.run(prompt)
    network = done[kinds["OmniSyncLoadXDub"]][0].model.diffusion_model
    assert (network.blocks[0].ffn[0].weight.dtype == torch.float8_e4m3fn) == (weight_dtype != "default")
    check(host, done, kinds)


def test_the_template_with_a_gguf_file(host, files, monkeypatch):
    """With ComfyUI-GGUF, or its stand-in where that is not at hand."""
    import nodes

    pack = gguf_packs.Real() if gguf_packs.Real.is_there() else gguf_packs.StandIn()
    monkeypatch.setattr(nodes, "NODE_CLASS_MAPPINGS", dict(nodes.NODE_CLASS_MAPPINGS))
    pack.load(host)
    pack.write(host.base / "models" / "diffusion_models" / "X-Dub-Q8_0.gguf", files)
    prompt, kinds = the_prompt(model_name="X-Dub-Q8_0.gguf")
    done = host.run(prompt)
    network = done[kinds["OmniSyncLoadXDub"]][0].model.diffusion_model
    assert network.blocks[0].ffn[2].weight.dtype == torch.uint8
    check(host, done, kinds)


def the_prompt(**loaded) -> tuple[dict, dict]:
    """The template with a loader's inputs changed, and its nodes by kind."""
    prompt = json.loads(TEMPLATE.read_text(encoding="utf-8"))
    kinds = {entry["class_type"]: key for key, entry in prompt.items()}
    prompt[kinds["OmniSyncLoadXDub"]]["inputs"].update(loaded)
    return prompt, kinds


def check(host, done, kinds):
    vae = done[kinds["VAELoader"]][0]
    assert type(vae.first_stage_model).__module__ == "comfy.ldm.wan.vae2_2"
    assert vae.latent_channels == 48
    engine = done[kinds["OmniSyncXDubEngine"]][0]
    assert engine.settings == host.module("omnisync_core.engines.xdub.engine").Settings()
    result, report = done[kinds["OmniSyncLipSyncVideo"]][:2]
    assert result.get_frame_count() == FRAMES
    assert f"of {FRAMES} frames edited" in report
    assert "where the mouth is: your point or mask" in report
