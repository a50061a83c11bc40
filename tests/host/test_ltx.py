"""LTX-2 in the host: a tiny random audio-video model against Algorithm 2 and 1 written out around its own forward."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

TINY = {
    "image_model": "ltxav", "num_layers": 1, "attention_head_dim": 32, "num_attention_heads": 2,
    "audio_attention_head_dim": 16, "audio_num_attention_heads": 2, "cross_attention_dim": 64,
    "audio_cross_attention_dim": 32, "connector_num_attention_heads": 2, "connector_attention_head_dim": 16,
    "audio_connector_num_attention_heads": 2, "audio_connector_attention_head_dim": 16, "connector_num_layers": 1,
}  # fmt: skip
FPS = 25.0


NEWER = TINY | {
    "apply_gated_attention": True, "connector_apply_gated_attention": True, "caption_proj_before_connector": True,
    "caption_projection_first_linear": False, "cross_attention_adaln": True,
}  # fmt: skip
"""LTX-2.3: gates, modulated cross-attention, and a text that is projected by the text encoder."""


@pytest.fixture(scope="module")
def ltx(host):
    return network(host, TINY)


def network(host, sizes):
    import comfy.supported_models

    return host.random_patcher(comfy.supported_models.LTXAV(sizes), 0.4)


class VideoVAE:
    """Colours of each 32 x 32 x 8 box, in 128 channels."""

    latent_channels, latent_dim = 128, 3

    def __init__(self, patcher=None):
        self.patcher = patcher

    def encode(self, frames):
        groups = [frames[:1], *frames[1:].split(8)]
        small = torch.stack([group.mean(0) for group in groups])
        boxes = small.unfold(1, 32, 32).unfold(2, 32, 32).mean((-1, -2))
        return (boxes.permute(3, 0, 1, 2)[None] * 2 - 1).repeat(1, 43, 1, 1, 1)[:, :128]

    def decode(self, latent):
        colours = (latent[0, :3].permute(1, 2, 3, 0) + 1) / 2
        large = colours.repeat_interleave(32, 1).repeat_interleave(32, 2).clamp(0, 1)
        return torch.cat([large[:1], large[1:].repeat_interleave(8, 0)])[None]


class AudioVAE:
    """25 latents a second of 8 x 16 from the loudness, and back."""

    audio_sample_rate = 44100
    first_stage_model = SimpleNamespace(
        num_of_latents_from_frames=lambda frames, fps: round(frames / fps * 25), output_sample_rate=24000
    )

    def __init__(self, patcher=None):
        self.patcher = patcher

    def encode(self, wave):
        assert wave.shape[-1] in (1, 2)
        loud = wave.mean(-1)[:, : wave.shape[1] // 1764 * 1764].reshape(1, -1, 1764).abs().mean(-1)
        return loud[:, None, :, None] * torch.linspace(0.5, 2, 128).reshape(1, 8, 1, 16)

    def decode(self, latent):
        return latent.mean((1, 3)).repeat_interleave(960, 1)[..., None].expand(-1, -1, 2)


class Clip:
    width = 7680

    def tokenize(self, text):
        return text

    def encode_from_tokens_scheduled(self, text):
        return [[torch.randn(1, 128, self.width, generator=torch.Generator().manual_seed(len(text))), {}]]


def words(seed):
    return [[torch.randn(1, 128, 7680, generator=torch.Generator().manual_seed(seed)), {"frame_rate": FPS}]]


def forward(patcher, texts, clean_sound=False):
    """velocity(video, audio, sigma, branch) of the host's own forward."""
    network = patcher.model.diffusion_model
    with torch.inference_mode():
        contexts = {name: network.preprocess_text_embeds(text[0][0], unprocessed=False) for name, text in texts.items()}

    def velocity(video, audio, sigma, branch):
        times = sigma.reshape(1)
        if clean_sound:
            ones = network.patchifier.patchify(torch.ones_like(video[:, :1]) * sigma)[0]
            times = (ones, network.a_patchifier.patchify(torch.zeros_like(audio[:, :1, :, :1]))[0])
        else:
            times = (times, times)
        with torch.inference_mode():
            out = network([video, audio], times, context=contexts[branch], frame_rate=FPS, transformer_options={})
        return out[0], out[1]

    return velocity


