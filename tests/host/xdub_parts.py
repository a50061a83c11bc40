"""What tests of X-Dub in the host share: tiny sizes, its Whisper, and what a MODEL predicts."""

import torch

WEIGHTS = {"model_name": "X-Dub_model.safetensors", "whisper_name": "large-v2.pt", "weight_dtype": "float32"}
HEARS, WAV, TEXT = 16, 48, 32


def node(name, **inputs):
    return {"class_type": name, "inputs": inputs}


def listed():
    import folder_paths

    folder_paths.filename_list_cache.clear()


def write_whisper(host) -> None:
    whisper = host.module("omnisync_core.models.whisper").WhisperEncoder(
        {"d_model": HEARS, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 16,
         "num_mel_bins": 80, "max_source_positions": 1500}
    )  # fmt: skip
    content = {"dims": {"n_audio_head": 2}, "model_state_dict": whisper.state_dict()}
    torch.save(content, host.base / "models" / "audio_encoders" / "large-v2.pt")


def velocities(host, patcher, steps=2):
    """Of all branches at one level, as the engine asks the host for them."""
    xdub, engine = host.module("nodes.host.engines.xdub"), host.module("omnisync_core.engines.xdub.engine")
    generator = torch.Generator().manual_seed(2)
    source, latents = (torch.randn(1, 48, 3, 4, 4, generator=generator) for _ in range(2))
    sound, text = torch.randn(1, 3, 8, HEARS + WAV, generator=generator), torch.randn(1, 5, TEXT, generator=generator)
    given, found = engine.Given(source, text, sound, 1), []

    def work(velocity):
        found.append(velocity(latents, 0.6, ("none", "ref", "full")))
        return latents

    with torch.inference_mode():
        settings = engine.Settings(steps=steps)
        assert torch.equal(xdub.HostDenoiser(patcher, settings).run(given, work), latents)
    return found[0], given, latents


def held_within(patcher, budget, work):
    """What `work` gives while the host holds but `budget` bytes of a model on the device, as with little VRAM."""
    import comfy.model_management as memory

    memory.unload_all_models()
    if budget is None:
        return work()
    loaded = []

    def partially(device_to, extra_memory=0, force_patch_weights=False):
        patcher.patch_model(device_to, lowvram_model_memory=budget, force_patch_weights=force_patch_weights)
        assert patcher.model.model_lowvram
        loaded.append(patcher.model.model_loaded_weight_memory)
        return loaded[-1]

    patcher.partially_load = partially
    try:
        result = work()
    finally:
        memory.unload_all_models()
        del patcher.partially_load
    assert loaded
    assert (loaded[0] > 0) == (budget > 1)
    return result
