"""What the transformer learns from: which pairs, which noise, which error; and that batches go where the model is."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from omnisync_core.models.dit import DiT, precondition
from omnisync_core.models.vae import VideoVAE
from omnisync_core.training.autoencoder import AutoencoderTraining, autoencoder_loss
from omnisync_core.training.encoders import SpeechReader, caption_loss, speech_loss
from omnisync_core.training.objective import ObjectiveOptions, cut_pieces, draw_batch, flow_loss
from omnisync_core.training.reels import CLIPS, POSE_A
from tests import tiny

REELS, FRAMES = 3, 9
TEXTS = {style: [np.full((4, 8), style + 1, np.float32)] for style in range(3)}


def latent_shard() -> dict[str, np.ndarray]:
    """Every clip's latents, speech and mouth hold the clip's number: 10 * reel + clip; styles differ by clip."""
    number = 10.0 * np.arange(REELS)[:, None] + np.arange(CLIPS)
    shape = (REELS, CLIPS)

    def spread(*size):
        return np.broadcast_to(number.reshape(*shape, *[1] * len(size)), (*shape, *size)).astype(np.float32)

    mouth = np.broadcast_to(np.float32([0.5, 0.5, 0.4]), (*shape, FRAMES, 3))
    return {
        "latent": spread(16, 3, 4, 4), "speech": 1 + spread(FRAMES, 2, 16), "mouth": mouth,
        "style": np.broadcast_to(np.arange(CLIPS) % 3, shape), "scene": np.arange(REELS),
    }  # fmt: skip


def drawn(options: ObjectiveOptions, batch=400, seed=0) -> dict[str, torch.Tensor]:
    return draw_batch([latent_shard()], TEXTS, batch, options, np.random.default_rng(seed))


def clips(batch: dict, key: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Reel and clip of every sample."""
    number = batch[key].flatten(1)[:, 0].round().long()
    return number // 10, number % 10


@pytest.mark.parametrize("share", [0.0, 0.12, 1.0])
def test_pairs_depend_on_the_noise(share):
    batch = drawn(ObjectiveOptions(arbitrary_share=share), 1000)
    (reel, target), (source_reel, source) = clips(batch, "target"), clips(batch, "source")
    assert (reel == source_reel).all()
    assert (target != source).all()
    across = (target >= POSE_A) | (source >= POSE_A)
    high = batch["sigma"] > 0.85
    assert not across[high].any()
    assert across[~high].float().mean().item() == pytest.approx(share, abs=0.05)
    if share:
        assert (target[across] >= POSE_A).any()
        assert (source[across] >= POSE_A).any()


def test_pairs_that_do_not_depend_on_the_noise():
    batch = drawn(ObjectiveOptions(arbitrary_share=1.0, pair_threshold=1.0), 400)
    (_, target), (_, source) = clips(batch, "target"), clips(batch, "source")
    assert ((target >= POSE_A) | (source >= POSE_A)).all()
    assert (batch["sigma"] > 0.85).float().mean().item() == pytest.approx(0.5, abs=0.08)


def test_sound_mouth_and_words_are_the_targets():
    batch = drawn(ObjectiveOptions(joint_dropout=0.0, speech_dropout=0.0, text_dropout=0.0, arbitrary_share=1.0))
    reel, target = clips(batch, "target")
    assert torch.equal(batch["speech"][:, 0, 0, 0], (1 + 10 * reel + target).float())
    assert torch.equal(batch["text"][:, 0, 0], (target % 3 + 1).float())


def test_dropout_empties_whole_conditions():
    batch = drawn(ObjectiveOptions(joint_dropout=0.2, speech_dropout=0.3, text_dropout=0.6), 1500)
    empty = {key: (batch[key].flatten(1) == 0).float().mean(1) for key in ("speech", "text")}
    for key, share in (("speech", 0.2 + 0.8 * 0.3), ("text", 0.2 + 0.8 * 0.6)):
        assert set(empty[key].tolist()) == {0.0, 1.0}
        assert empty[key].mean().item() == pytest.approx(share, abs=0.05)
    both = (empty["speech"] * empty["text"]).mean().item()
    assert both == pytest.approx(0.2 + 0.8 * 0.3 * 0.6, abs=0.05)


