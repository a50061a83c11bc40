"""What SyncNet is trained on and with, and why a loss of 0.693 means that it has learnt nothing."""

import numpy as np
import pytest
import torch
from torch import nn

from omnisync_core.errors import InputError
from omnisync_core.training.latentsync.contrastive import (
    STUCK,
    Crossed,
    Pairs,
    contrastive_loss,
    cosine_loss,
    crossed_loss,
    draw_pairs,
)
from omnisync_core.training.latentsync.syncnet import StableSyncNet, SyncNetConfig, TowerConfig
from tests.training.latentsync import known


def vectors(cosine: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs of unit vectors with these cosines."""
    one = torch.tensor([1.0, 0.0]).expand(len(cosine), 2)
    return one, torch.stack([cosine, (1 - cosine.square()).sqrt()], 1)


def mean_loss(cosine_of_true: torch.Tensor, cosine_of_false: torch.Tensor) -> float:
    matched = torch.cat([torch.ones(len(cosine_of_true)), torch.zeros(len(cosine_of_false))])
    return float(cosine_loss(*vectors(torch.cat([cosine_of_true, cosine_of_false])), matched).mean())


def test_who_guesses_pays_ln_2():
    guesses = torch.linspace(0.02, 0.98, 97)
    paid = [mean_loss(guess[None], guess[None]) for guess in guesses]
    assert min(paid) == pytest.approx(STUCK, abs=1e-4) == pytest.approx(0.693, abs=2e-4)
    assert guesses[int(np.argmin(paid))] == pytest.approx(0.5)


def test_who_does_not_listen_pays_at_least_that():
    """Whatever is answered, if it is the same for true and false: ln s + ln (1 - s) is largest at 1/2."""
    torch.manual_seed(0)
    for _ in range(20):
        answers = torch.rand(200).clamp(0.001, 0.999)
        assert mean_loss(answers, answers) > STUCK


def test_a_deaf_network_pays_at_least_that():
    torch.manual_seed(0)
    network, faces = known.syncnet(), torch.randn(6, 4, 3, 32, 32)
    losses = []
    for matched in (0.0, 1.0):
        pairs = Pairs(faces, torch.zeros(6, 1, 80, 52), torch.full((6,), matched))
        losses.append(float(contrastive_loss(network, pairs)["loss"]))
    assert sum(losses) / 2 >= STUCK


def test_who_knows_pays_nothing_and_who_is_sure_and_wrong_a_hundred():
    sure = torch.tensor([1.0, 0.0])
    assert cosine_loss(*vectors(sure), torch.tensor([1.0, 0.0])).max() < 1e-5
    assert cosine_loss(*vectors(sure), torch.tensor([0.0, 1.0])).tolist() == [100, 100]


def test_rounding_beyond_one_is_no_error():
    one = torch.full((1, 7), 7**-0.5) * (1 + 3e-7)
    assert cosine_loss(one, one, torch.ones(1)).item() == pytest.approx(0, abs=1e-5)


def test_all_against_all_is_the_same_question():
    """Of two faces and three sounds: the loss of the true weighs half, whatever is not asked does not count."""
    network, (one, two) = known.syncnet(), torch.randn(2, 4, 3, 32, 32)
    mels = torch.randn(3, 1, 80, 52)
    asked = torch.tensor([[1.0, 0, float("nan")], [0, 1, 0]])
    losses = crossed_loss(network, Crossed(torch.stack([one, two]), mels, asked))
    pairs = [(one, 0, 1.0), (two, 1, 1.0), (one, 1, 0.0), (two, 0, 0.0), (two, 2, 0.0)]
    paid = [
        contrastive_loss(network, Pairs(face[None], mels[sound : sound + 1], torch.tensor([matched])))
        for face, sound, matched in pairs
    ]
    for name, of_all in (("loss", "pairs"), ("accuracy", "accuracy")):
        values = [float(row[name]) for row in paid]
        assert float(losses[of_all]) == pytest.approx(np.mean(values[:2]) / 2 + np.mean(values[2:]) / 2, abs=1e-5)


class Counted:
    """Faces and sounds that are the number of their frame."""

    length = 9

    def faces(self, first):
        return np.full((4, 3, 2, 2), first, np.float32)

    def mel(self, first):
        return np.full((80, 52), first, np.float32)


def test_pairs_are_what_they_are_said_to_be():
    pairs = draw_pairs([Counted()], 400, np.random.default_rng(0))
    seen, heard = pairs.faces_BFCHW[:, 0, 0, 0, 0], pairs.mel_B1MF[:, 0, 0, 0]
    assert torch.equal((seen == heard).float(), pairs.matched_B)
    assert 160 < pairs.matched_B.sum() < 240
    assert set(seen.tolist()) == set(heard.tolist()) == set(range(9))
    again = draw_pairs([Counted()], 400, np.random.default_rng(0))
    assert torch.equal(again.faces_BFCHW, pairs.faces_BFCHW)
    assert torch.equal(again.matched_B, pairs.matched_B)


def test_pictures_of_another_size_are_refused():
    with pytest.raises(InputError, match="16 x 128 down to 1 x 2, expected 1 x 1"):
        known.syncnet()(torch.zeros(1, 12, 16, 128), torch.zeros(1, 1, 80, 52))
    with pytest.raises(InputError, match="each of its 2 widths"):
        TowerConfig(1, (32, 64), ((2, 2),))


SMALL = SyncNetConfig(
    TowerConfig(1, (32, 32), ((4, 2), (2, 2)), groups=4), TowerConfig(12, (32, 32), ((2, 4), (2, 2)), groups=4),
    frames=4, resolution=8,
)  # fmt: skip
PATTERNS_2F = torch.tensor([[1.0, 1, -1, -1], [1.0, -1, 1, -1]])


def toy(batch: int, hears: bool) -> Pairs:
    """How a mouth opens is how bright its four frames are and how loud they sound; or the sound tells nothing of it."""
    opening = torch.rand(batch, 2, 1)
    matched = torch.randint(0, 2, (batch,)).float()
    shown = torch.where(matched[:, None, None] > 0, opening, (opening + 0.5) % 1)
    heard = opening if hears else torch.rand_like(opening)
    seen_BF, loud_BF = ((level * 4 - 2).mul(PATTERNS_2F).sum(1) for level in (shown, heard))
    faces = seen_BF[:, :, None, None, None].repeat(1, 1, 3, 8, 8)
    return Pairs(faces, loud_BF[:, None, None].repeat(1, 1, 8, 1), matched)


def learn(hears: bool, steps: int = 120) -> dict[str, float]:
    """Means of the last steps."""
    torch.manual_seed(4)
    network, course = StableSyncNet(SMALL), []
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3)
    for _ in range(steps):
        losses = contrastive_loss(network, toy(32, hears))
        optimiser.zero_grad()
        losses["loss"].backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        course.append([float(losses[name]) for name in ("loss", "accuracy")])
    loss, accuracy = np.mean(course[-20:], 0)
    return {"loss": loss, "accuracy": accuracy}


def test_it_learns_what_can_be_heard():
    figures = learn(hears=True)
    assert figures["loss"] < 0.35
    assert figures["accuracy"] > 0.88


def test_it_is_stuck_where_nothing_can_be_heard():
    figures = learn(hears=False)
    assert figures["loss"] > STUCK - 0.02
    assert abs(figures["accuracy"] - 0.5) < 0.1
