"""One stage of the mini's training: Muon and AdamW that rise and fall, the average of the weights, bf16."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:  # what learns without stages (`adaptation`) needs no accelerate
    import numpy as np


def run_stage(
    name: str,
    work: Path,
    model: nn.Module,
    loss_of: Callable[[nn.Module, int], dict[str, Tensor]],
    *,
    steps: int,
    lr: float,
    decay: float = 0.998,
    seed: int = 0,
    compiled: bool = False,
    matrices: dict | None = None,
    until: float | None = None,
    save_minutes: float = 4.0,
    sheet: Callable[[nn.Module, int], None] | None = None,
) -> nn.Module:
    """Minimise `loss_of(model, step)["loss"]`; returns the averaged model. See `fit.fit`.

    `until` is a wall-clock time (time.time()) at which the stage ends. `matrices` are settings of `MuonAdamW`.
    """
    from .fit import Course, fit
    from .optimiser import MuonAdamW, schedule

    course = Course(
        steps=steps, optimiser=partial(MuonAdamW, lr=lr, **(matrices or {})), rate=schedule, decay=decay, seed=seed,
        precision="bf16", compiled=compiled, until=until, save_minutes=save_minutes,
    )  # fmt: skip
    return fit(name, work, model, loss_of, course, sheet)


def step_rng(*key: int) -> np.random.Generator:
    """The randomness of one batch, see `fit.step_rng`."""
    from .fit import step_rng

    return step_rng(*key)


def device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
