"""What trainings learn with: AdamW, or Muon for matrices and AdamW for the rest; rates, a moving average."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim.swa_utils import AveragedModel

_AT_THE_EDGE = ("embed", "outer", "head", "time_")
"""Matrices between the network and the world outside: not for Muon, which makes every direction of an update equally
long."""
_SLOW, _SLOWNESS = ("time_", "modulation"), 0.03
"""The timestep's network sees nearly the same input at every step, so that a matrix of it moves its output by its width
times the rate. At the full rate the gates grow until the residual stream drowns what the speech adds to it."""


class Optimiser:
    """torch's optimisers behind one `step`; their rates are the peaks."""

    def __init__(self, parts: list[torch.optim.Optimizer], parameters: list[nn.Parameter]) -> None:
        self.parts, self.parameters = parts, parameters
        self.peaks = [[group["lr"] for group in part.param_groups] for part in parts]

    def step(self, factor: float, clip: float = 1.0) -> float:
        """Update with `factor` times the peak rates; returns the gradient's norm. Where that is no number, nothing is
        changed."""
        size = nn.utils.clip_grad_norm_(self.parameters, clip)
        size = float(size.full_tensor() if isinstance(size, DTensor) else size)
        for part, peaks in zip(self.parts, self.peaks, strict=True):
            for group, peak in zip(part.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
            if math.isfinite(size):
                part.step()
            part.zero_grad(set_to_none=True)
        return size

    def state_dict(self) -> list:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, state: list) -> None:
        for part, saved in zip(self.parts, state, strict=True):
            part.load_state_dict(saved)


class AdamW(Optimiser):
    """The published way: one rate for all that learns."""

    def __init__(
        self, model: nn.Module, lr: float, *, betas: tuple[float, float] = (0.9, 0.999), weight_decay: float = 0.01
    ) -> None:
        learning = [value for value in model.parameters() if value.requires_grad]
        super().__init__([torch.optim.AdamW(learning, lr, betas=betas, weight_decay=weight_decay)], learning)


class MuonAdamW(Optimiser):
    """`lr` is AdamW's; matrices inside the network take `muon_ratio` times it, by Muon.

    `muon_decay` keeps those matrices from growing, which deep networks of noisy batches otherwise do.
    """

    def __init__(self, model: nn.Module, lr: float, *, muon_ratio: float = 3.0, muon_decay: float = 0.01) -> None:
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        matrices = [p for name, p in named if p.ndim == 2 and not any(part in name for part in _AT_THE_EDGE)]
        inside = {id(p) for p in matrices}
        slow = [p for name, p in named if any(part in name for part in _SLOW)]
        apart = inside | {id(p) for p in slow}
        others = [p for _, p in named if id(p) not in apart]
        groups = [{"params": others}, {"params": slow, "lr": lr * _SLOWNESS}]
        parts: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr, betas=(0.9, 0.99), weight_decay=0.01)]
        if matrices:
            muon_lr = lr * muon_ratio
            muon = torch.optim.Muon(matrices, muon_lr, weight_decay=muon_decay, adjust_lr_fn="match_rms_adamw")
            parts.append(muon)
        super().__init__(parts, [p for _, p in named])


def schedule(step: int, share: float) -> float:
    """Part of the peak rate at `share` of the stage: a rise of 100 steps, a quarter flat, then linear to zero."""
    return min(1.0, (step + 1) / 100, (1 - share) / 0.75)


class Average(AveragedModel):
    """Exponential moving average of a model's parameters, with a short memory at the start."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        def blend(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
            torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + int(count)) / (10 + int(count))))

        super().__init__(model, multi_avg_fn=blend)
        self.requires_grad_(False)
        self.count = 0

    @property
    def count(self) -> int:
        """Updates so far. What it starts from is averaged in: torch counts that as the first."""
        return int(self.n_averaged) - 1

    @count.setter
    def count(self, updates: int) -> None:
        self.n_averaged.fill_(updates + 1)
