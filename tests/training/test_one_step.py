"""From a bundle of many steps to one of a single step, on stubs; and the loss where its value is known."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from omnisync_core.audio import ArrayWave
from omnisync_core.checkpoint import read_bundle, write_bundle
from omnisync_core.engines.omnisync import load_engine
from omnisync_core.errors import InputError
from omnisync_core.synth.speech import Corpus, build_corpus
from omnisync_core.training import loop, one_step
from omnisync_core.training.encoders import SpeechReader, fit_head
from omnisync_core.training.generator import (
    Generator,
    GeneratorOptions,
    channel_weights,
    corners,
    cut,
    latent_losses,
    pixel_loss,
    sync_figure,
)
from omnisync_core.training.latents import as_video
from omnisync_core.training.latentsync.drawn import as_faces, lower_halves
from omnisync_core.training.latentsync.losses import sync_loss
from omnisync_core.training.latentsync.syncnet import SMALL, StableSyncNet
from tests import tiny
from tests.fake import edit_alone
from tests.training.stub import HEAD, utterances, write_shard

# The rate is large: two steps are within the warm-up, and half precision must show them.
CONFIG = (
    "seed = 1"
    + HEAD
    + """[generator]
init = "{init}"
syncnet = "{syncnet}"
[[generator.parts]]
steps = {decoder_steps}
batch = 2
decoded = 2
lr = 0.2
objective = {{ piece = 2, plain_share = 1.0, latent_weight = 0.0 }}
[[generator.parts]]
steps = 2
batch = 2
decoded = 1
decoder_interpolation = {decoder_kept}
lr = 0.2
[generator.parts.objective]
piece = 2
plain_share = 0.0
adversary_weight = 0.3
sync_weight = {sync_weight}
latent_weight = {latent_weight}
[[generator.parts]]
steps = {latent_steps}
batch = 2
decoded = 0
lr = 0.2
objective = {{ latent_piece = 2 }}
{speech}
[sampling]
steps = 1
tau = 0.9
[sampling.guidance]
w_peak = 1.0
"""
)


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Trains with the given weight of the latents; returns the bundles before and after."""
    before = tmp_path / "before.safetensors"
    write_bundle(before, tiny.networks(), tiny.CONFIG, dtype=torch.float32)
    monkeypatch.setattr(loop, "_corpora", lambda config, work: {"train": utterances(), "test": utterances()})
    monkeypatch.setattr(one_step, "SHEET_CLIPS", 8)

    def write_reels(options, count, workers):
        return [write_shard(Path(options.out) / "reels_0000.npz", reels=count)]

    monkeypatch.setattr(one_step, "write_reels", write_reels)

    def run(latent_weight: float, speech: str = "", syncnet: str = "", *, decoder_kept: float = 1):
        path, out = tmp_path / "config.toml", tmp_path / "run"
        values = {"out": out.as_posix(), "init": before.as_posix(), "latent_weight": latent_weight, "speech": speech}
        values |= {"latent_steps": int(latent_weight > 0), "syncnet": syncnet, "sync_weight": 0.5 * bool(syncnet)}
        values |= {"decoder_kept": decoder_kept, "decoder_steps": int(decoder_kept)}
        path.write_text(CONFIG.format(**values), encoding="utf-8")
        return read_bundle(before), read_bundle(loop.train(path))

    return run


def changed(before: dict, after: dict) -> set[str]:
    """Names of tensors that are new or differ by more than half precision does."""
    return {name for name, value in after.items() if name not in before or (before[name] - value).abs().max() > 1e-3}


def test_the_decoder_learns_alone_where_latents_do_not_count(trained):
    before, after = trained(0.0)
    assert not changed(before.tensors["dit"], after.tensors["dit"])
    moved = changed(before.tensors["vae"], after.tensors["vae"])
    assert moved
    assert all(name.startswith("decoder.") for name in moved)
    assert after.config["vae"]["skips"] is True


