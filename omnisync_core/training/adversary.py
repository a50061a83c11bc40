"""A small judge of patches that learns to tell what was made from what was drawn, while the generator learns to pass.

Losses are relative (a made clip against its own truth) with the approximate gradient penalty of adversarial
post-training (Lin et al. 2025, equations 3 and 6): convolutions alone, one backward pass.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

PENALTY = 0.1
"""Weight of how much the score moves under a little noise."""


class Adversary(nn.Module):
    """Videos BCTHW in -1..1 to a score for every patch of every pair of frames; it sees a frame and what changes."""

    def __init__(self, width: int = 40) -> None:
        super().__init__()
        sizes = (6, width, 2 * width, 4 * width)
        self.convs = nn.ModuleList(nn.Conv2d(inner, outer, 4, stride=2, padding=1) for inner, outer in pairwise(sizes))
        self.outer = nn.Conv2d(sizes[-1], 1, 3, padding=1)

    def forward(self, video: Tensor) -> Tensor:
        frame, change = video[:, :, :-1], video.diff(dim=2)
        x = rearrange(torch.cat([frame, 4 * change], 1), "b c t h w -> (b t) c h w")
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.2)
        return self.outer(x)


def balance(loss: Tensor, other: Tensor, video: Tensor) -> Tensor:
    """What `other` is to be multiplied with to pull at the video as hard as `loss` does (Esser et al. 2021)."""
    pulls = [torch.autograd.grad(one, video, retain_graph=True)[0].norm() for one in (loss, other)]
    return (pulls[0] / pulls[1].clamp(min=1e-8)).clamp(max=1e4).detach()


def adversary_losses(adversary: Adversary, made: Tensor, drawn: Tensor, noise: float = 0.1) -> dict[str, Tensor]:
    """`passes`: for what made the video, gradients to it alone; `tells`: for the adversary, gradients to it alone."""
    frozen = {name: value.detach() for name, value in adversary.named_parameters()}

    def judge(video: Tensor) -> Tensor:
        return torch.func.functional_call(adversary, frozen, video)

    with torch.no_grad():
        wanted = judge(drawn)
    passes = F.softplus(wanted - judge(made)).mean()

    made = made.detach()
    of_made, of_drawn = adversary(made), adversary(drawn)
    shaken = [adversary(video + noise * torch.randn_like(video)) for video in (made, drawn)]
    rough = (of_made - shaken[0]).square().mean() + (of_drawn - shaken[1]).square().mean()
    return {"passes": passes, "tells": F.softplus(of_made - of_drawn).mean() + rough / noise**2 * PENALTY}
