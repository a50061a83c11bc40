"""X-Dub through the host: its published files as MODEL and AUDIO_ENCODER, and the engine in Lip Sync Video."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.host.xdub_parts import HEARS, TEXT, WAV, WEIGHTS, listed, node, velocities, write_whisper

OPTIONS = {
    "seed": 3, "length_policy": "source", "silence_policy": "close", "preview_seconds": 0.0, "resume": True,
    "lossless": True,
}  # fmt: skip
PROMPT = "xdub_empty_prompt.safetensors"


@pytest.fixture(scope="module")
def files(host):
    """Tiny random networks under the published names, as the published files hold them."""
    sizes = host.module("omnisync_core.engines.xdub.config")
    torch.manual_seed(0)
    config = sizes.XDubConfig(40, 2, 1, 48, 48, TEXT, 32, HEARS + WAV, 16, 1, 1, 100)
    network = host.module("omnisync_core.engines.xdub").XDubDiT(config)
    state = {key: torch.randn_like(value) * 0.1 for key, value in network.state_dict().items()}
    folder = host.base / "models"
    for name in ("diffusion_models", "audio_encoders", "text_encoders", "vae", "loras"):
        (folder / name).mkdir(exist_ok=True)
    save_file(state, folder / "diffusion_models" / "X-Dub_model.safetensors")
    deaf = {key: value for key, value in state.items() if "audio" not in key and "norm4" not in key}
    save_file(deaf, folder / "diffusion_models" / "wan.safetensors")
    scaled = {key: value.to(torch.float8_e4m3fn) if value.ndim == 2 else value for key, value in state.items()}
    marked = {**scaled, "scaled_fp8": torch.zeros(0, dtype=torch.float8_e4m3fn)}
    save_file(marked, folder / "diffusion_models" / "unscaled.safetensors")
    scales = {key.replace(".weight", ".scale_weight"): torch.ones(()) for key, value in scaled.items()
              if value.dtype == torch.float8_e4m3fn}  # fmt: skip
    save_file({**marked, **scales}, folder / "diffusion_models" / "scaled.safetensors")
    (folder / "diffusion_models" / "broken.safetensors").write_bytes(b"no model")
    write_whisper(host)
    save_file({"empty_prompt": torch.linspace(-1, 1, TEXT)[None]}, folder / "text_encoders" / PROMPT)
    listed()
    return state


def wav2vec2(width=WAV, **changed):
    """The host's own encoder, small."""
    from comfy.audio_encoders.audio_encoders import AudioEncoderModel

    config = {"embed_dim": width, "num_heads": 4, "num_layers": 1, "conv_norm": False, "conv_bias": False,
              "do_normalize": False, "do_stable_layer_norm": False, **changed}  # fmt: skip
    encoder = AudioEncoderModel({"model_type": "wav2vec2", **config})
    torch.manual_seed(1)
    for parameter in encoder.model.parameters():
        parameter.data = torch.randn_like(parameter, dtype=torch.float32) * 0.05
    return encoder


class MeanColours:
    """A VAE of 16 x 16 mean colours of four pictures, so that a test is quick."""

    latent_channels, latent_dim = 48, 3

    def __init__(self):
        import comfy.model_patcher

        place = torch.device("cpu")
        self.patcher = comfy.model_patcher.ModelPatcher(torch.nn.Linear(1, 1), place, place)

    def encode(self, frames_THWC):
        video = frames_THWC.permute(3, 0, 1, 2)[None] * 2 - 1
        video = torch.cat([video[:, :, :1].expand(-1, -1, 4, -1, -1), video[:, :, 1:]], 2)
        return torch.nn.functional.avg_pool3d(video, (4, 16, 16)).repeat(1, 16, 1, 1, 1)

    def decode(self, latents):
        video = torch.nn.functional.interpolate(latents[:, :3], scale_factor=(4, 16, 16))[:, :, 3:]
        return (video / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 4, 1)