def test_transformer_and_decoder_learn_together(trained):
    before, after = trained(1.0)
    assert changed(before.tensors["dit"], after.tensors["dit"])
    assert changed(before.tensors["vae"], after.tensors["vae"])
    assert not changed(before.tensors["whisper"], after.tensors["whisper"])


def test_a_decoder_may_learn_beside_the_transformer_and_be_left_behind(trained):
    before, after = trained(1.0, decoder_kept=0)
    assert changed(before.tensors["dit"], after.tensors["dit"])
    new = after.tensors["vae"].keys() - before.tensors["vae"].keys()
    assert changed(before.tensors["vae"], after.tensors["vae"]) == new
    assert '"pixels"' in (after.path.parent / "generator_1.jsonl").read_text()


def test_the_encoder_of_sound_learns_on_where_it_is_asked_to(trained):
    before, after = trained(0.0, "[speech]\nsteps = 2\nbatch = 2\nlr = 0.2")
    assert changed(before.tensors["whisper"], after.tensors["whisper"])
    assert not changed(before.tensors["text"], after.tensors["text"])


def test_a_syncnet_counts_where_it_is_given(trained, tmp_path):
    torch.manual_seed(0)
    save_file(StableSyncNet(SMALL).state_dict(), tmp_path / "stable_syncnet.safetensors")
    with pytest.raises(InputError, match=r"tensors are missing .*the file belongs to another model"):
        trained(1.0, syncnet=(tmp_path / "before.safetensors").as_posix())
    with pytest.raises(InputError, match="no such model file"):
        trained(1.0, syncnet="absent.pt")
    _, after = trained(1.0, syncnet=(tmp_path / "stable_syncnet.safetensors").as_posix())
    row = json.loads((after.path.parent / "generator_1.jsonl").read_text())
    assert 0 < row["sync"] < 2
    assert not any("syncnet" in key for key in after.tensors["dit"] | after.tensors["vae"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": -1}, "part 2 of generator.parts: steps must be a whole number from 0, got -1"),
        ({"batch": 2.5}, "batch must be a whole number from 1, got 2.5"),
        ({"batch": 4, "decoded": 5}, "decoded must be at most the batch of 4, got 5"),
        ({"decoded": "all"}, "decoded must be a whole number from 0, got 'all'"),
        ({"seed": -1}, "seed must be a whole number from 0, got -1"),
        ({"lr": 0}, "lr must be a number above 0, got 0"),
        ({"interpolation": 1.5}, "interpolation must be a number from 0 to 1, got 1.5"),
        ({"interpolation": "half"}, "interpolation must be a number from 0, got 'half'"),
        ({"compiled": 1}, "compiled must be true or false, got 1"),
        ({"decoder_interpolation": 2}, "decoder_interpolation must be a number from 0 to 1, got 2"),
        ({"step": 3}, "has unknown step"),
        ({"objective": 3}, "objective must be a table, got 3"),
        ({"objective": {"mouth": 3}}, "objective has unknown mouth; there are"),
        ({"objective": {"piece": 0}}, "objective.piece must be a number from 1, got 0"),
        ({"objective": {"truth_share": 1.5}}, "objective.truth_share must be from 0 to 1, got 1.5"),
        ({"objective": {"sync_weight": 0.1}}, "sync_weight needs a SyncNet's file, generator.syncnet"),
    ],
)
def test_parts_that_are_refused(change, words):
    part = {"steps": 1, "batch": 2, "decoded": 1, "lr": 0.1}
    one_step.check_generator({"parts": [part]})
    with pytest.raises(InputError, match=re.escape(words)) as refused:
        one_step.check_generator({"parts": [part, part | change]})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "table", [{"parts": []}, {"parts": [3]}, {"parts": [{}]}, {"init": 3, "parts": [{}]}, {"x": 1}]
)
def test_generators_that_are_refused(table):
    with pytest.raises(InputError, match="generator"):
        one_step.check_generator(table)


