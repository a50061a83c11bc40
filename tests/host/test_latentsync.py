"""LatentSync through the host: its published files as MODEL and AUDIO_ENCODER, and the engine in Lip Sync Video."""

import pytest
import torch
from safetensors.torch import save_file

WEIGHTS = {"unet_name": "latentsync_unet.pt", "whisper_name": "tiny.pt", "resolution": "256", "weight_dtype": "float32"}
OPTIONS = {
    "seed": 3, "length_policy": "source", "silence_policy": "close", "preview_seconds": 0.0, "resume": True,
    "lossless": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def files(host):
    """Tiny random networks under the published names, as the published files hold them, and a tiny VAE."""
    small = sizes(host)
    torch.manual_seed(0)
    network = host.module("omnisync_core.engines.latentsync").UNet(small)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    folder = host.base / "models"
    for name in ("diffusion_models", "audio_encoders", "vae", "loras"):
        (folder / name).mkdir(exist_ok=True)
    torch.save({"global_step": 7, "state_dict": state}, folder / "diffusion_models" / "latentsync_unet.pt")
    save_file(state, folder / "diffusion_models" / "latentsync_unet.safetensors")
    whisper = host.module("omnisync_core.models.whisper").WhisperEncoder(
        {"d_model": 16, "encoder_layers": 4, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "num_mel_bins": 80,
         "max_source_positions": 1500}
    )  # fmt: skip
    dims = {"n_audio_head": 2, "n_audio_layer": 4}
    torch.save({"dims": dims, "model_state_dict": whisper.state_dict()}, folder / "audio_encoders" / "tiny.pt")
    from comfy.taesd.taesd import TAESD

    # The host leaves weights unset.
    shapes = {key: value.shape for key, value in TAESD(latent_channels=4).state_dict().items()}
    codec = {key: torch.randn(shape) * 0.05 if len(shape) > 1 else torch.zeros(shape) for key, shape in shapes.items()}
    save_file({**codec, "vae_scale": torch.tensor(1.0)}, folder / "vae" / "sd.safetensors")
    import folder_paths

    folder_paths.filename_list_cache.clear()
    return state


def sizes(host):
    """A UNet with one layer a block that hears 16 numbers a state."""
    sizes = host.module("omnisync_core.engines.latentsync.config")

    def layer(inputs, attends=True, moves=True):
        attention = sizes.AttentionConfig(1, 32, 16, linear=False) if attends else None
        return sizes.LayerConfig(inputs, 32, attention, sizes.MotionConfig(1, 2, 32, 24) if moves else None)

    down = (sizes.BlockConfig((layer(32, False),), True), sizes.BlockConfig((layer(32, False),), False))
    up = (
        sizes.BlockConfig((layer(64, False), layer(64, False)), True),
        sizes.BlockConfig((layer(64, False), layer(64, False)), False),
    )
    mid = (layer(32, False, False), layer(32, True, False))
    return sizes.UNetConfig(13, 4, 32, 128, down, mid, up)


def node(name, **inputs):
    return {"class_type": name, "inputs": inputs}


OURS = node("OmniSyncLoadModel", model_name="omnisync_mini (bundled)", weight_dtype="default")


def engine_nodes(**changed):
    settings = {"steps": 2, "cfg": 1.5, "reuse": 1, **changed}
    return {
        "model": node("OmniSyncLoadLatentSync", **WEIGHTS),
        "vae": node("VAELoader", vae_name="sd.safetensors"),
        "engine": node(
            "OmniSyncLatentSyncEngine", model=["model", 0], vae=["vae", 0], audio_encoder=["model", 1], **settings
        ),
    }


class MeanColours:
    """A VAE of 8 x 8 mean colours, so that a test is quick."""

    latent_channels, latent_dim = 4, 2

    def __init__(self):
        import comfy.model_patcher

        place = torch.device("cpu")
        self.patcher = comfy.model_patcher.ModelPatcher(torch.nn.Linear(1, 1), place, place)

    def spacial_compression_decode(self):
        return 8

    def encode(self, faces_NRRC):
        means = torch.nn.functional.avg_pool2d(faces_NRRC.permute(0, 3, 1, 2), 8)
        return (means[:, [0, 1, 2, 0]] * 2 - 1) / 0.18215

    def decode(self, latents_NChw):
        wide = torch.nn.functional.interpolate(latents_NChw[:, :3] * 0.18215, scale_factor=8)
        return (wide / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)


def test_the_published_files_become_host_models(host, files):
    out = host.run({"model": node("OmniSyncLoadLatentSync", **WEIGHTS)})["model"]
    model, encoder = out[:2]
    unet = model.model.diffusion_model
    assert model.model.resolution == 256
    assert encoder.model.config["encoder_attention_heads"] == 2
    assert all(torch.equal(value, files[key]) for key, value in unet.state_dict().items())
    import comfy.ops

    assert isinstance(unet.conv_in, comfy.ops.disable_weight_init.Conv2d)


def test_fp8_and_lora(host, files):
    """Weights in fp8 compute in float32 here, positions keep theirs, and a LoRA changes what is predicted."""
    import comfy.sd

    small = node("OmniSyncLoadLatentSync", **{**WEIGHTS, "weight_dtype": "fp8_e4m3fn"})
    whole, model = (host.run({"m": n})["m"][0] for n in (node("OmniSyncLoadLatentSync", **WEIGHTS), small))
    assert model.model.diffusion_model.conv_in.weight.dtype == torch.float8_e4m3fn
    given = torch.randn(1, 13, 2, 8, 8, generator=torch.Generator().manual_seed(0)), 500, torch.randn(1, 2, 50, 16)
    key = "down_blocks.0.resnets.0.conv1"
    lora = {f"diffusion_model.{key}.lora_A.weight": torch.randn(2, 32, 3, 3),
            f"diffusion_model.{key}.lora_B.weight": torch.randn(32, 2, 1, 1)}  # fmt: skip
    patched = comfy.sd.load_lora_for_models(whole, None, lora, 1.0, 0)[0]
    assert patched.patches
    exact, rough, changed = (predicted(host, each, given) for each in (whole, model, patched))
    assert 0 < (rough - exact).abs().max() < exact.abs().max()
    assert (changed - exact).abs().max() > 1e-3
    assert torch.equal(predicted(host, whole, given), exact)


def predicted(host, patcher, given):
    denoiser = host.module("nodes.host.engines.latentsync").HostDenoiser(patcher)
    sample, timestep, audio = given
    with torch.inference_mode(), denoiser.resident(tuple(sample.shape)):
        return denoiser.predict(sample.to(denoiser.dtype), timestep, audio.to(denoiser.dtype), None)[0].float()


def test_lip_sync_video_through_the_engine(host, files):
    pictures = torch.rand(9, 1, 1, 3, generator=torch.Generator().manual_seed(0)) * 0.1
    pictures = pictures + torch.linspace(0.2, 0.8, 96)[:, None, None] * torch.ones(1, 1, 128, 3)
    engine = {**engine_nodes(steps=1, cfg=1.0), "vae": host.give(MeanColours())}
    host.edit_the_mouth(engine, host.clip(pictures, 25), **OPTIONS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"model": OURS}, "LatentSync"), ({"vae": OURS}, "VAE")],
    ids=["model", "vae"],
)
def test_models_of_another_kind_are_told(host, files, changed, message):
    prompt = {**engine_nodes(), **changed}
    if "vae" in changed:
        prompt["engine"]["inputs"]["vae"] = ["vae", 1]
    if "model" in changed:
        prompt["engine"]["inputs"]["audio_encoder"] = ["model", 3]
    with pytest.raises(Exception, match=message):
        host.run(prompt)


