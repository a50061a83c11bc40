"""One stage of the training: a loss to minimise for a number of steps, resumable, logged, averaged."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ..files import replacing
from .optimiser import Average, Optimiser, schedule

if TYPE_CHECKING:  # what learns without stages (`adaptation`) needs no accelerate
    from accelerate import Accelerator


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
    """Minimise `loss_of(model, step)["loss"]`; returns the averaged model.

    The state is saved every `save_minutes` to `work/name.pt` and read from there at the start; a loss that takes its
    randomness from torch and `step_rng` then goes on exactly as if it had not been stopped. `until` is a wall-clock
    time (time.time()) at which the stage ends: the schedule's decay is then reached early. Under `accelerate launch`
    every process draws its own batch and the gradients' mean is taken. `matrices` are settings of `Optimiser`.
    """
    from accelerate import Accelerator

    accelerator = Accelerator(mixed_precision="bf16", cpu=not torch.cuda.is_available())
    model.to(accelerator.device)
    optimiser, average = Optimiser(model, lr, **(matrices or {})), Average(model, decay)
    path, log = work / f"{name}.pt", work / f"{name}.jsonl"
    first = _load(path, model, average, optimiser)
    running = torch.compile(model, dynamic=False) if compiled else model
    saved, began, began_at = time.time(), time.time(), first
    for step in range(first, steps):
        share = _agreed(accelerator, _progress(step, steps, began, began_at, until))
        if share >= 1:
            break
        torch.manual_seed(int(step_rng(seed, step).integers(2**63)))
        with accelerator.autocast():
            losses = loss_of(running, step)
        accelerator.backward(losses["loss"])
        average_gradients(accelerator, optimiser.parameters)
        size = optimiser.step(schedule(step, share))
        average.update_parameters(model)
        if accelerator.is_main_process:
            if step % 20 == 0:
                log_step(log, step, size, time.time() - began, losses)
            if time.time() - saved > save_minutes * 60:
                _save(path, step + 1, model, average, optimiser)
                saved = time.time()
                if sheet is not None:
                    sheet(average.module, step + 1)
    if accelerator.is_main_process:
        _save(path, steps, model, average, optimiser)
        if sheet is not None:
            sheet(average.module, steps)
    return average.module


def step_rng(*key: int) -> np.random.Generator:
    """The randomness of one step in this process: what ran before it does not matter."""
    from accelerate import PartialState

    return np.random.default_rng([*key, PartialState().process_index])


def device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _progress(step: int, steps: int, began: float, began_at: int, until: float | None) -> float:
    """How far along the schedule this step is: by steps or by the clock, whichever is further."""
    share = step / steps
    if until is None or step == began_at:
        return share
    at_start = began_at / steps
    clock = at_start + (1 - at_start) * (time.time() - began) / max(until - began, 1e-3)
    return max(share, clock)


def _agreed(accelerator: Accelerator, share: float) -> float:
    """The same number in every process: clocks differ, and all must stop at the same step."""
    if accelerator.num_processes == 1:
        return share
    return float(accelerator.reduce(torch.tensor(share, device=accelerator.device), "mean"))


def average_gradients(accelerator: Accelerator, parameters: Iterable[nn.Parameter]) -> None:
    """Every process goes on with the mean of all processes' gradients."""
    if accelerator.num_processes > 1:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad = accelerator.reduce(parameter.grad, "mean")


def _save(path: Path, step: int, model: nn.Module, average: Average, optimiser: Optimiser) -> None:
    state = {
        "step": step, "model": model.state_dict(), "average": average.module.state_dict(), "count": average.count,
        "optimiser": optimiser.state_dict(),
    }  # fmt: skip
    with replacing(path) as part:
        torch.save(state, part)


def _load(path: Path, model: nn.Module, average: Average, optimiser: Optimiser) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    average.module.load_state_dict(state["average"])
    average.count = state["count"]
    optimiser.load_state_dict(state["optimiser"])
    return state["step"]


def log_step(log: Path, step: int, gradient: float, seconds: float, losses: Mapping[str, Tensor]) -> None:
    """A line of JSON: the step, the gradient's norm, the seconds since the start, the losses."""
    row = {key: round(float(value.detach()), 5) for key, value in losses.items()}
    with open(log, "a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, "gradient": round(gradient, 3), "seconds": round(seconds), **row}) + "\n")
