"""The whole training at the smallest size, on stub voices and drawings: a TOML file in, a bundle that works out."""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError

from omnisync_core.audio import ArrayWave
from omnisync_core.checkpoint import read_bundle
from omnisync_core.diffusion.guidance import Guidance
from omnisync_core.engines.omnisync import Sampling, load_engine
from omnisync_core.errors import InputError, OutputError
from omnisync_core.models.dit import MINI
from omnisync_core.models.vae import VideoVAE
from omnisync_core.synth.speech import CAPTIONS, caption
from omnisync_core.training import loop
from omnisync_core.training.objective import ObjectiveOptions
from omnisync_core.training.sized.start import fresh
from tests import tiny
from tests.fake import edit_alone
from tests.training.stub import HEAD, utterances, write_shard

CONFIG = (
    "seed = 0"
    + HEAD
    + """[speech]
steps = 2
batch = 2
lr = 1e-3
[text]
steps = 2
batch = 4
lr = 1e-3
[vae]
steps = 2
batch = 2
frames = 5
size = 16
lr = 1e-3
shards = 1
compiled = false
[dit]
steps = 2
batch = 4
piece_batch = 6
lr = 1e-3
compiled = false
[sampling]
steps = 2
tau = 0.9
[sampling.guidance]
w_peak = 1.0
[dit.objective]
arbitrary_share = 1.0
"""
)


@pytest.fixture
def small(tmp_path, monkeypatch) -> Path:
    """The configuration's file; networks are tiny, voices and drawings are stubs."""
    monkeypatch.setattr(loop.whisper, "MINI", tiny.WHISPER)
    monkeypatch.setattr(loop.text, "MINI", tiny.TEXT)
    monkeypatch.setattr(loop, "MINI", tiny.DIT)
    monkeypatch.setattr(loop, "VAEConfig", lambda: tiny.VAE)
    monkeypatch.setattr(loop, "_corpora", lambda config, work: {"train": utterances(), "test": utterances()})

    def write_reels(options, count, workers):
        return [write_shard(Path(options.out) / "reels_0000.npz", reels=count)]

    monkeypatch.setattr(loop, "write_reels", write_reels)
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(out=(tmp_path / "run").as_posix()), encoding="utf-8")
    return path


def test_from_a_file_to_an_engine(small, capsys):
    bundle = loop.train(small)
    found = read_bundle(bundle)
    assert found.config["spec"]["crop_size"] == 32
    assert found.config["spec"]["window_frames"] == 9
    engine = load_engine(bundle, device="cpu", dtype="float32")
    assert engine.sampling == Sampling(2, 0.9, Guidance(w_peak=1.0))
    noise = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    edit = edit_alone(
        engine,
        np.full((9, 32, 32, 3), 0.5, np.float32), engine.speech(ArrayWave(noise)).at(np.arange(9) / 25),
        np.tile(np.float32([0.5, 0.5, 0.4]), (9, 1)), anchor=None, seed=0, on_step=lambda step, steps: None,
    )  # fmt: skip
    assert edit.edited_THWC.shape == (9, 32, 32, 3)
    assert np.isfinite(edit.edited_THWC).all()
    names = {path.name for path in bundle.parent.iterdir()}
    assert {"speech.pt", "text.pt", "vae.pt", "dit.pt", "vae_000002.png", "latents_train", "dit.jsonl"} <= names
    assert all(json.loads(line)["loss"] > 0 for line in (bundle.parent / "dit.jsonl").read_text().splitlines())
    said = capsys.readouterr().out
    assert "autoencoder, step 2" in said
    assert "transformer, step 2, unseen" in said

    # Everything is there: the second run trains nothing and writes the same bundle.
    before = (bundle.parent / "dit.jsonl").read_text()
    assert read_bundle(loop.train(small)).digest == found.digest
    assert (bundle.parent / "dit.jsonl").read_text() == before


def test_latents_have_unit_spread(small):
    bundle = read_bundle(loop.train(small))
    vae = bundle.load_into("vae", VideoVAE(tiny.VAE))
    with np.load(bundle.path.parent / "latents_train" / "reels_0000.npz") as data:
        latent, speech = data["latent"].astype(np.float32), data["speech"]
    assert latent.shape == (2, 4, 16, 3, 4, 4)
    assert speech.shape == (2, 4, 9, 2, 16)
    assert latent.std(axis=(0, 1, 3, 4, 5)) == pytest.approx(1, abs=0.2)
    assert latent.mean(axis=(0, 1, 3, 4, 5)) == pytest.approx(0, abs=0.2)
    assert vae.latent_std.min() > 0