def test_noise_levels_and_starts():
    batch = drawn(ObjectiveOptions(high_noise_share=0.5, start_share=0.7, tau_least=0.85), 2000)
    sigma, tau = batch["sigma"], batch["tau"]
    assert (sigma > 0).all()
    assert (sigma <= 1).all()
    assert (tau >= sigma).all()
    assert (tau <= 1).all()
    assert (sigma > 0.85).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert sigma[sigma <= 0.85].mean().item() == pytest.approx(0.425, abs=0.03)
    assert (tau == 1).float().mean().item() == pytest.approx(0.3, abs=0.06)
    assert (tau >= 0.85).all()


def test_draws_follow_the_seed():
    first, again, other = (drawn(ObjectiveOptions(), 8, seed) for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["sigma"], other["sigma"])


class Told(nn.Module):
    """A model that answers by a function and keeps what it was asked."""

    def __init__(self, answer, std=None):
        super().__init__()
        self.answer, self.config = answer, SimpleNamespace(residual_std=std)
        self.anchor = nn.Parameter(torch.zeros(()))

    def forward(self, x, sigma, source, speech, text):
        self.x = x
        return self.answer(x, sigma) + self.anchor


def plain_batch(rows=6, seed=0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    sigma = torch.linspace(0.1, 0.98, rows)
    return {
        "target": torch.randn(rows, 16, 3, 4, 4), "source": torch.randn(rows, 16, 3, 4, 4),
        "speech": torch.randn(rows, FRAMES, 2, 16), "text": torch.randn(rows, 4, 8),
        "mouth": torch.tensor([0.5, 0.5, 0.4]).expand(rows, FRAMES, 3), "sigma": sigma,
        "tau": torch.maximum(sigma, torch.full((rows,), 0.9)),
    }  # fmt: skip


def level(value: torch.Tensor) -> torch.Tensor:
    return value.reshape(-1, 1, 1, 1, 1)


def test_a_velocity_that_points_at_the_target_has_no_error():
    batch = plain_batch()
    losses = flow_loss(Told(lambda x, sigma: (x - batch["target"]) / level(sigma)), batch, ObjectiveOptions())
    assert losses["loss"].item() < 1e-8
    assert losses["mouth_high"].item() < 1e-8
    assert losses["mouth_low"].item() < 1e-8


@pytest.mark.parametrize("std", [None, 0.5])
def test_the_error_is_counted_in_units_of_what_differs(std):
    """A miss of one such unit costs 1 at every noise level; the mouth's are in units of the best guess's error."""
    batch, unit = plain_batch(), std or 1.0
    _, gain = precondition(batch["sigma"], unit, batch["target"])

    def missed(by):
        return flow_loss(Told(lambda x, s: (x - batch["target"] - by) / level(s), std), batch, ObjectiveOptions())

    assert missed(unit)["loss"].item() == pytest.approx(1, rel=1e-4)
    assert [missed(gain)[name].item() for name in ("mouth_high", "mouth_low")] == pytest.approx([1, 1], rel=1e-4)


def test_an_error_at_the_mouth_costs_more():
    batch = plain_batch()
    costs = {}
    for name, at in (("mouth", (2, 2)), ("corner", (0, 0))):
        place = torch.zeros(4, 4)
        place[at] = 1

        def answer(x, sigma, place=place):
            return (x - batch["target"] - place) / level(sigma)

        losses = flow_loss(Told(answer), batch, ObjectiveOptions(mouth_weight=8.0))
        costs[name] = losses["loss"].item()
        even = flow_loss(Told(answer), batch, ObjectiveOptions(mouth_weight=0.0))["loss"].item()
        assert even == pytest.approx(1 / 16, rel=1e-4)
    assert costs["mouth"] > 2 * costs["corner"] > 0


def test_the_path_leads_from_progressive_noise_to_the_target():
    rows = 400
    sigma, tau = torch.full((rows,), 0.45), torch.full((rows,), 0.9)
    batch = {**plain_batch(rows), "sigma": sigma, "tau": tau}
    model = Told(lambda x, sigma: x)
    flow_loss(model, batch, ObjectiveOptions())
    # Halfway: half the target, half of (0.1 source + 0.9 noise).
    noise = (model.x - 0.5 * batch["target"] - 0.05 * batch["source"]) / 0.45
    assert noise.mean().abs() < 0.01
    assert noise.std().item() == pytest.approx(1, abs=0.01)
    assert abs(torch.corrcoef(torch.stack([noise.flatten(), batch["source"].flatten()]))[0, 1]) < 0.02


def test_at_tau_one_it_is_the_papers_path():
    batch = {**plain_batch(400), "tau": torch.ones(400)}
    model = Told(lambda x, sigma: x)
    flow_loss(model, batch, ObjectiveOptions())
    noise = (model.x - (1 - level(batch["sigma"])) * batch["target"]) / level(batch["sigma"])
    assert noise.std().item() == pytest.approx(1, abs=0.01)


def test_without_high_noise_in_the_batch_its_figure_is_no_number():
    batch = plain_batch()
    batch["sigma"], batch["tau"] = torch.full((6,), 0.3), torch.ones(6)
    losses = flow_loss(Told(lambda x, sigma: x), batch, ObjectiveOptions())
    assert torch.isnan(losses["mouth_high"])
    assert torch.isfinite(losses["loss"])
    assert torch.isfinite(losses["mouth_low"])


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    dit = tiny.stirred(DiT(tiny.DIT))
    flow_loss(dit, plain_batch(), ObjectiveOptions())["loss"].backward()
    assert not [name for name, parameter in dit.named_parameters() if parameter.grad is None]


class Captions(nn.Module):
    """Reads nothing; its parameters say where it is."""

    def __init__(self, device):
        super().__init__()
        self.level = nn.Parameter(torch.zeros((), device=device))

    def forward(self, captions):
        return self.level.expand(len(captions))


def losses_on(device: str):
    """Every loss of a training, its batch made on the CPU and its network elsewhere."""
    captions = Captions(device)
    yield flow_loss(DiT(tiny.DIT, device=device), plain_batch(), ObjectiveOptions())
    vae = AutoencoderTraining(VideoVAE(tiny.VAE, device=device))
    yield autoencoder_loss(vae, torch.rand(2, 3, 5, 16, 16), torch.tensor([0.5, 0.5, 0.4]).expand(2, 5, 3))
    reader = SpeechReader(tiny.WHISPER).to(device)
    yield speech_loss(reader, torch.randn(2, 80, 120), torch.rand(2, 60, 5))
    yield caption_loss(captions, 4, np.random.default_rng(0))


def test_batches_go_where_the_model_is():
    """The meta device stands for any accelerator: a tensor left behind on the CPU is an error there too."""
    for losses in losses_on("meta"):
        assert losses["loss"].device.type == "meta"
    for losses in losses_on("cpu"):
        assert torch.isfinite(losses["loss"])


def test_options_are_values():
    assert replace(ObjectiveOptions(), arbitrary_share=1.0) != ObjectiveOptions()


def test_pieces_hold_the_mouth_where_it_was():
    """Latents that hold their own column and row: a piece's values say where it was cut, its mouth must move along."""
    side, piece, count = 12, 8, 50
    rng = np.random.default_rng(0)
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    latent = torch.stack([column, row]).float()[None, :, None].expand(count, 2, 3, side, side)
    mouth = torch.as_tensor(rng.uniform([0.3, 0.3, 0.3], [0.7, 0.7, 0.5], (count, 1, 3))).float().expand(count, 9, 3)
    whole = {"target": latent, "source": latent + 100, "mouth": mouth, "sigma": torch.ones(count)}
    cut = cut_pieces(whole, piece, rng)
    assert cut["target"].shape == (count, 2, 3, piece, piece)
    assert torch.equal(cut["source"], cut["target"] + 100)
    assert torch.equal(cut["sigma"], whole["sigma"])
    corner = cut["target"][:, :, 0, 0, 0]
    assert len(corner.unique(dim=0)) > 5
    assert (corner >= 0).all()
    assert (corner <= side - piece).all()
    there = cut["mouth"][:, 0, :2] * piece + corner
    assert torch.allclose(there, mouth[:, 0, :2] * side, atol=1e-5)
    assert torch.allclose(cut["mouth"][..., 2] * piece, mouth[..., 2] * side, atol=1e-5)
    assert ((cut["mouth"][..., :2] > 0) & (cut["mouth"][..., :2] < 1)).all()
    assert torch.equal(whole["mouth"], mouth)