def engine_nodes(host, **changed):
    settings = {"steps": 2, "ref_cfg_scale": 2.5, "audio_cfg_scale": 10.0, "crop_size": 64, "window_frames": 9,
                "redraws": 0, **changed}  # fmt: skip
    return {
        "model": node("OmniSyncLoadXDub", **WEIGHTS),
        "vae": host.give(MeanColours()),
        "wav2vec2": host.give(wav2vec2()),
        "engine": node(
            "OmniSyncXDubEngine", model=["model", 0], vae=["vae", 0], whisper=["model", 1], wav2vec2=["wav2vec2", 0],
            **settings,
        ),
    }  # fmt: skip


def test_the_published_files_become_host_models(host, files):
    model, encoder = host.run({"model": node("OmniSyncLoadXDub", **WEIGHTS)})["model"][:2]
    network = model.model.diffusion_model
    assert all(torch.equal(value, files[key]) for key, value in network.state_dict().items())
    assert encoder.model.width == HEARS
    import comfy.ops

    assert isinstance(network.blocks[0].ffn[0], comfy.ops.disable_weight_init.Linear)


def test_the_host_gives_the_core_s_velocities(host, files):
    model = host.run({"model": node("OmniSyncLoadXDub", **WEIGHTS)})["model"][0]
    found, given, latents = velocities(host, model)
    network = host.module("omnisync_core.engines.xdub").load_dit(files)
    for row, branch in enumerate(("none", "ref", "full")):
        with torch.inference_mode():
            expected = network(
                latents, torch.tensor([600.0]), ref_latents=given.reference(branch), context=given.context,
                audio_feats=given.sound(branch), motion_frames=1,
            )  # fmt: skip
        assert (found[row : row + 1] - expected).abs().max() < 1e-4 * expected.square().mean().sqrt(), branch


def test_fp8_and_lora(host, files):
    """Weights in fp8 compute in float32 here, positions keep theirs, and a LoRA changes what is predicted."""
    import comfy.sd

    whole = host.run({"m": node("OmniSyncLoadXDub", **WEIGHTS)})["m"][0]
    rough = host.run({"m": node("OmniSyncLoadXDub", **{**WEIGHTS, "weight_dtype": "fp8_e4m3fn"})})["m"][0]
    network = rough.model.diffusion_model
    assert network.blocks[0].ffn[0].weight.dtype == torch.float8_e4m3fn
    assert network.audio_embedding.layers[0].pos_embed.pe.dtype == torch.float32
    lora = {"diffusion_model.head.head.lora_A.weight": torch.randn(2, 40),
            "diffusion_model.head.head.lora_B.weight": torch.randn(192, 2)}  # fmt: skip
    patched = comfy.sd.load_lora_for_models(whole, None, lora, 1.0, 0)[0]
    assert patched.patches
    exact, near, changed = (velocities(host, each)[0] for each in (whole, rough, patched))
    assert 0 < (near - exact).abs().max() < exact.abs().max()
    assert (changed - exact).abs().max() > 1e-3
    assert torch.equal(velocities(host, whole)[0], exact)


def test_a_file_of_scaled_fp8(host, files):
    whole = host.run({"m": node("OmniSyncLoadXDub", **WEIGHTS)})["m"][0]
    scaled = host.run({"m": node("OmniSyncLoadXDub", **{**WEIGHTS, "model_name": "scaled.safetensors"})})["m"][0]
    exact, near = (velocities(host, each)[0] for each in (whole, scaled))
    assert 0 < (near - exact).abs().max() < 0.5 * exact.abs().max()


@pytest.mark.parametrize(
    ("name", "message"),
    [("wan.safetensors", "hears nothing"), ("unscaled.safetensors", "holds no scales"),
     ("broken.safetensors", "damaged"), ("nowhere.safetensors", "not in list")],
)  # fmt: skip
def test_files_of_another_kind_are_told(host, files, name, message):
    with pytest.raises(Exception, match=message):
        host.run({"model": node("OmniSyncLoadXDub", **{**WEIGHTS, "model_name": name})})


