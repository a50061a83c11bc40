"""The graph of parts: the core's own frames, each node's rules, and the host's own nodes in the places of ours."""

import numpy as np
import pytest
import torch

BATCHED = 2e-5
"""The host's Euler goes through the denoised prediction and sigma through 1000 sigma: rounding, nothing else."""


def test_it_gives_the_core_s_frames(host, parts):
    """One window: noise of the job's window 0, the same steps, the same guidance at the same mouth."""
    omnisync, audio = host.module("omnisync_core.engines.omnisync"), host.module("omnisync_core.audio")
    silence = host.module("omnisync_core.timing.silence")
    found = host.run(parts(decoded={"source": ["given", 0]}))["decoded"][1]
    guidance = host.module("omnisync_core.diffusion.guidance").Guidance()
    engine = omnisync.load_engine(prompt="A cat speaks.", steps=2, guidance=guidance, dtype="float32", device="cpu")
    wave = audio.ArrayWave(audio.resample(parts.sound["waveform"][0].mean(0).numpy(), 44100))
    wave = silence.GatedWave(silence.Voice(wave, 9 / 25))
    mouth_T3 = np.tile(np.float32([0.5, 0.55, 0.4]), (9, 1))
    seed = host.module("omnisync_core.windows.chunks").window_seed(5, 0)
    expected = host.edit_alone(
        engine, parts.pictures.numpy(), engine.speech(wave).at(np.arange(9) / 25), mouth_T3, anchor=None, seed=seed,
        on_step=lambda step, steps: None,
    )  # fmt: skip
    np.testing.assert_allclose(found.numpy(), expected.edited_THWC, atol=BATCHED)
    assert np.abs(expected.edited_THWC - expected.reference_THWC).max() > 0.01  # noise, no mouth: it stays nearly


def test_the_host_s_own_sampler_and_our_guider_give_the_same(host, parts):
    host.load("nodes_custom_sampler.py")
    node = parts.node
    outputs = host.run(
        parts(
            guider=node(
                "OmniSyncDSCFGGuider", model=["model", 0], positive=["prompt", 0], negative=["prompt", 1],
                mouth_track=["given", 2], **parts.weights,
            ),
            euler=node("KSamplerSelect", sampler_name="euler"),
            advanced=node(
                "SamplerCustomAdvanced", noise=["noise", 0], guider=["guider", 0], sampler=["euler", 0],
                sigmas=["noise", 1], latent_image=["noise", 2],
            ),
        )
    )  # fmt: skip
    assert torch.equal(outputs["advanced"][0]["samples"], outputs["sampled"][0]["samples"])


def test_the_patch_guides_the_host_s_ksampler(host, parts):
    host.load("nodes_custom_sampler.py")
    node, even = parts.node, {**parts.weights, "w_peak": 3.0, "w_base": 3.0, "gamma": 0.0}

    def sampled(cfg: float, model: str):
        return node(
            "SamplerCustom", model=[model, 0], add_noise=True, noise_seed=3, cfg=cfg, positive=["prompt", 0],
            negative=["prompt", 1], sampler=["euler", 0], sigmas=["noise", 1], latent_image=["encoded", 0],
        )  # fmt: skip

    outputs = host.run(
        parts(
            patched=node("OmniSyncDSCFGPatch", model=["model", 0], **even),
            euler=node("KSamplerSelect", sampler_name="euler"),
            ours=sampled(1.0, "patched"),
            theirs=sampled(3.0, "model"),
        )
    )
    assert torch.equal(outputs["ours"][0]["samples"], outputs["theirs"][0]["samples"])


def test_the_host_s_ksampler(host, parts):
    steps = {"seed": 1, "steps": 2, "cfg": 2.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 0.9}
    sampled = parts.node(
        "KSampler", model=["model", 0], positive=["prompt", 0], negative=["prompt", 1], latent_image=["encoded", 0],
        **steps,
    )  # fmt: skip
    pictures = host.run(parts(sampled=sampled))["decoded"][1]
    assert pictures.shape == (9, 96, 96, 3)
    assert torch.isfinite(pictures).all()


def test_the_noise_is_equation_5_in_the_model_s_space(host, parts):
    outputs = host.run(parts())
    noise, sigmas, latent = outputs["noise"]
    model = outputs["model"][0].model
    eps, source = noise.generate_noise(latent), latent["samples"]
    start = model.model_sampling.noise_scaling(sigmas[:1], eps, model.process_latent_in(source))
    torch.testing.assert_close(start, 0.08 * source + 0.92 * eps)
    assert sigmas.tolist() == pytest.approx([0.92, 0.46, 0])


def test_speech_follows_the_frames(host, parts):
    for frames, padded in ((0, 53), (1, 1), (7, 9), (9, 9)):
        output = host.run(parts(speech={"frame_count": frames}, sampled=parts.node("TestKeep", value=["speech", 0]),
                                decoded=parts.node("TestKeep", value=["prompt", 0])))["speech"][0]  # fmt: skip
        assert output["omnisync_speech"].shape[:2] == (1, padded)
        assert output["encoded_audio_all_layers"][-1].equal(output["encoded_audio"])


