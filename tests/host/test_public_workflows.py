"""The workflows over public weights run as they are shipped, not a number changed, on a clip of five frames.

Every file lies tiny and random under its published name, in its folder, and is read by the node that reads it at home
(`public_files.py`). X-Dub's template has a test of its own.
"""

import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from safetensors import safe_open

from tests.host import public_files, public_ltx

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "workflows" / "api" / "public"
FRAMES, FPS, RATE = 5, 25, 16000


def prompt_of(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def write_clip(path: Path) -> None:
    """The first frames of the bundled drawn clip, whose mouth is found without a click, and their sound."""
    with av.open(str(ROOT / "omnisync_core" / "assets" / "demo" / "source.mp4")) as source:
        frames = [frame for frame, _ in zip(source.decode(video=0), range(FRAMES), strict=False)]
    wave = np.random.default_rng(1).normal(0, 0.1, (1, RATE * FRAMES // FPS)).astype(np.float32)
    with av.open(str(path), "w") as output:
        video, sound = output.add_stream("libx264", rate=FPS), output.add_stream("aac", rate=RATE, layout="mono")
        video.width, video.height, video.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
        for frame in frames:
            frame.pts = None
            output.mux(video.encode(frame))
        heard = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
        heard.sample_rate = RATE
        output.mux([*video.encode(None), *sound.encode(heard), *sound.encode(None)])


@pytest.fixture(scope="module")
def clip(host):
    """`video.mp4` and `sound.wav`, as the templates name them, and the host's own nodes."""
    write_clip(host.base / "input" / "video.mp4")
    wave = np.random.default_rng(0).normal(0, 0.1, (1, 8000)).astype(np.float32)
    host.module("omnisync_core.media").write_samples(host.base / "input" / "sound.wav", wave, RATE)
    host.load("nodes_video.py", "nodes_audio.py", "nodes_audio_encoder.py", "nodes_lt.py", "nodes_lt_audio.py",
              "nodes_preview_any.py")  # fmt: skip


@pytest.fixture(scope="module")
def small(host, clip):
    """The models' folder, while the host's tables have fewer channels; nothing of them stays in its cache."""
    with public_files.fewer():
        yield host.base / "models"
    host.forget()


@pytest.fixture(scope="module")
def humo_files(small):
    public_files.write_humo(small)
    public_files.write_umt5(small)
    public_files.write_whisper_large_v3(small)
    return small


@pytest.fixture(scope="module")
def gemma(small):
    public_ltx.write_gemma(small)


def kinds(prompt: dict) -> dict[str, str]:
    return {node["class_type"]: key for key, node in prompt.items()}


def run(host, prompt: dict) -> dict:
    import folder_paths

    folder_paths.filename_list_cache.clear()  # files were written since
    return host.run(prompt)


def is_synced(done: dict, prompt: dict) -> None:
    """All frames edited, the mouth found without a click and shown."""
    by_kind = kinds(prompt)
    result, report = done[by_kind["OmniSyncLipSyncVideo"]][:2]
    assert result.get_frame_count() == FRAMES
    assert f"{FRAMES} of {FRAMES} frames edited" in report
    assert "where the mouth is: looked for" in report
    _, sheet, mask = done[by_kind["OmniSyncMouthTrack"]][:3]
    assert sheet.shape[0] == 1
    assert 0 < float(mask.max()) <= 1
    pictures = result.get_components().images
    assert pictures.isfinite().all()


@pytest.mark.parametrize("name", ["real_person_with_humo_1.7b", "real_person_with_humo_17b_fp8"])
def test_humo(host, humo_files, name):
    prompt = prompt_of(name)
    by_kind = kinds(prompt)
    unet = prompt[by_kind["UNETLoader"]]["inputs"]["unet_name"]
    with safe_open(humo_files / "diffusion_models" / unet, "pt") as file:
        kind = file.get_tensor("blocks.0.self_attn.q.weight").dtype
    assert kind == (torch.float8_e4m3fn if "fp8" in unet else torch.float16)
    done = run(host, prompt)
    is_synced(done, prompt)
    text = done[by_kind["CLIPLoader"]][0].cond_stage_model.umt5xxl.transformer
    assert len(text.encoder.block) == 24
    assert type(text.encoder.block[0].layer[1].DenseReluDense.wi_0.weight).__name__ == "QuantizedTensor"
    heard = done[by_kind["AudioEncoderLoader"]][0].model
    assert len(heard.encoder.layers) == 32


@pytest.fixture
def humo_lora(host, humo_files):
    """Gone again after: other workflows name LoRAs of their own, and a host that knows none takes any name."""
    yield public_files.write_humo_lora(humo_files, host.module)
    (humo_files / "loras" / "humo_lora.safetensors").unlink()


def test_a_speaker_s_lora_on_humo(host, humo_lora):
    """Every layer of the file is added to HuMo's own MODEL; what that computes: `test_speaker_lora.py`."""
    prompt = prompt_of("speaker_lora_on_humo_1.7b")
    done = run(host, prompt)
    is_synced(done, prompt)
    assert len(done[kinds(prompt)["LoraLoaderModelOnly"]][0].patches) == len(humo_lora) > 0


@pytest.mark.parametrize("name", ["ltx-2_own_voice", "ltx-2_audio-visual_edit"])
def test_ltx(host, small, gemma, name):
    public_ltx.write_ltx(small)
    prompt = prompt_of(name)
    by_kind = kinds(prompt)
    done = run(host, prompt)
    network = done[by_kind["CheckpointLoaderSimple"]][0].model.diffusion_model
    assert type(network.transformer_blocks[0].attn1.to_q.weight).__name__ == "QuantizedTensor"
    text = done[by_kind["LTXAVTextEncoderLoader"]][0].cond_stage_model.gemma3_12b.transformer
    assert len(text.model.layers) == 48
    if "OmniSyncLipSyncVideo" in by_kind:
        is_synced(done, prompt)
        return
    edited = done[by_kind["OmniSyncLTXEdit"]][0].get_components()
    assert len(edited.images) == FRAMES
    assert edited.images.isfinite().all()
    assert edited.audio["waveform"].isfinite().all()


SMALL = {"crop_size": 64, "crop_scale": 4.5, "window_frames": 17, "overlap_frames": 9, "noise_mode": "estimated"}


def test_ltx_2_3(host, small, gemma):
    """The template over the newer checkpoint, with the settings that its note names."""
    name = "ltx-2.3-22b-dev-fp8"
    public_ltx.write_ltx(small, name, public_ltx.LTX_2_3)
    prompt = prompt_of("ltx-2_own_voice")
    for node in prompt.values():
        node["inputs"] |= {"ckpt_name": f"{name}.safetensors"} if "ckpt_name" in node["inputs"] else {}
    prompt[kinds(prompt)["OmniSyncLTXEngine"]]["inputs"] |= {"steps": 30, "start": 9}
    is_synced(run(host, prompt), prompt)


def test_ltx_2_5(host, small):
    """In parts, by the host's own loaders and as the help page says; a smaller crop."""
    public_ltx.write_ltx_2_5(small)
    prompt = prompt_of("ltx-2_own_voice")
    by_kind = kinds(prompt)
    for kind in ("CheckpointLoaderSimple", "LTXAVTextEncoderLoader", "LTXVAudioVAELoader"):
        del prompt[by_kind[kind]]
    files = {
        "model": ("UNETLoader", {"unet_name": "ltx-2.5-22b-distilled-transformer-comfy-int8-convrot.safetensors",
                                 "weight_dtype": "default"}),
        "clip": ("CLIPLoader", {"clip_name": "gemma4-12b-with-proj-ltx-2.5-comfy-int8-convrot.safetensors",
                                "type": "ltxv", "device": "default"}),
        "vae": ("VAELoader", {"vae_name": "ltx-2.5-video-vae-bf16.safetensors"}),
        "audio_vae": ("VAELoader", {"vae_name": "ltx-2.5-audio-vae-bf16.safetensors"}),
    }  # fmt: skip
    prompt |= {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in files.items()}
    engine = prompt[by_kind["OmniSyncLTXEngine"]]["inputs"]
    engine |= SMALL | {"steps": 8, "start": 2, "end": 8, "cfg": 1.0} | {name: [name, 0] for name in files}
    done = run(host, prompt)
    is_synced(done, prompt)
    assert type(done["vae"][0].first_stage_model).__name__ == "CausalDiffusionVAE"
    assert done["clip"][0].cond_stage_model.text_encoder_key == "gemma4"


def test_latentsync(host, small):
    public_files.write_latentsync(small, host.module)
    prompt = prompt_of("real_person_with_latentsync")
    done = run(host, prompt)
    is_synced(done, prompt)
    vae = done[kinds(prompt)["VAELoader"]][0]
    assert vae.latent_channels == 4
    assert type(vae.first_stage_model).__name__ == "AutoencoderKL"
