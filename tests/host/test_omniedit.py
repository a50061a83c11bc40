"""OmniEdit in the host: tiny random HuMo 1.7B and 17B and LTX-2, against Algorithm 1 and 2 written out around them."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

FRAMES, SIDE = 9, 32
TINY_HUMO = {
    "image_model": "wan2.1", "model_type": "humo", "dim": 64, "num_heads": 2, "num_layers": 1, "ffn_dim": 64,
    "text_dim": 32, "out_dim": 16,
}  # fmt: skip
TINY_LTX = {
    "image_model": "ltxav", "num_layers": 1, "attention_head_dim": 32, "num_attention_heads": 2,
    "audio_attention_head_dim": 16, "audio_num_attention_heads": 2, "cross_attention_dim": 64,
    "audio_cross_attention_dim": 32, "connector_num_attention_heads": 2, "connector_attention_head_dim": 16,
    "audio_connector_num_attention_heads": 2, "audio_connector_attention_head_dim": 16, "connector_num_layers": 1,
}  # fmt: skip


@pytest.fixture(scope="module", params=[16, 36], ids=["1.7B", "17B"])
def humo(host, request):
    import comfy.supported_models

    return host.random_patcher(comfy.supported_models.WAN21_HuMo({**TINY_HUMO, "in_dim": request.param}), 0.5)


@pytest.fixture(scope="module")
def small_humo(host):
    import comfy.supported_models

    return host.random_patcher(comfy.supported_models.WAN21_HuMo({**TINY_HUMO, "in_dim": 16}), 0.5)


@pytest.fixture(scope="module")
def ltx(host):
    import comfy.supported_models

    return host.random_patcher(comfy.supported_models.LTXAV(TINY_LTX), 0.5)


@pytest.fixture(scope="module")
def vae(host):
    """A Wan VAE of random weights, eight channels wide."""
    import comfy.ldm.wan.vae
    import comfy.sd

    network = comfy.ldm.wan.vae.WanVAE(dim=8, z_dim=16, temperal_downsample=[False, True, True])
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            fan = max(1, weight[0].numel())
            drawn = torch.randn(weight.shape, generator=generator) / fan**0.5
            weight.copy_(torch.ones_like(weight) if "gamma" in name else drawn if weight.ndim > 1 else 0 * drawn)
    return comfy.sd.VAE(sd=network.state_dict(), dtype=torch.float32)


class Whisper:
    """An AUDIO_ENCODER that hears the loudness of each 20 ms."""

    def __init__(self, layers=32, width=1280):
        import comfy.model_patcher

        self.model = torch.nn.Linear(1, 1)
        self.model.config = {"encoder_layers": layers, "d_model": width}
        cpu = torch.device("cpu")
        self.patcher = comfy.model_patcher.ModelPatcher(self.model, load_device=cpu, offload_device=cpu)

    def encode_audio(self, audio, sample_rate):
        wave = torch.nn.functional.pad(audio[0, 0], (0, max(0, 480000 - audio.shape[-1])))[:480000]
        loud = wave.reshape(1500, 320).abs().mean(1)[None, :, None]
        wide = (1 + torch.arange(1280) % 7)[None, None] * loud
        return {"encoded_audio_all_layers": tuple(wide + layer / 33 for layer in range(33)),
                "audio_samples": audio.shape[-1]}  # fmt: skip


class Clip:
    def __init__(self, width=32):
        self.width = width

    def tokenize(self, text):
        return text

    def encode_from_tokens_scheduled(self, text):
        generator = torch.Generator().manual_seed(len(text))
        return [[torch.randn(1, 9, self.width, generator=generator), {}]]


def seeded(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda shape: torch.randn(shape, generator=generator)


def rn(x):
    return x / x.norm() * x.numel() ** 0.5


def algorithm_1(velocity, x0, sigmas, start, end, cfg, draw):
    """OmniEdit's Algorithm 1 as its paper's code runs it; `velocity(z, sigma, branch)`."""
    noise = rn(velocity(x0, sigmas[-1], "source") + x0)
    levels = [*sigmas, torch.tensor(0.0)]
    z = (1 - levels[start]) * x0 + levels[start] * noise
    for i, (s, ahead) in enumerate(itertools.pairwise(levels)):
        if i < start:
            continue
        v = velocity(z, s, "target")
        if cfg > 1:
            v_source = velocity(z, s, "source")
            v = v_source + cfg * (v - v_source)
        if i > end:
            z = z + (ahead - s) * v
            continue
        zs = (1 - s) * x0 + s * noise
        vq = velocity(zs, s, "source")
        fresh = rn((1 - s) * (zs + (1 - s) * vq) + s * draw(x0.shape))
        z = z + (ahead - s) * (v - vq) + (s - ahead) * x0 + ahead * fresh - s * noise
        noise = fresh
    return z


def humo_conds(seed=1, latent_frames=3, side=8):
    generator = torch.Generator().manual_seed(seed)
    text, ref = torch.randn(1, 9, 32, generator=generator), torch.randn(1, 16, 1, side, side, generator=generator)
    zero = torch.randn(1, 16, latent_frames, side, side, generator=generator)
    sounds = [torch.randn(1, latent_frames, 8, 5, 1280, generator=generator) for _ in range(2)]
    shared = {"reference_latents": [ref], "omnisync_zero_video": zero}
    return [[[text, {**shared, "audio_embed": sound}]] for sound in sounds]


def humo_forward(patcher, conds):
    """The host's own forward, its inputs laid out as OmniEdit's."""
    model = patcher.model
    text, values = conds[0][0]
    ref = model.process_latent_in(values["reference_latents"][0])
    zero = model.process_latent_in(values["omnisync_zero_video"])
    large = model.diffusion_model.patch_embedding.weight.shape[1] == 36
    shown = torch.cat([ref, torch.ones_like(ref[:, :4]), ref], 1) if large else ref

    def velocity(z, sigma, branch):
        sound = conds[branch == "source"][0][1]["audio_embed"]
        x = torch.cat([z, torch.zeros_like(zero[:, :4]), zero], 1) if large else z
        with torch.inference_mode():
            return model.diffusion_model(
                x, 1000 * sigma.reshape(1), context=text, audio_embed=sound, reference_latent=shown,
                transformer_options={},
            )  # fmt: skip

    return velocity


def counted(patcher, run, inner=lambda network: network):
    """What `run` gives, and the rows of every forward of the model (or a part of it) meanwhile."""
    rows = []
    hook = inner(patcher.model.diffusion_model).register_forward_pre_hook(
        lambda module, given: rows.append(len(given[0][0] if isinstance(given[0], list | tuple) else given[0]))
    )
    try:
        return run(), rows
    finally:
        hook.remove()


def sampled(host, patcher, conds, latent, sigmas, *, seed=42, focus=None, mouth=None, **path):
    trajectory = host.module("nodes.host.trajectory")
    guider = trajectory.OmniEditGuider(patcher)
    guider.set_conds(*conds)
    if focus is not None:
        guider.set_focus(trajectory.Focus(**focus), mouth)
    sampler = trajectory.OmniEditSampler(**{"start": 2, "end": 4, "cfg": 4.5, "noise": "estimated", **path})
    with torch.inference_mode():
        zeros = latent * 0
        return guider.sample(zeros, latent, sampler, torch.cat([sigmas, torch.zeros(1)]), seed=seed, disable_pbar=True)


def test_gamma_alone_fades_a_plain_cfg(host):
    focus = host.module("nodes.host.trajectory").Focus
    assert focus().guidance(4.0) is None
    assert focus(convention="paper").guidance(4.0) is None
    faded, mouth = focus(gamma=1.0).guidance(4.0), torch.tensor([[0.5, 0.5, 0.2]])
    for sigma, weight in ((1.0, 4.0), (0.5, 2.5), (0.0, 1.0)):
        torch.testing.assert_close(faded.weight(sigma, mouth, (3, 3)), torch.full((1, 3, 3), weight))


def test_humo_is_algorithm_1_around_the_hosts_forward(host, humo):
    conds, sigmas = humo_conds(), host.module("omnisync_core.engines.omniedit").humo_sigmas(7)
    latent = torch.randn(1, 16, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    x0 = humo.model.process_latent_in(latent)
    for start, end, cfg, calls in ((2, 4, 4.5, [1, 3, 3, 3, 2, 2]), (3, 9, 1.0, [1, 2, 2, 2, 2])):
        out, rows = counted(
            humo, lambda a=start, b=end, c=cfg: sampled(host, humo, conds, latent, sigmas, start=a, end=b, cfg=c)
        )
        expected = algorithm_1(humo_forward(humo, conds), x0, sigmas, start, end, cfg, seeded(42))
        torch.testing.assert_close(humo.model.process_latent_in(out), expected, atol=1e-4, rtol=0)
        assert rows == calls


def test_branches_run_one_by_one_where_memory_is_short(host, small_humo, monkeypatch):
    conds, sigmas = humo_conds(), host.module("omnisync_core.engines.omniedit").humo_sigmas(4)
    latent = torch.randn(1, 16, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    stacked = sampled(host, small_humo, conds, latent, sigmas, start=1, end=2)
    monkeypatch.setattr(small_humo.model, "memory_required", lambda *args, **kwargs: 1e30)
    one_by_one, rows = counted(small_humo, lambda: sampled(host, small_humo, conds, latent, sigmas, start=1, end=2))
    assert rows == [1] * (1 + 3 + 3 + 2)
    torch.testing.assert_close(one_by_one, stacked, atol=1e-4, rtol=0)


def test_a_cache_keeps_source_and_target_apart(host, small_humo):
    """With EasyCache at a threshold that skips nothing, nothing changes; where it skips, it skips whole steps."""
    host.load("nodes_easycache.py")
    conds, sigmas = humo_conds(), host.module("omnisync_core.engines.omniedit").humo_sigmas(8)
    latent = torch.randn(1, 16, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    plain = sampled(host, small_humo, conds, latent, sigmas, end=9)
    same = host.node("EasyCache").execute(small_humo, 0.0, 0.0, 1.0, False).args[0]
    torch.testing.assert_close(sampled(host, same, conds, latent, sigmas, end=9), plain, atol=1e-5, rtol=0)
    lazy = host.node("EasyCache").execute(small_humo, 3.0, 0.0, 0.9, False).args[0]
    for inner, fewer in ((lambda network: network, False), (lambda network: network.blocks[0], True)):
        skipping, rows = counted(lazy, lambda: sampled(host, lazy, conds, latent, sigmas, end=9), inner)
        assert skipping.isfinite().all()
        assert rows[:2] == [1, 3]
        assert (len(rows) < 7) == fewer
    same_sound = sampled(host, lazy, [conds[0], conds[0]], latent, sigmas, end=9)
    torch.testing.assert_close(same_sound, latent, atol=1e-3, rtol=0)


def test_context_windows_see_one_latent_at_a_time(host, small_humo):
    host.load("nodes_context_windows.py")
    conds, sigmas = humo_conds(latent_frames=9), host.module("omnisync_core.engines.omniedit").humo_sigmas(3)
    latent = torch.randn(1, 16, 9, 8, 8, generator=torch.Generator().manual_seed(3))
    windowed = host.node("WanContextWindowsManual").execute(
        small_humo, 17, 4, "standard_static", 1, False, "pyramid", False
    ).args[0]  # fmt: skip
    out, rows = counted(windowed, lambda: sampled(host, windowed, conds, latent, sigmas, start=1, end=2))
    assert out.shape == latent.shape
    assert out.isfinite().all()
    assert len(rows) > 6
    same = sampled(host, windowed, [conds[0], conds[0]], latent, sigmas, start=1, end=2)
    torch.testing.assert_close(same, latent, atol=1e-3, rtol=0)


def test_guidance_at_the_mouth(host, small_humo):
    conds, sigmas = humo_conds(), host.module("omnisync_core.engines.omniedit").humo_sigmas(4)
    latent, mouth = torch.randn(1, 16, 3, 8, 8), torch.tensor([[0.5, 0.7, 0.3]]).expand(9, 3)
    given = {"start": 1, "end": 2}
    plain = sampled(host, small_humo, conds, latent, sigmas, **given)
    for focus in ({}, {"w_peak": 4.5, "w_base": 4.5}):
        assert torch.equal(sampled(host, small_humo, conds, latent, sigmas, focus=focus, mouth=mouth, **given), plain)
    faded = sampled(host, small_humo, conds, latent, sigmas, focus={"gamma": 1.5}, mouth=mouth, **given)
    assert not torch.equal(faded, plain)
    at_mouth = sampled(host, small_humo, conds, latent, sigmas, focus={"w_peak": 9.0}, mouth=mouth, **given)
    changed = (at_mouth - plain).abs().mean((0, 1, 2))
    assert changed[5, 3:5].mean() > 2 * changed[0, [0, 7]].mean() > 0
    off = sampled(host, small_humo, conds, latent, sigmas, focus={"w_peak": 1.0, "w_base": 1.0}, mouth=mouth, **given)
    torch.testing.assert_close(off, sampled(host, small_humo, conds, latent, sigmas, cfg=1.0, **given))


def test_the_sampler_needs_its_guider_and_a_whole_schedule(host, small_humo):
    import comfy.samplers

    trajectory, conds = host.module("nodes.host.trajectory"), humo_conds()
    plain = comfy.samplers.CFGGuider(small_humo)
    plain.set_conds(*conds)
    latent, sampler = torch.randn(1, 16, 3, 8, 8), trajectory.OmniEditSampler(0, 1, 1.0, "estimated")
    with pytest.raises(ValueError, match="OmniEdit Guider"), torch.inference_mode():
        plain.sample(latent, latent, sampler, torch.tensor([1.0, 0.5, 0.0]), disable_pbar=True)
    ours = trajectory.OmniEditGuider(small_humo)
    ours.set_conds(*conds)
    with pytest.raises(ValueError, match="fall to 0"), torch.inference_mode():
        ours.sample(latent, latent, sampler, torch.tensor([1.0, 0.5]), disable_pbar=True)


def engine_prompt(host, model, vae, **values):
    given = {
        "prompt": "A person is speaking.", "steps": 3, "start": 1, "end": 2, "cfg": 4.5, "noise_mode": "estimated",
        "crop_size": 64, "window_frames": FRAMES, "overlap_frames": 5, **values,
    }  # fmt: skip
    return {
        "g": host.give(model, Clip(), vae, values.pop("encoder", None) or Whisper()),
        "e": {
            "class_type": "OmniSyncHuMoEngine",
            "inputs": {"model": ["g", 0], "clip": ["g", 1], "vae": ["g", 2], "audio_encoder": ["g", 3],
                       **{key: value for key, value in given.items() if key != "encoder"}},
        },
    }  # fmt: skip


def test_humo_engine_edits_a_window(host, humo, vae):
    handle = host.run(engine_prompt(host, humo, vae))["e"][0]
    engine, again = handle.open(), handle.open()
    assert engine.fingerprint == again.fingerprint
    assert len(handle.get_models()) == 3
    waves = host.module("omnisync_core.audio")
    generator = np.random.default_rng(0)
    speech = [engine.speech(waves.ArrayWave(generator.normal(0, 0.1, 32000).astype(np.float32))) for _ in range(2)]
    frames, times = generator.random((FRAMES, 64, 64, 3), np.float32), np.arange(FRAMES) / 30
    mouth, steps = np.tile(np.float32([0.5, 0.6, 0.3]), (FRAMES, 1)), []
    heard = tuple(one.at(times) for one in speech)

    def edit(sound, anchor=None):
        steps.clear()
        tell = lambda done, total: steps.append((done, total))  # noqa: E731
        return host.edit_alone(engine, frames, sound, mouth, anchor=anchor, seed=5, on_step=tell)

    result = edit(heard)
    assert result.edited_THWC.shape == frames.shape
    assert steps == [(1, 2), (2, 2)]
    assert np.array_equal(edit(heard).edited_THWC, result.edited_THWC)
    same = edit((heard[1], heard[1]))
    np.testing.assert_allclose(same.edited_THWC, same.reference_THWC, atol=2e-3)
    held = edit(heard, anchor=frames[:5])
    assert (
        np.abs(held.edited_THWC[:1] - held.reference_THWC[:1]).mean()
        < np.abs(result.edited_THWC[:1] - result.reference_THWC[:1]).mean()
    )
    silent = edit(heard[0])
    assert np.array_equal(silent.edited_THWC, edit((heard[0], heard[0] * 0)).edited_THWC)


def test_a_video_goes_through_in_overlapping_windows(host, small_humo, vae, tmp_path):
    pipeline, job = host.module("omnisync_core.pipeline"), host.module("omnisync_core.job.options")
    demo = pipeline.__file__.replace("pipeline.py", "assets/demo/")
    engine = host.run(engine_prompt(host, small_humo, vae, steps=2, start=0))["e"][0].open()
    options = job.SyncOptions(preview_seconds=0.8)
    report = pipeline.sync_video(demo + "source.mp4", demo + "target.wav", tmp_path / "out.mp4", engine, options)
    assert report.windows >= 3
    assert report.edited > 9


@pytest.mark.parametrize(("fps", "seconds"), [(25, 3.88), (24, 97 / 24), (30, 97 / 30)])
def test_humo_audio_node_gives_what_the_official_code_gives(host, fps, seconds):
    from pathlib import Path

    golden = load_file(Path(__file__).parents[1] / "golden" / "oe_audio_windows.safetensors")
    generator = torch.Generator().manual_seed(100)
    layers = tuple(torch.randn(1, 1500, 4, generator=generator) for _ in range(33))
    encoded = {"encoded_audio_all_layers": layers, "audio_samples": int(seconds * 16000)}
    text = [[torch.zeros(1, 3, 32), {}]]
    inputs = {"positive": ["g", 0], "negative": ["g", 0], "audio_encoder_output": ["g", 1], "fps": fps, "length": 97}
    prompt = {"g": host.give(text, encoded), "a": {"class_type": "OmniSyncHuMoAudio", "inputs": inputs}}
    positive, negative = host.run(prompt)["a"]
    expected = golden[f"fps{fps}_f97_{seconds:.3f}s"]
    torch.testing.assert_close(positive[0][1]["audio_embed"], expected, atol=1e-6, rtol=0)
    assert not negative[0][1]["audio_embed"].any()
    assert text[0][1] == {}
    prompt["a"]["inputs"]["source_audio"] = ["g", 1]
    torch.testing.assert_close(host.run(prompt)["a"][1][0][1]["audio_embed"], expected, atol=1e-6, rtol=0)
    prompt["a"]["inputs"]["length"] = 40 * fps + 1
    prompt["g"] = host.give(text, {**encoded, "audio_samples": 40 * 16000})
    with pytest.raises(Exception, match="stops at 30 s"):
        host.run(prompt)
    long = {"omnisync_layer_groups": torch.arange(2000.0)[:, None, None].expand(2000, 5, 4), "audio_samples": 640000}
    prompt["g"] = host.give(text, long)
    positive = host.run({**prompt, "a": {**prompt["a"], "inputs": {**inputs, "length": 40 * fps + 1}}})["a"][0][0][1]
    assert positive["audio_embed"].shape == (1, 10 * fps + 1, 8, 5, 4)
    assert positive["audio_embed"][0, -2, 3, 0, 0] > 1980


def test_a_long_sound_is_encoded_in_layer_groups(host):
    """A Whisper of 32 tiny layers, through our encoder: one window equals the whole where they overlap nothing."""
    encoders, waves = host.module("nodes.host.encoders"), host.module("omnisync_core.audio")
    whisper = host.module("omnisync_core.models.whisper")
    sizes = {**whisper.MINI, "d_model": 16, "encoder_layers": 32, "encoder_attention_heads": 2, "encoder_ffn_dim": 16}
    torch.manual_seed(0)
    encoder = encoders.AudioEncoder(whisper.WhisperEncoder({**sizes, "max_source_positions": 1500}), "tiny")
    wave = np.random.default_rng(0).normal(0, 0.1, 35 * 16000).astype(np.float32)
    grouped = encoder.grouped(waves.ArrayWave(wave))
    assert grouped["omnisync_layer_groups"].shape == (1750, 5, 16)
    assert grouped["audio_samples"] == len(wave)
    first = encoder.encode(waves.ArrayWave(wave[:480000]))
    layers = host.module("nodes.host.engines.humo").layers_of(first)
    expected = host.module("omnisync_core.engines.humo_audio").group(layers)
    torch.testing.assert_close(grouped["omnisync_layer_groups"][:900], expected[:900], atol=1e-4, rtol=0)


def test_wrong_models_are_told_before_anything_runs(host, small_humo, ltx, vae):
    import comfy.supported_models

    i2v = host.random_patcher(comfy.supported_models.WAN21_I2V({**TINY_HUMO, "model_type": "i2v", "in_dim": 36}), 0.5)
    other = SimpleNamespace(latent_channels=4, latent_dim=2, patcher=None)
    for models, message in (
        ((i2v, vae, None), "image-to-video"), ((ltx, vae, None), "not HuMo"), ((small_humo, other, None), "Wan 2.1"),
        ((small_humo, vae, Whisper(4, 384)), "4 layers of 384"),
    ):  # fmt: skip
        with pytest.raises(Exception, match=message):
            host.run(engine_prompt(host, *models[:2], encoder=models[2]))
    for values, message in (({"start": 3}, "below steps"), ({"crop_size": 72}, "multiple of 16")):
        with pytest.raises(Exception, match=message):
            host.run(engine_prompt(host, small_humo, vae, **values))
    with pytest.raises(ValueError, match="needs a VAE"):
        host.module("nodes.host.engines.humo").check_humo(small_humo, None, Whisper())