def test_every_caption_of_a_style_is_known_to_the_transformer():
    texts = loop.encode_captions(tiny.networks()["text"])
    rng = np.random.default_rng(0)
    for style, forms in enumerate(CAPTIONS.values()):
        known = loop._worded(forms)
        assert len(texts[style]) == len(known) > 5 * len(loop.WORDS)
        asked = [caption(list(CAPTIONS)[style], rng, word) for word in loop.WORDS for _ in range(20)]
        assert {*asked, *(text.rstrip(".") for text in asked)} <= set(known)


def test_a_fresh_transformer_leaves_the_source():
    dit = fresh(MINI)
    assert not dit.head.out.weight.any()
    assert dit.config == loop.MINI
    for block in dit.blocks:
        shift, scale, gate = block.modulation[0].unflatten(0, (2, 3)).unbind(1)
        assert (gate == 1).all()
        assert not shift.any()
        assert not scale.any()


def test_the_shipped_configuration_is_complete():
    path = Path(loop.__file__).parents[2] / "configs" / "mini.toml"
    config = loop._read(path)
    assert config == tomllib.loads(path.read_text(encoding="utf-8"))
    ObjectiveOptions(**config["dit"]["objective"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("out = ", "no valid TOML"),
        ("seed = 1", "lacks out, corpus, reels"),
        (CONFIG.replace("lr", "rate"), "lacks speech.lr"),
        ("out = 'o'\nseed = 1\n[omnisink]\nsteps = 1", "has unknown omnisink"),
        ("out = 'o'\nseed = 1\n[omnisync]\n[latentsync]", "latentsync and omnisync, which are trainings of their own"),
        ("out = 3\nseed = 1\n[omnisync]", "out must be the name of a folder, got 3"),
        ("out = 'o'\nseed = 'one'\n[omnisync]", "seed must be a whole number from 0, got 'one'"),
        (re.sub("lr = .*", "lr = nan", CONFIG), r"\.lr must be a number above 0, got nan"),
    ],
)
def test_configurations_that_are_refused(tmp_path, text, words):
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        loop.train(path)
    with pytest.raises(InputError, match="no such file"):
        loop.train(tmp_path / "absent.toml")
    with pytest.raises(InputError, match="cannot be read"):
        loop.train(tmp_path)


@pytest.mark.parametrize(
    ("table", "words"),
    [("omnisync = 3", r"\[omnisync\] must be a table"), ("latentsync = 3", r"\[latentsync\] must be a table")],
)
def test_a_training_that_is_no_table(tmp_path, table, words):
    path = tmp_path / "bad.toml"
    path.write_text(f"out = '{tmp_path / 'out'}'\nseed = 1\n{table}", encoding="utf-8")
    with pytest.raises(InputError, match=words):
        loop.train(path)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("no space\nleft")])
def test_what_cannot_be_written_is_one_line(tmp_path, monkeypatch, error):
    def full(*_):
        raise error

    monkeypatch.setattr(loop, "train_sized", full)
    path = tmp_path / "a.toml"
    path.write_text(f"out = '{tmp_path / 'out'}'\nseed = 1\n[omnisync]", encoding="utf-8")
    with pytest.raises(OutputError, match=r"cannot go on \(.*[Nn]o space.*what it saved stays") as said:
        loop.train(path)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    ("table", "words"),
    [("[dit.objective]\narbitrary = 1.0", "dit.objective has unknown arbitrary"),
     ("[dit.objective]\ntau_least = 'low'", "dit.objective.tau_least must be a finite number"),
     ("[sampling.guidance]\nw = 1.0", "sampling.guidance has unknown w"),
     ("[sampling.guidance]\nw_peak = -1.0", "w_peak must be a number within")],
)  # fmt: skip
def test_tables_within_tables_that_are_refused(tmp_path, table, words):
    before, _, after = CONFIG.partition(table.partition("\n")[0])
    text = f"{before}{table}\n" + after.split("\n", 2)[2]
    path = tmp_path / "bad.toml"
    path.write_text(text.format(out=(tmp_path / "out").as_posix()), encoding="utf-8")
    with pytest.raises(InputError, match=words):
        loop.train(path)


def test_an_out_that_is_a_file_stays(tmp_path):
    path, out = tmp_path / "a.toml", tmp_path / "out"
    path.write_text(f"out = '{out}'\nseed = 1\n[omnisync]", encoding="utf-8")
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot make the folder"):
        loop.train(path)
    assert out.read_text(encoding="utf-8") == "mine"