def test_strength_and_offset(host, parts):
    encoders, types = host.module("nodes.host.encoders"), host.module("nodes.types")
    encoder, wave = host.run({"m": parts()["model"]})["m"][3], types.mono_wave(parts.sound)
    plain = encoders.encode_speech(encoder, wave, 25, 9)["omnisync_speech"]
    torch.testing.assert_close(encoders.encode_speech(encoder, wave, 25, 9, 0.5)["omnisync_speech"], plain / 2)
    later = encoders.encode_speech(encoder, wave, 25, 9, offset=0.04)["omnisync_speech"]
    torch.testing.assert_close(later[:, 1:], plain[:, :-1], atol=1e-3, rtol=1e-3)


def test_a_long_sound_is_heard_to_its_end(host, parts):
    """Twelve windows of the mini; the last second differs where the sound does."""
    types, encoders = host.module("nodes.types"), host.module("nodes.host.encoders")
    encoder = host.run({"m": parts()["model"]})["m"][3]
    wave = torch.randn(1, 1, 30 * 16000, generator=torch.Generator().manual_seed(1)) * 0.1
    silent = wave.clone()
    silent[..., -16000:] = 0
    first, second = (
        encoders.encode_speech(encoder, types.mono_wave({"waveform": w, "sample_rate": 16000}), 10)
        for w in (wave, silent)
    )
    change = (first["omnisync_speech"] - second["omnisync_speech"]).abs().amax((0, 2, 3))
    assert change[-8:].min() > 0.01
    assert change[:250].max() < 1e-4
    assert "encoded_audio_all_layers" not in first
    assert encoder.encode_audio(wave, 16000)["encoded_audio"].shape[:2] == (1, 1500)


def test_negative_is_silence_without_words(host, parts):
    positive, negative = host.run(parts())["prompt"]
    assert positive[0][0].abs().max() > 0
    assert positive[0][1]["omnisync_speech"].abs().max() > 0
    assert not negative[0][0].any()
    assert not negative[0][1]["omnisync_speech"].any()
    assert negative[0][0].shape == positive[0][0].shape


def test_a_video_instead_of_pictures(host, parts):
    video, blocked = host.run(parts(decoded={"output": "video"}))["decoded"]
    assert type(blocked).__name__ == "ExecutionBlocker"
    components = video.get_components()
    assert components.images.shape == (9, 96, 96, 3)
    assert float(components.frame_rate) == 25
    assert components.audio["waveform"].shape[-1] == pytest.approx(9 / 25 * 44100, abs=2048)
    pictures = host.run(parts())["decoded"][1]
    assert (components.images - pictures).abs().mean() < 0.04


def test_chunks_equal_the_whole(host, parts):
    vae = host.run({"m": parts()["model"]})["m"][1]
    module = host.module("nodes.host.vae")
    latent = torch.randn(1, 16, 2 * module.CHUNK + 3, 4, 4, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        pieces = list(module.decode_pictures(vae, latent))
        whole = module.VideoVAE.decode(vae.first_stage_model, latent)[0].movedim(0, -1)
        whole = ((whole + 1) / 2).clamp(0, 1)
        assert len(pieces) == 3
        torch.testing.assert_close(torch.cat(pieces), whole, atol=1e-5, rtol=0)
        torch.testing.assert_close(vae.decode(latent)[0], whole, atol=1e-5, rtol=0)


class PictureVAE:
    """Stands for a VAE of pictures: it knows no chunks."""

    def decode(self, latent):
        return latent.movedim(1, -1).repeat_interleave(8, 1).repeat_interleave(8, 2)[..., :3]


def test_another_vae_decodes_in_one_piece(host, parts):
    latent = {"samples": torch.rand(5, 4, 6, 8)}
    decoded = {**parts()["decoded"]["inputs"], "vae": ["other", 0], "samples": ["other", 1]}
    prompt = {"given": parts()["given"], "other": host.give(PictureVAE(), latent),
              "decoded": parts.node("OmniSyncChunkedVideoDecode", **decoded)}  # fmt: skip
    assert host.run(prompt)["decoded"][1].shape == (5, 48, 64, 3)


def test_the_host_s_vae_nodes(host, parts):
    node = parts.node
    outputs = host.run({
        "model": parts()["model"], "given": parts()["given"],
        "encoded": node("VAEEncode", pixels=["given", 0], vae=["model", 1]),
        "whole": node("VAEDecode", samples=["encoded", 0], vae=["model", 1]),
        "tiled": node("VAEDecodeTiled", samples=["encoded", 0], vae=["model", 1], tile_size=64, overlap=16,
                      temporal_size=8, temporal_overlap=4),
    })  # fmt: skip
    assert outputs["encoded"][0]["samples"].shape == (1, 16, 3, 12, 12)
    assert outputs["whole"][0].shape == outputs["tiled"][0].shape == (9, 96, 96, 3)
    assert (outputs["whole"][0] - outputs["tiled"][0]).abs().mean() < 0.05


def test_clips_of_any_length_are_filled_with_their_last_frame(host, parts):
    vae = host.run({"m": parts()["model"]})["m"][1]
    for frames, latent_frames in ((1, 1), (2, 2), (7, 3), (9, 3)):
        pictures = parts.pictures[:frames]
        filled = torch.cat([pictures, pictures[-1:].expand(-frames % 4 + 1 if frames % 4 != 1 else 0, -1, -1, -1)])
        found = vae.encode(pictures)
        assert found.shape[2] == latent_frames
        assert torch.equal(found, vae.encode(filled))