@pytest.mark.parametrize(
    ("width", "mels", "message"), [(48, 80, "got Whisper 48 of 80 mels"), (HEARS, 128, "of 128 mels")],
    ids=["tiny", "large-v3"],
)  # fmt: skip
def test_another_whisper_is_told(host, files, width, mels, message):
    whisper = host.module("omnisync_core.models.whisper").WhisperEncoder(
        {"d_model": width, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 16,
         "num_mel_bins": mels, "max_source_positions": 1500}
    )  # fmt: skip
    published = {"dims": {"n_audio_head": 2}, "model_state_dict": whisper.state_dict()}
    torch.save(published, host.base / "models" / "audio_encoders" / f"whisper_{width}_{mels}.pt")
    listed()
    prompt = engine_nodes(host)
    prompt["model"]["inputs"]["whisper_name"] = f"whisper_{width}_{mels}.pt"
    with pytest.raises(Exception, match=message) as caught:
        host.run(prompt)
    assert "load large-v2.pt" in str(caught.value)


def test_lip_sync_video_through_the_engine(host, files):
    pictures = torch.linspace(0.2, 0.8, 96)[:, None, None] * torch.ones(9, 1, 128, 3)
    host.edit_the_mouth(engine_nodes(host), host.clip(pictures, 30), **OPTIONS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"vae": "wide"}, "Wan 2.2"),
        ({"wav2vec2": "other"}, "no wav2vec2"),
        ({"wav2vec2": "large"}, "normalises by itself"),
        ({"wav2vec2": "narrow"}, r"large-v2\.pt"),
        ({"model": "ours"}, "not X-Dub's transformer"),
    ],
    ids=["vae", "no encoder", "large", "narrow", "model"],
)
def test_models_of_another_kind_are_told(host, files, changed, message):
    prompt = engine_nodes(host)
    if changed.get("vae"):
        narrow = MeanColours()
        narrow.latent_channels = 16
        prompt["vae"] = host.give(narrow)
    kinds = {"other": lambda: object(), "large": lambda: wav2vec2(do_normalize=True), "narrow": lambda: wav2vec2(32)}
    if "wav2vec2" in changed:
        prompt["wav2vec2"] = host.give(kinds[changed["wav2vec2"]]())
    if "model" in changed:
        prompt["ours"] = node("OmniSyncLoadModel", model_name="omnisync_mini (bundled)", weight_dtype="default")
        prompt["engine"]["inputs"]["model"] = ["ours", 0]
    with pytest.raises(Exception, match=message):
        host.run(prompt)


def test_the_sound_is_normalised_and_heard_by_the_host_s_encoder(host, files):
    handle = host.run(engine_nodes(host))["engine"][0]
    heard = handle.open().speech(host.module("omnisync_core.audio").ArrayWave(np.float32(0.001) * np.sin(
        np.arange(16000, dtype=np.float32) / 9))).at(np.arange(9) / 30)  # fmt: skip
    assert heard.shape == (12, 2, HEARS + WAV)
    assert np.isfinite(heard).all()
    loud = handle.open().speech(host.module("omnisync_core.audio").ArrayWave(np.float32(0.1) * np.sin(
        np.arange(16000, dtype=np.float32) / 9))).at(np.arange(9) / 30)  # fmt: skip
    assert np.abs(loud[..., HEARS:] - heard[..., HEARS:]).max() < 0.02 * np.abs(loud[..., HEARS:]).max()


