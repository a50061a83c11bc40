"""The judge of patches: who learns from which loss, and that it learns to tell noise from what was drawn."""

import torch

from omnisync_core.training.adversary import Adversary, adversary_losses, balance


def videos(seed=0):
    torch.manual_seed(seed)
    drawn = torch.nn.functional.interpolate(torch.rand(2, 3, 5, 4, 4), (5, 32, 32)) * 2 - 1
    return (drawn + 0.3 * torch.randn_like(drawn)).requires_grad_(True), drawn


def test_what_passes_teaches_the_video_alone_and_what_tells_the_judge_alone():
    made, drawn = videos()
    judge = Adversary(8)
    losses = adversary_losses(judge, made, drawn)
    losses["passes"].backward(retain_graph=True)
    assert made.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in judge.parameters())
    made.grad = None
    losses["tells"].backward()
    assert made.grad is None
    assert all(parameter.grad.abs().sum() > 0 for parameter in judge.parameters())


def test_it_learns_to_tell():
    judge = Adversary(8)
    optimiser = torch.optim.AdamW(judge.parameters(), 2e-3)
    for step in range(60):
        losses = adversary_losses(judge, *videos(step))
        optimiser.zero_grad()
        losses["tells"].backward()
        optimiser.step()
    made, drawn = videos(1000)
    with torch.no_grad():
        assert judge(drawn).mean() > judge(made).mean() + 0.5


def test_two_losses_pull_alike_after_balancing():
    video = torch.randn(2, 3, 4, 8, 8, requires_grad=True)
    strong, weak = 100 * video.square().mean(), (0.01 * video**3).mean()
    (pull,) = torch.autograd.grad(balance(strong, weak, video) * weak, video, retain_graph=True)
    (wanted,) = torch.autograd.grad(strong, video)
    torch.testing.assert_close(pull.norm(), wanted.norm())