def test_a_piece_larger_than_the_crops_is_refused(trained, monkeypatch):
    monkeypatch.setitem(globals(), "CONFIG", CONFIG.replace("piece = 2", "piece = 5"))
    with pytest.raises(InputError, match=r"objective\.piece must be at most 4, .* got 5"):
        trained(1.0)


def test_sync_is_latentsync_s_own_loss_and_falls_along_its_gradient():
    """Of pieces in the target's frames, seen as a SyncNet of drawn characters sees faces; what was not heard is out."""
    torch.manual_seed(1)
    model = Generator(*(tiny.networks()[part] for part in ("dit", "vae")))
    model.syncnet = StableSyncNet(SMALL).requires_grad_(False)
    side, at = 64, [(8, 30), (20, 24), (0, 0)]
    frames = torch.randint(0, 256, (3, 17, 96, 96, 3), dtype=torch.uint8)
    batch = {
        "target_frames": frames, "mouth": torch.tensor([0.45, 0.55, 0.4]).expand(3, 17, 3),
        "sync_frames": torch.arange(12).expand(3, 12) + torch.tensor([[0], [5], [2]]),
        "mel": torch.randn(3, 1, 80, SMALL.mel_frames), "heard": torch.tensor([1.0, 1.0, 0.0]),
    }  # fmt: skip
    own = cut(as_video(frames), at, side)
    found = sync_figure(model, own, batch, at)
    pictures = [frames[row, first : first + 12].numpy() for row, first in ((0, 0), (1, 5))]
    halves = [lower_halves(shown, batch["mouth"][0, :12].numpy() * 96, SMALL.resolution) for shown in pictures]
    faces = as_faces(torch.as_tensor(np.stack(halves)).permute(0, 1, 4, 2, 3) / 127.5 - 1)
    assert float(found) == pytest.approx(float(sync_loss(model.syncnet, faces, batch["mel"][:2])), abs=1e-3)

    result = (0.5 * own).requires_grad_()
    before = sync_figure(model, result, batch, at)
    (slope,) = torch.autograd.grad(before, result)
    assert (slope[:2].flatten(1).abs().amax(1) > 0).all()
    assert not slope[2].any()
    after = sync_figure(model, (result - 0.05 * slope / slope.abs().max()).detach(), batch, at)
    assert after < before


def test_the_encoder_of_sound_also_hears_voices_that_are_drawn_once(monkeypatch, tmp_path):
    pytest.importorskip("espeakng_loader")
    build_corpus(3, "train", 0, 1.0, 2, tmp_path / "corpus_train.npz")
    given = {}
    monkeypatch.setattr(one_step, "train_reader", lambda reader, corpora, *rest: given.update(corpora))
    for split, extra in (("train", {"drawn_voices": 2}), ("again", {"drawn_voices": 2}), ("own", {})):
        config = {"seed": 0, "corpus": {"seconds": 1.0, "workers": 2}, "speech": extra}
        corpora = {"train": Corpus(tmp_path / "corpus_train.npz")}
        one_step._hear_on(config, tmp_path, tiny.networks()["whisper"], corpora)
        voices = [said.voice.partition("+")[2] for said in given["train"]]
        assert len(voices) == 3 + len(extra) * 2, split
        assert voices[3:] == ["drawn1000000", "drawn1000001"][: 2 * len(extra)]


def test_a_head_reads_what_lies_in_the_features():
    torch.manual_seed(0)
    reader = SpeechReader(tiny.CONFIG["whisper"])
    mel = torch.randn(12, 80, 2 * tiny.CONFIG["whisper"]["max_source_positions"])
    with torch.no_grad():
        target = reader(mel)
        reader.head.weight.zero_()
        fit_head(reader, mel, target)
        assert (reader(mel) - target).abs().mean() < 0.1 * target.abs().mean()


