"""What every stage trains with: Muon for matrices, AdamW for the rest, warm-up and linear decay, a moving average."""

from __future__ import annotations

import copy

import torch
from torch import nn

_AT_THE_EDGE = ("embed", "outer", "head", "time_projection")
"""Matrices between the network and the world outside. Above all the timestep's: its input hardly varies, so that Muon,
which makes every direction of an update equally long, mostly adds noise to the gates, and the residual stream grows
until the speech is lost in it."""


class Optimiser:
    """Two optimisers behind one `step`. `lr` is AdamW's; matrices inside the network take `muon_ratio` times it."""

    def __init__(self, model: nn.Module, lr: float, *, muon_ratio: float = 3.0, weight_decay: float = 0.01):
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        matrices = [p for name, p in named if p.ndim == 2 and not any(part in name for part in _AT_THE_EDGE)]
        inside = {id(p) for p in matrices}
        others = [p for _, p in named if id(p) not in inside]
        self.parts = [torch.optim.AdamW(others, lr, betas=(0.9, 0.99), weight_decay=weight_decay)]
        if matrices:
            muon_lr = lr * muon_ratio
            muon = torch.optim.Muon(matrices, muon_lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
            self.parts.append(muon)
        self.peaks = [part.param_groups[0]["lr"] for part in self.parts]
        self.parameters = [p for _, p in named]

    def step(self, factor: float, clip: float = 1.0) -> float:
        """Update with `factor` times the peak rates; returns the gradient's norm."""
        size = nn.utils.clip_grad_norm_(self.parameters, clip)
        for part, peak in zip(self.parts, self.peaks, strict=True):
            for group in part.param_groups:
                group["lr"] = peak * factor
            part.step()
            part.zero_grad(set_to_none=True)
        return float(size)

    def state_dict(self) -> list:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, state: list) -> None:
        for part, saved in zip(self.parts, state, strict=True):
            part.load_state_dict(saved)


def schedule(step: int, share: float, *, warmup: int = 100, flat: float = 0.4) -> float:
    """Part of the peak rate at `share` of the stage: a short rise, flat, then linear to zero."""
    return min(1.0, (step + 1) / warmup, (1 - share) / (1 - flat))


class Average:
    """Exponential moving average of a model's parameters, with a short memory at the start."""

    def __init__(self, model: nn.Module, decay: float):
        self.decay, self.count = decay, 0
        self.model = copy.deepcopy(model).requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)
