"""The published way of learning: AdamW at a constant rate, the gradient's norm held at 1, no average."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ...errors import InputError
from ...files import replacing
from ..stage import average_gradients, log_step, step_rng

CLIP = 1.0
LOG_EVERY = 20
Report = Callable[[nn.Module, int], None]
"""Is told the model and its step whenever the state was saved."""


def fit(
    name: str,
    work: Path,
    model: nn.Module,
    loss_of: Callable[[nn.Module, int], dict[str, Tensor]],
    *,
    steps: int,
    lr: float,
    seed: int = 0,
    save_minutes: float = 10.0,
    report: Report | None = None,
) -> nn.Module:
    """Minimise `loss_of(model, step)["loss"]` over what of the model learns; returns it.

    The state is saved every `save_minutes` to `work/name.pt` and read from there at the start. InputError: a loss that
    is no number; the weights before that step are saved.
    """
    cuda = torch.cuda.is_available()
    accelerator = Accelerator(mixed_precision="bf16" if cuda else "no", cpu=not cuda)
    model.to(accelerator.device)
    learning = {key: value for key, value in model.named_parameters() if value.requires_grad}
    optimiser = torch.optim.AdamW(learning.values(), lr)
    path, began = work / f"{name}.pt", time.time()
    first, saved = _load(path, learning, optimiser), began
    for step in range(first, steps):
        torch.manual_seed(int(step_rng(seed, step).integers(2**63)))
        with accelerator.autocast():
            losses = loss_of(model, step)
        if not _all_finite(accelerator, losses["loss"]):
            if accelerator.is_main_process:
                _save(path, step, learning, optimiser)
            raise InputError(
                f"{name}: the loss of step {step} is no number (seed {seed}); the weights before it are in {path}: go "
                "on with a lower lr, or with clips that are whole"
            )
        accelerator.backward(losses["loss"])
        size = _step(accelerator, optimiser, list(learning.values()))
        if accelerator.is_main_process:
            if step % LOG_EVERY == 0:
                log_step(work / f"{name}.jsonl", step, size, time.time() - began, losses)
            if time.time() - saved > save_minutes * 60:
                _keep(path, step + 1, model, learning, optimiser, report)
                saved = time.time()
    if accelerator.is_main_process and first < steps:
        _keep(path, steps, model, learning, optimiser, report)
    return model


def _step(accelerator: Accelerator, optimiser: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> float:
    """Update from the mean of all processes' gradients; returns its norm."""
    average_gradients(accelerator, parameters)
    size = float(nn.utils.clip_grad_norm_(parameters, CLIP))
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return size


def _all_finite(accelerator: Accelerator, loss: Tensor) -> bool:
    """Whether the loss is a number in every process: all must stop at the same step."""
    share = torch.isfinite(loss.detach()).float()
    return float(accelerator.reduce(share, "mean") if accelerator.num_processes > 1 else share) == 1


def _keep(
    path: Path,
    step: int,
    model: nn.Module,
    learning: dict[str, nn.Parameter],
    optimiser: torch.optim.Optimizer,
    report: Report | None,
) -> None:
    _save(path, step, learning, optimiser)
    if report is not None:
        was = model.training
        report(model.eval(), step)
        model.train(was)


def _save(path: Path, step: int, learning: dict[str, nn.Parameter], optimiser: torch.optim.Optimizer) -> None:
    with replacing(path) as part:
        torch.save({"step": step, "model": learning, "optimiser": optimiser.state_dict()}, part)


def _load(path: Path, learning: dict[str, nn.Parameter], optimiser: torch.optim.Optimizer) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["model"].keys() != learning.keys():
        raise InputError(f"{path} is the state of another training; give another `out`, or remove it to begin anew")
    with torch.no_grad():
        for key, value in learning.items():
            value.copy_(state["model"][key])
    optimiser.load_state_dict(state["optimiser"])
    return state["step"]
