"""What was learned of a speaker in the host: the core's result by the host's own patches, and learning inside a node.

Networks are tiny, and the clock of the learning passes where it is looked at alone.
"""

from dataclasses import asdict
from fractions import Fraction

import numpy as np
import pytest
import torch

BATCHED = 2e-5
"""As in `test_parts.py`: the host's Euler goes through the denoised prediction."""
LAYER, GAIN, BIAS = "blocks.0.self_attention.q", "layers.0.norm_space.weight", "outer.conv.bias"


@pytest.fixture(scope="module")
def bundle(host, tmp_path_factory):
    """The path of a bundle of the smallest networks that have every part."""
    core = host.module
    dit = core("omnisync_core.models.dit").DiTConfig(
        width=24, depth=2, heads=2, ffn_width=32, speech_dim=16, text_dim=8, speech_tokens=2, speech_width=16,
        speech_hidden=16, speech_context=3, residual_std=0.5,
    )  # fmt: skip
    vae = core("omnisync_core.models.vae").VAEConfig(
        widths=(8, 8, 16), encoder_blocks=(1, 1, 1), decoder_blocks=(1, 1, 1), skips=True
    )
    whisper = {
        "d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "num_mel_bins": 80,
        "max_source_positions": 60,
    }  # fmt: skip
    text = {
        "architecture": "byt5", "vocab_size": 384, "d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 1,
        "num_heads": 2, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": True,
    }  # fmt: skip
    spec = core("omnisync_core.spec").VideoSpec(crop_size=32, window_frames=9, overlap_frames=5)
    config = {"dit": asdict(dit), "vae": asdict(vae), "whisper": whisper, "text": text, "spec": asdict(spec)}
    torch.manual_seed(0)
    networks = {
        "dit": core("omnisync_core.models.dit").DiT(dit),
        "vae": core("omnisync_core.models.vae").VideoVAE(vae),
        "whisper": core("omnisync_core.models.whisper").WhisperEncoder(whisper),
        "text": core("omnisync_core.models.text").TextEncoder(text),
    }
    for network in networks.values():
        for parameter in network.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    path = tmp_path_factory.mktemp("bundle") / "tiny.safetensors"
    core("omnisync_core.checkpoint").write_bundle(
        path, networks, config | {"sampling": {"steps": 1, "tau": 0.9, "guidance": {"w_peak": 1, "w_base": 1}}},
        dtype=torch.float32,
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def loaded(host, bundle):
    """MODEL, VAE, CLIP, AUDIO_ENCODER."""
    return host.module("nodes.host.models").load_bundle(bundle, "float32")


@pytest.fixture
def file(host, bundle, loaded):
    """An adapter over the bundle in models/omnisync_adapters: a matrix, a norm's gain and a bias."""
    adapter, random = host.module("omnisync_core.adapter"), torch.Generator().manual_seed(1)
    transformer, decoder = loaded[0].model.diffusion_model, loaded[1].first_stage_model.decoder
    weight = transformer.get_submodule(LAYER).weight
    pair = torch.randn(2, weight.shape[1], generator=random), torch.randn(weight.shape[0], 2, generator=random)
    changed = {name: torch.full_like(decoder.get_parameter(name), 0.3) for name in (GAIN, BIAS)}
    folder = host.base / "models" / "omnisync_adapters"
    folder.mkdir(parents=True, exist_ok=True)
    adapter.write_adapter(folder / "a.safetensors", {LAYER: pair}, changed, {"base": loaded[0].model.bundle_digest})
    yield folder / "a.safetensors"
    (folder / "a.safetensors").unlink()


def load(host, model, vae, strength=1.0):
    return host.node("OmniSyncLoadSpeakerAdapter").execute(model, vae, "a.safetensors", strength).args


def handle(host, loaded, model, vae):
    sampling = host.module("nodes.host.models").sampling_of(loaded[0])
    return host.module("nodes.host.engines.omnisync").OmniSyncHandle(model, vae, *loaded[2:], sampling)


def edited(host, engine):
    """Nine crops through an engine, said by noise."""
    random = np.random.default_rng(0)
    frames = random.uniform(0.3, 0.7, (9, 32, 32, 3)).astype(np.float32)
    wave = host.module("omnisync_core.audio").ArrayWave(random.normal(0, 0.1, 16000))
    speech = engine.speech(wave).at(np.arange(9) / 25)
    mouth = np.tile(np.float32([0.5, 0.5, 0.4]), (9, 1))
    with torch.inference_mode():
        return host.edit_alone(engine, frames, speech, mouth, seed=1).edited_THWC


def test_the_host_s_patches_give_the_core_s_frames(host, bundle, loaded, file):
    load_engine = host.module("omnisync_core.engines.omnisync").load_engine
    plain, learned = (
        edited(host, load_engine(bundle, adapter=adapter, device="cpu", dtype="float32")) for adapter in (None, file)
    )
    model, vae = load(host, *loaded[:2])
    np.testing.assert_allclose(edited(host, handle(host, loaded, model, vae).open()), learned, atol=BATCHED)
    assert np.abs(learned - plain).max() > 0.01
    np.testing.assert_allclose(edited(host, handle(host, loaded, *loaded[:2]).open()), plain, atol=BATCHED)


def test_where_the_host_s_memory_is_dynamic_the_decoder_is_a_whole_one(host, bundle, loaded, file, monkeypatch):
    """It patches its own layers alone, and a norm's gain is none of them: the VAE is read anew, for plain patches."""
    with monkeypatch.context() as now:
        now.setattr(type(loaded[1].patcher), "is_dynamic", lambda self: True)
        model, vae = load(host, *loaded[:2])
    assert vae.first_stage_model is vae.patcher.model is not loaded[1].first_stage_model
    load_engine = host.module("omnisync_core.engines.omnisync").load_engine
    learned = edited(host, load_engine(bundle, adapter=file, device="cpu", dtype="float32"))
    np.testing.assert_allclose(edited(host, handle(host, loaded, model, vae).open()), learned, atol=BATCHED)


def test_the_strength_counts_for_both_and_nothing_is_nothing(host, loaded, file):
    assert load(host, *loaded[:2], 0.0) == loaded[:2]
    whole, half, none = (
        edited(host, handle(host, loaded, *load(host, *loaded[:2], strength)).open()) for strength in (1.0, 0.5, 0.0)
    )
    assert np.abs(whole - none).max() > np.abs(half - none).max() > 1e-3


def test_an_adapted_model_is_another_job(host, loaded, file):
    numbers = [
        handle(host, loaded, *load(host, *loaded[:2], strength)).open().fingerprint["models"]
        for strength in (0.0, 1.0, 1.0, 0.5)
    ]
    assert numbers[1] == numbers[2]
    assert all(numbers[one][part] != numbers[other][part] for one, other in ((0, 1), (1, 3)) for part in (0, 1))


def test_what_does_not_belong_together_is_refused(host, bundle, loaded, file, tmp_path):
    core = host.module("omnisync_core.checkpoint")
    read = core.read_bundle(bundle)
    omnisync = host.module("omnisync_core.engines.omnisync")
    networks = omnisync.build_networks(read)
    networks["dit"].patch_embedding.bias.data.add_(1)
    core.write_bundle(tmp_path / "other.safetensors", networks, read.config, dtype=torch.float32)
    other = host.module("nodes.host.models").load_bundle(tmp_path / "other.safetensors", "float32")
    with pytest.raises(ValueError, match="was learned with the model") as caught:
        load(host, *other[:2])
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="are of two bundles"):
        load(host, other[0], loaded[1])
    with pytest.raises(ValueError, match="not one of OmniSync"):
        load(host, loaded[0], None)
    with pytest.raises(ValueError, match=r"no model .b\.safetensors. in models/omnisync_adapters"):
        host.node("OmniSyncLoadSpeakerAdapter").execute(*loaded[:2], "b.safetensors", 1.0)
    with pytest.raises(ValueError, match="strength must be a number"):
        load(host, *loaded[:2], float("nan"))