def test_the_host_s_own_loader_makes_a_model_that_is_refused(host, files):
    """It takes the file for a Wan that hears nothing, and drops what hears; so do loaders that hand it their own layers
    and tensors, as ComfyUI-GGUF's does."""
    import comfy.sd

    sizes, xdub = host.module("omnisync_core.engines.xdub.config"), host.module("omnisync_core.engines.xdub")
    state = xdub.XDubDiT(sizes.XDubConfig(128, 1, 1, 48, 48, 4096, 256, HEARS + WAV, 16, 1, 1, 100)).state_dict()
    assert any("audio" in key for key in state)
    model = comfy.sd.load_diffusion_model_state_dict(state, {"custom_operations": comfy.ops.manual_cast})
    assert not any("audio" in key for key in model.model.diffusion_model.state_dict())
    prompt = {**engine_nodes(host), "model": host.give(model, None)}
    with pytest.raises(Exception, match="hears nothing, even of X-Dub's file, not X-Dub's transformer; connect Load"):
        host.run(prompt)


def test_omnisync_engine_says_that_it_was_given_x_dub(host, files):
    prompt = {
        "model": node("OmniSyncLoadXDub", **WEIGHTS),
        "ours": node("OmniSyncLoadModel", model_name="omnisync_mini (bundled)", weight_dtype="default"),
        "engine": node(
            "OmniSyncEngine", model=["model", 0], vae=["ours", 1], clip=["ours", 2], audio_encoder=["ours", 3],
            text="A person speaks.", steps=0, tau=0.0, w_peak=2.0, w_base=1.0, gamma=1.5, sigma_g=0.7,
            convention="own",
        ),
    }  # fmt: skip
    with pytest.raises(Exception, match="one for X-Dub Engine, not a transformer of OmniSync; connect") as caught:
        host.run(prompt)
    assert "\n" not in str(caught.value).strip()


def test_it_compiles_and_is_rebuilt_for_another_device(host, files):
    import comfy.ldm.modules.attention as attention
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    model = host.run({"m": node("OmniSyncLoadXDub", **WEIGHTS)})["m"][0]
    build, arguments = model.cached_patcher_init
    again = build(*arguments, disable_dynamic=True)
    assert all(torch.equal(value, files[key]) for key, value in again.model.diffusion_model.state_dict().items())
    compiled = model.clone()  # the host's own attention asks for free memory, which no graph can hold
    compiled.model_options["transformer_options"]["optimized_attention_override"] = (
        lambda usual, *given, **more: attention.attention_pytorch(*given, **more)
    )  # fmt: skip
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    set_torch_compile_wrapper(compiled, backend="eager", fullgraph=True)
    torch.testing.assert_close(velocities(host, compiled)[0], velocities(host, model)[0], atol=1e-3, rtol=0)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 1
    torch._dynamo.reset()


def test_a_sampler_is_refused(host, files):
    model = host.run({"model": node("OmniSyncLoadXDub", **WEIGHTS)})["model"][0]
    with pytest.raises(Exception, match="X-Dub Engine"):
        model.model.extra_conds()


class Clip:
    def tokenize(self, text):
        assert text == ""
        return text

    def encode_from_tokens_scheduled(self, tokens):
        text = torch.zeros(1, 512, TEXT)
        text[0, 0] = 0.5
        return [[text, {}]]


def test_the_empty_prompt_is_made_once_and_kept(host, files):
    kept = host.base / "models" / "text_encoders" / PROMPT
    before = kept.read_bytes()
    try:
        kept.unlink()
        listed()
        with pytest.raises(Exception, match="connect Load CLIP"):
            host.run(engine_nodes(host))
        prompt = {**engine_nodes(host), "clip": host.give(Clip())}
        prompt["engine"]["inputs"]["clip"] = ["clip", 0]
        host.run(prompt)["engine"][0].open()
        listed()
        row = host.module("omnisync_core.engines.xdub.weights").read_prompt(kept)
        assert torch.equal(row, torch.full((1, TEXT), 0.5))
        host.run(engine_nodes(host))["engine"][0].open()
    finally:
        kept.write_bytes(before)
        listed()