def seeded(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda like: torch.randn(like.shape, generator=generator)


def rn(x):
    return x / x.norm() * x.numel() ** 0.5


def algorithm_2(velocity, pair, sigmas, start, end, cfg, draw):
    noises = [x + v for x, v in zip(pair, velocity(*pair, sigmas[-1], "source"), strict=True)]
    levels = [*sigmas, torch.tensor(0.0)]
    z = [(1 - levels[start]) * x + levels[start] * e for x, e in zip(pair, noises, strict=True)]
    for i, (s, ahead) in list(enumerate(itertools.pairwise(levels)))[start:]:
        target = velocity(*z, s, "target")
        if cfg > 1:
            source = velocity(*z, s, "source")
            target = [b + cfg * (a - b) for a, b in zip(target, source, strict=True)]
        if i > end:
            z = [a + (ahead - s) * v for a, v in zip(z, target, strict=True)]
            continue
        zs = [(1 - s) * x + s * e for x, e in zip(pair, noises, strict=True)]
        vq = velocity(*zs, s, "source")
        fresh = [rn((1 - s) * (a + (1 - s) * q) + s * draw(a)) for a, q in zip(zs, vq, strict=True)]
        z = [
            a + (ahead - s) * (p - q) + (s - ahead) * x + ahead * f - s * e
            for a, p, q, x, f, e in zip(z, target, vq, pair, fresh, noises, strict=True)
        ]
        noises = fresh
    return z


def a_pair():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(1, 128, 3, 2, 2, generator=generator), torch.randn(1, 8, 17, 16, generator=generator)


def test_a_pair_is_algorithm_2_around_the_hosts_forward(host, ltx):
    trajectory, module = host.module("nodes.host.trajectory"), host.module("nodes.host.engines.ltx")
    pair, texts = a_pair(), {"target": words(1), "source": words(2)}
    sigmas = host.module("omnisync_core.engines.omniedit").ltx_sigmas(6)
    for start, end, cfg in ((2, 6, 10.0), (2, 3, 1.0)):
        guider = trajectory.OmniEditGuider(ltx)
        guider.set_conds(texts["target"], texts["source"])
        sampler = trajectory.OmniEditSampler(start, end, cfg, "estimated")
        with torch.inference_mode():
            out = module.sample_pair(guider, sampler, pair, 6, 43)
        expected = algorithm_2(forward(ltx, texts), pair, sigmas, start, end, cfg, seeded(43))
        for got, wanted in zip(out, expected, strict=True):
            torch.testing.assert_close(got, wanted, atol=1e-4, rtol=0)


def engine_prompt(host, ltx, **values):
    inputs = {
        "prompt": "A person is speaking.", "steps": 3, "start": 1, "end": 3, "cfg": 4.0, "noise_mode": "estimated",
        "crop_size": 64, "window_frames": 17, "overlap_frames": 9, **values,
    }  # fmt: skip
    sockets = {name: ["g", place] for place, name in enumerate(("model", "clip", "vae", "audio_vae"))}
    return {
        "g": host.give(ltx, Clip(), VideoVAE(ltx), AudioVAE(ltx)),
        "e": {"class_type": "OmniSyncLTXEngine", "inputs": {**sockets, **inputs}},
    }


def test_lip_sync_is_algorithm_1_with_a_clean_sound(host, ltx):
    module, trajectory = host.module("nodes.host.engines.ltx"), host.module("nodes.host.trajectory")
    video, sound = a_pair()
    sounds = {"target": sound, "source": sound.flip(2)}
    text, steps = words(3), 4
    guider = trajectory.OmniEditGuider(ltx)
    guider.set_conds(text, text)
    sampler = module.CleanSoundSampler(1, 4, 3.0, "estimated", sounds)
    with torch.inference_mode():
        got, kept = module.sample_pair(guider, sampler, (video, sound), steps, 7, clean_sound=True)
    assert torch.equal(kept, sound)
    velocity = forward(ltx, {"target": text, "source": text}, clean_sound=True)
    levels = [*host.module("omnisync_core.engines.omniedit").ltx_sigmas(steps), torch.tensor(0.0)]
    v = {branch: (lambda z, s, b=branch: velocity(z, sounds[b], s, b)[0]) for branch in sounds}
    draw, noise = seeded(7), rn(v["source"](video, levels[-2]) + video)
    z = (1 - levels[1]) * video + levels[1] * noise
    for s, ahead in itertools.pairwise(levels[1:]):
        zs = (1 - s) * video + s * noise
        vq, vs = v["source"](zs, s), v["source"](z, s)
        fresh = rn((1 - s) * (zs + (1 - s) * vq) + s * draw(zs))
        step = vs + 3.0 * (v["target"](z, s) - vs) - vq
        z = z + (ahead - s) * step + (s - ahead) * video + ahead * fresh - s * noise
        noise = fresh
    torch.testing.assert_close(got, z, atol=1e-4, rtol=0)


def test_the_engine_edits_a_window(host, ltx):
    engine = host.run(engine_prompt(host, ltx))["e"][0].open()
    waves, generator = host.module("omnisync_core.audio"), np.random.default_rng(0)
    speech = engine.speech(waves.ArrayWave(generator.normal(0, 0.1, 32000).astype(np.float32)))
    frames, times = generator.random((17, 64, 64, 3), np.float32), np.arange(17) / FPS
    mouth, steps = np.tile(np.float32([0.5, 0.6, 0.3]), (17, 1)), []
    tell = lambda done, total: steps.append((done, total))  # noqa: E731
    given = {"anchor": None, "seed": 5, "on_step": tell}
    same = host.edit_alone(engine, frames, (speech.at(times), speech.at(times)), mouth, **given)
    np.testing.assert_allclose(same.edited_THWC, same.reference_THWC, atol=2e-3)
    assert steps == [(1, 2), (2, 2)]
    assert same.edited_THWC.shape == frames.shape
    changed = host.edit_alone(engine, frames, (speech.at(times), None), mouth, **given)
    assert np.abs(changed.edited_THWC - changed.reference_THWC).max() > 1e-3
    held = host.edit_alone(engine, frames, (speech.at(times), None), mouth, **{**given, "anchor": frames[:9]})
    kept = [np.abs(one.edited_THWC - one.reference_THWC)[:9].mean() for one in (held, changed)]
    assert kept[0] < 0.2 * kept[1]


def test_ltx_2_3_edits_a_window(host):
    """The same for the newer transformer: equal sounds leave the picture, another sound changes it."""
    newer = network(host, NEWER)
    prompt = engine_prompt(host, newer)
    clip = Clip()
    clip.width = 64 + 32
    prompt["g"] = host.give(newer, clip, VideoVAE(newer), AudioVAE(newer))
    engine = host.run(prompt)["e"][0].open()
    generator = np.random.default_rng(0)
    wave = generator.normal(0, 0.1, 32000).astype(np.float32)
    heard = engine.speech(host.module("omnisync_core.audio").ArrayWave(wave)).at(np.arange(17) / FPS)
    frames, mouth = generator.random((17, 64, 64, 3), np.float32), np.tile(np.float32([0.5, 0.6, 0.3]), (17, 1))
    same = host.edit_alone(engine, frames, (heard, heard), mouth, seed=5)
    changed = host.edit_alone(engine, frames, (heard, None), mouth, seed=5)
    np.testing.assert_allclose(same.edited_THWC, same.reference_THWC, atol=2e-3)
    assert np.abs(changed.edited_THWC - changed.reference_THWC).max() > 1e-3


@pytest.mark.parametrize("samples", [22050, 0, None])
def test_the_edit_node(host, ltx, samples):
    """Also of a video without a sound, and of one whose sound track holds no sample."""
    from fractions import Fraction

    from comfy_api.latest import InputImpl, Types

    frames, wave = torch.rand(12, 64, 96, 3), torch.randn(1, 2, samples or 0) * 0.1
    sound = None if samples is None else {"waveform": wave, "sample_rate": 44100}
    video = InputImpl.VideoFromComponents(Types.VideoComponents(images=frames, frame_rate=Fraction(25), audio=sound))
    inputs = {name: ["g", place] for place, name in enumerate(("model", "clip", "vae", "audio_vae", "video"))}
    inputs |= {"source_prompt": "a man", "target_prompt": "an old man", "seed": 3, "steps": 3, "start": 1, "end": 3,
               "cfg": 2.0, "noise_mode": "estimated", "max_frames": 121}  # fmt: skip
    prompt = {
        "g": host.give(ltx, Clip(), VideoVAE(ltx), AudioVAE(ltx), video),
        "e": {"class_type": "OmniSyncLTXEdit", "inputs": inputs},
    }
    edited = host.run(prompt)["e"][0].get_components()
    assert edited.images.shape == frames.shape
    assert edited.frame_rate == 25
    assert edited.audio["sample_rate"] == 24000
    assert edited.audio["waveform"].shape[-1] == round(12 / 25 * 24000)
    assert edited.images.isfinite().all()
    assert edited.audio["waveform"].isfinite().all()
    with pytest.raises(Exception, match="max_frames"):
        host.run({**prompt, "e": {**prompt["e"], "inputs": {**inputs, "max_frames": 9}}})


@pytest.fixture(scope="module")
def audio_vae(host):
    """The host's own VAE over LTX's audio autoencoder, tiny and random."""
    import json

    import comfy.sd
    from comfy.ldm.lightricks.vae.audio_vae import AudioVAE as Network

    sizes = {
        "double_z": True,
        "mel_bins": 64,
        "z_channels": 8,
        "resolution": 256,
        "downsample_time": False,
        "in_channels": 2,
        "out_ch": 2,
        "ch": 4,
        "ch_mult": [1, 2, 4],
        "num_res_blocks": 1,
        "attn_resolutions": [],
        "dropout": 0.0,
        "mid_block_add_attention": False,
        "norm_type": "pixel",
        "causality_axis": "height",
    }
    config = {
        "audio_vae": {
            "model": {"params": {"ddconfig": sizes, "sampling_rate": 16000}},
            "preprocessing": {"stft": {"filter_length": 1024, "hop_length": 160}},
        },
        "vocoder": {
            "upsample_initial_channel": 32, "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3, 5]],
        },
    }  # fmt: skip
    metadata, generator = {"config": json.dumps(config)}, torch.Generator().manual_seed(0)
    state = {
        key: torch.ones(value.shape) if "std-of-means" in key
        else torch.randn(value.shape, generator=generator) / max(1, value[0].numel() if value.ndim > 1 else 9) ** 0.5
        for key, value in Network(metadata).state_dict().items()
    }  # fmt: skip
    return comfy.sd.VAE(sd=state, metadata=metadata)


@pytest.mark.parametrize("frames", [17, 33, 120])
def test_the_model_hears_the_sound_at_its_own_time(host, audio_vae, frames):
    """The host's VAE cuts what is over a multiple of 4096 samples off at both ends: up to 46 ms were lost in front."""
    module = host.module("nodes.host.engines.ltx")
    wave = 0.1 * torch.randn(1, 1, int((frames / FPS + 0.3) * 16000), generator=torch.Generator().manual_seed(1))
    heard = module.encode_sound(audio_vae, wave, 16000, frames, FPS)
    assert heard.shape == (1, 8, round(frames), 16)
    import torchaudio

    uncut = torchaudio.functional.resample(torch.nn.functional.pad(wave, (0, 16000)), 16000, 44100)
    with torch.inference_mode():
        whole = audio_vae.first_stage_model.encode(uncut, 44100)
    torch.testing.assert_close(heard[:, :, : frames - 2], whole[:, :, : frames - 2], atol=1e-4, rtol=0)


def test_wrong_models_are_told_before_anything_runs(host, ltx):
    module = host.module("nodes.host.engines.ltx")
    other = SimpleNamespace(latent_channels=16, latent_dim=3)
    for models, message in (
        ((SimpleNamespace(model=object()), VideoVAE(), AudioVAE()), "not LTX-2"),
        ((ltx, other, AudioVAE()), "own video VAE"), ((ltx, None, AudioVAE()), "own video VAE"),
        ((ltx, VideoVAE(), None), "audio VAE"), ((ltx, VideoVAE(), VideoVAE()), "audio VAE"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            module.check_ltx(*models)
    prompt = engine_prompt(host, ltx)
    del prompt["e"]["inputs"]["audio_vae"]
    with pytest.raises(Exception, match="audio_vae"):
        host.run(prompt)