# -- learning


@pytest.fixture
def clock(host, monkeypatch):
    run, now = host.module("omnisync_core.adaptation.run"), [0.0]

    def monotonic():
        now[0] += 0.7
        return now[0]

    monkeypatch.setattr(run, "monotonic", monotonic)
    monkeypatch.setattr(run, "MOST_ROUNDS", 1)


@pytest.fixture
def adapt(host, loaded, clock, tmp_path):
    """Run Adapt To Speaker on three seconds of drifting blobs with bursts of noise."""
    y, x = np.mgrid[:48, :64]
    drift = np.arange(75)[:, None, None, None]
    pictures = 0.5 + 0.4 * np.sin((x[..., None] + 0.3 * drift) * [3, 5, 7] / 40) * np.cos(y[..., None] / 10)
    pictures = (pictures * 255).round().astype(np.float32) / 255
    time = np.arange(48000) / 16000
    loud = ((time > 0.1) & (time < 0.6)) | ((time > 0.9) & (time < 1.4)) | ((time > 1.7) & (time < 2.6))
    wave = (np.random.default_rng(0).normal(0, 0.1, 48000) * loud).astype(np.float32)
    track = host.module("omnisync_core.mouth").MouthTrack(
        np.arange(75) / 25, np.tile([[0.5, 0.5]], (75, 1)), np.full(75, 12 / 64), np.ones(75), np.full(75, "user"),
        np.zeros(75, int), (64, 48),
    )  # fmt: skip

    def run(name="me", brighter=0.0, minutes=1.5, own=True):
        from comfy_api.latest import InputImpl

        path = tmp_path / f"clip_{brighter}_{own}.mkv"
        if not path.exists():
            host.module("omnisync_core.media").write_pictures(
                path, pictures * (1 - brighter), Fraction(25), "bgr0", (wave[None], 16000) if own else None
            )
        sound = None if own else {"waveform": torch.from_numpy(wave)[None, None], "sample_rate": 16000}
        given = host.give(*loaded[:2], InputImpl.VideoFromFile(str(path)), track, sound)
        names = {"model": 0, "vae": 1, "video": 2, "mouth_track": 3} | ({} if own else {"audio": 4})
        linked = {name: ["given", place] for name, place in names.items()}
        node = {
            "class_type": "OmniSyncAdaptToSpeaker",
            "inputs": {**linked, "name": name, "minutes": minutes, "seed": 0},
        }
        return host.run({"given": given, "adapt": node})["adapt"]

    yield run
    for path in (host.base / "models" / "omnisync_adapters").glob("*"):
        path.unlink()