def test_a_vae_of_the_host_is_the_codec(host, files):
    handle = host.run(engine_nodes())["engine"][0]
    assert [type(patcher).__name__ for patcher in handle.get_models()] == ["ModelPatcher"] * 3
    codec = host.module("nodes.host.engines.latentsync").HostCodec(handle.vae)
    faces = torch.rand(2, 64, 64, 3)
    with torch.inference_mode():
        latents = codec.encode(faces)
        assert latents.shape == (2, 4, 8, 8)
        assert torch.allclose(latents, handle.vae.encode(faces) * 0.18215)
        assert codec.decode(latents).shape == faces.shape


def test_a_sampler_is_refused(host, files):
    model = host.run({"model": node("OmniSyncLoadLatentSync", **WEIGHTS)})["model"][0]
    with pytest.raises(Exception, match="LatentSync Engine"):
        model.model.extra_conds()


def test_files_of_another_kind_are_told(host, files):
    folder = host.base / "models"
    torch.save({"state_dict": {"some.weight": torch.zeros(1)}}, folder / "diffusion_models" / "other.pt")
    (folder / "diffusion_models" / "broken.pt").write_bytes(b"no model")
    import folder_paths

    folder_paths.filename_list_cache.clear()
    for name, message in (("other.pt", "no LatentSync UNet"), ("broken.pt", "damaged")):
        with pytest.raises(Exception, match=message):
            host.run({"model": node("OmniSyncLoadLatentSync", **{**WEIGHTS, "unet_name": name})})