def test_the_engine_looks_at_the_source_and_takes_it_as_reference(trained):
    _, after = trained(0.0)
    engine = load_engine(after.path, device="cpu", dtype="float32")
    assert engine.sampling.steps == 1
    frames = np.random.default_rng(0).uniform(0, 1, (9, 32, 32, 3)).astype(np.float32)
    speech = engine.speech(ArrayWave(np.zeros(16000, np.float32))).at(np.arange(9) / 25)
    edit = edit_alone(engine, frames, speech, np.tile(np.float32([0.5, 0.5, 0.4]), (9, 1)))
    assert np.array_equal(edit.reference_THWC, frames)
    assert edit.edited_THWC.shape == frames.shape


def test_pieces_hold_the_mouth_and_stay_inside():
    mouths = torch.tensor([[0.5, 0.5, 0.3], [0.02, 0.98, 0.3]])[:, None].expand(-1, 5, -1)
    rng = np.random.default_rng(0)
    for _ in range(20):
        (x, y), (left, bottom) = corners(mouths, 16, 8, rng)
        assert 0 <= x <= 8
        assert 0 <= y <= 8
        assert left == 0
        assert bottom == 8


def test_a_piece_is_what_lies_there():
    x = torch.arange(2 * 16 * 16.0).reshape(2, 1, 1, 16, 16)
    first, second = cut(x, [(3, 5), (0, 8)], 4)
    assert torch.equal(first, x[0, :, :, 5:9, 3:7])
    assert torch.equal(second, x[1, :, :, 8:12, 0:4])


def test_a_right_picture_costs_nothing_and_a_flicker_more_than_a_shift():
    torch.manual_seed(0)
    target, mouth = torch.rand(1, 3, 5, 16, 16), torch.tensor([[[0.5, 0.5, 0.4]]]).expand(1, 5, -1)
    options = GeneratorOptions()
    assert pixel_loss(target, target, mouth, options) == 0
    flicker = 0.1 * torch.tensor([1.0, -1, 1, -1, 1])[:, None, None]
    shifted, flickering = (pixel_loss(target + by, target, mouth, options) for by in (0.1, flicker))
    assert flickering > 1.5 * shifted


def test_a_channel_weighs_as_much_as_it_shows():
    """A decoder that paints the first channel twice as bright as the second and leaves the rest out."""
    model = Generator(*(tiny.networks()[part] for part in ("dit", "vae")))
    model.decode = lambda latent, source: 2 * latent[:, :1] + latent[:, 1:2]
    channels = model.dit.config.latent_channels
    batch = {
        "target": torch.randn(2, channels, 3, 8, 8), "mouth": torch.tensor([0.5, 0.5, 0.4]).expand(2, 3, 3),
        "source_frames": torch.zeros(2, 3, 8, 8, 3),
    }  # fmt: skip
    weights = channel_weights(model, batch)
    assert torch.allclose(weights, channels * torch.tensor([0.8, 0.2] + [0.0] * (channels - 2)), atol=1e-5)

    model.channel_weights_C = weights
    batch |= {"source": torch.zeros_like(batch["target"]), "mouth": torch.tensor([0.5, 0.5, 0.4]).expand(2, 9, 3)}
    unseen = batch["target"].clone()
    unseen[:, 2:] += 1
    for name, loss in latent_losses(model, unseen, batch, 8.0).items():
        assert loss.abs() < 1e-9, name
    losses = latent_losses(model, batch["source"], batch, 8.0)
    assert losses["mouth"] == pytest.approx(1)


def test_a_part_can_go_only_so_far_towards_what_it_learned(monkeypatch, tmp_path):
    networks = tiny.networks()
    model = Generator(networks["dit"], networks["vae"])
    before = {key: value.clone() for key, value in model.state_dict().items()}

    def learn(name, work, model, loss_of, **options):
        with torch.no_grad():
            for value in model.parameters():
                value += 1
        return model

    monkeypatch.setattr(one_step, "run_stage", learn)
    part = {"steps": 1, "batch": 1, "decoded": 1, "lr": 0.1, "interpolation": 0.25}
    found = one_step._train_part("part", part, 0, tmp_path, model, {}, {}, lambda trained: tmp_path)
    for name, value in found.named_parameters():
        assert torch.allclose(value, before[name] + 0.25, atol=1e-5), name