def left(host):
    folder = host.output / "omnisync_unfinished"
    return sorted(folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("own", [True, False], ids=["the video's own sound", "a sound beside it"])
def test_a_node_learns_in_the_host_and_its_result_counts(host, loaded, adapt, own):
    model, vae, report = adapt(own=own)
    file = host.base / "models" / "omnisync_adapters" / "me.safetensors"
    adapter = host.module("omnisync_core.adapter").read_adapter(file)
    assert "steps on" in report
    assert "windows kept out" in report
    assert adapter.about["steps"] > 3
    assert len(model.patches) == len(adapter.transformer())
    assert len(vae.patcher.patches) == len(adapter.decoder())
    assert not loaded[0].patches
    assert not loaded[1].patcher.patches
    assert not left(host)


def test_the_same_is_not_learned_twice_and_another_s_is_never_overwritten(host, adapt):
    adapt()
    file = host.base / "models" / "omnisync_adapters" / "me.safetensors"
    before = file.read_bytes()
    host.forget()
    assert "learned before" in adapt()[2]
    assert file.read_bytes() == before
    with pytest.raises(Exception, match="was learned from something else: choose another name"):
        adapt(brighter=0.2)
    assert file.read_bytes() == before
    assert "steps on" in adapt(minutes=2.0)[2]
    assert file.read_bytes() != before


def test_cancelled_it_goes_on_where_it_was(host, adapt, monkeypatch):
    import comfy.model_management as memory
    import comfy.utils

    counts = []

    def bar(value, total, preview, node_id=None):
        counts.append(value)
        if value > 600 and max(counts[:-1], default=0) <= 600:
            memory.interrupt_current_processing(True)

    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", bar)
    monkeypatch.setattr(host.module("omnisync_core.adaptation.run"), "SAVE_SECONDS", 1.0)
    with pytest.raises(Exception, match="interrupted"):
        adapt()
    (kept,) = left(host)
    assert (kept / "state.npz").exists()
    assert counts == sorted(counts)
    counts[:] = [1000]
    assert "steps on" in adapt()[2]
    assert counts[1] > 350
    assert not left(host)


@pytest.mark.parametrize("name", ["", "..", "../me", "a/b", "a\\b", ".me", "x" * 101, "me."])
def test_a_name_is_a_plain_file_name(adapt, host, name):
    with pytest.raises(Exception, match="name must be a plain file name"):
        adapt(name)
    assert not left(host)


def test_what_cannot_be_learned_from(host, loaded, adapt):
    with pytest.raises(Exception, match="minutes must be a number"):
        adapt(minutes=float("nan"))
    with pytest.raises(ValueError, match="must be a VIDEO"):
        host.node("OmniSyncAdaptToSpeaker").execute(*loaded[:2], None, 1.0, "me", 0)
